"""What was said of which bytes: an index on disk, so that memory does not grow with the number of images."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from dgsnet.inference.verdict import COLUMNS

_SAID = tuple(name for name in COLUMNS if name not in ("path", "sha256"))


class Known(Protocol):
    """Verdicts by the sha256 of the encoded bytes."""

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        """What is to be said of these bytes at `path`; None where nothing was said yet."""

    def put(self, row: dict[str, Any]) -> None:
        """Remember a row that has a `sha256`."""

    def count(self) -> int:
        """Number of different bytes."""


def without_path(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is for the same bytes anywhere: an error begins with the path."""
    error = row["error"]
    return row | {"path": None, "error": error and error.removeprefix(f"{row['path']}: ")}


def at_path(row: dict[str, Any], path: str) -> dict[str, Any]:
    """The opposite of `without_path`."""
    return row | {"path": path, "error": row["error"] and f"{path}: {row['error']}"}


class KnownOnDisk:
    """In one SQLite file. It follows from the rows on disk, so a run makes it anew."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time uses the file, and nobody wants it after a crash: no journal, and no locks, which some shared file
        # systems lack.
        vfs = "?vfs=unix-none" if os.name == "posix" else ""
        self._connection = sqlite3.connect(f"{file.absolute().as_uri()}{vfs}", uri=True, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE IF NOT EXISTS known (sha256 BLOB PRIMARY KEY, said TEXT) WITHOUT ROWID")
        self._lock = Lock()

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        """See `Known`."""
        with self._lock:
            found = self._connection.execute("SELECT said FROM known WHERE sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
        return None if found is None else at_path(dict(zip(_SAID, json.loads(found[0]), strict=True)) | {"sha256": sha256}, path)

    def put(self, row: dict[str, Any]) -> None:
        """See `Known`."""
        nameless = without_path(row)
        said = json.dumps([nameless[name] for name in _SAID])
        with self._lock:
            self._connection.execute("INSERT OR IGNORE INTO known VALUES (?, ?)", (bytes.fromhex(row["sha256"]), said))

    def count(self) -> int:
        """See `Known`."""
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM known").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
