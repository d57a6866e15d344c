"""Folder for what dgsnet can get again (backbones, assembled models, features), and the lock of a process that fills a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


def cache_dir() -> Path:
    """Return $DGSNET_CACHE, or dgsnet in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if own := os.environ.get("DGSNET_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "dgsnet"


def downloads_dir() -> Path:
    """Return the folder of files that are not whole yet, and of locks."""
    return cache_dir() / "downloads"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time fill `folder`; the others wait, then find it there."""
    lock = downloads_dir() / f"{folder.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
