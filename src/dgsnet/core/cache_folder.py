"""Folder for what dgsnet can get again: backbones, assembled models, features."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return $DGSNET_CACHE, or dgsnet in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if own := os.environ.get("DGSNET_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "dgsnet"


def downloads_dir() -> Path:
    """Return the folder of files that are not whole yet, and of locks."""
    return cache_dir() / "downloads"
