"""A lock between processes that would fill the same folder of the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from dgsnet.core.cache_folder import downloads_dir


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time fill `folder`; the others wait, then find it there."""
    lock = downloads_dir() / f"{folder.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
