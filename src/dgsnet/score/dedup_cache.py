"""Rows by the sha256 of the encoded image: an index on disk, so that memory does not grow with the number of images."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from dgsnet.inference.verdict import COLUMNS


class DedupCache(Protocol):
    """Rows by the sha256 of the encoded bytes."""

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        """Return the row of these bytes, lying at `path`; None where they have none yet."""

    def put(self, row: dict[str, Any]) -> None:
        """Add a row that has a `sha256`."""


def without_path(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it is for the same bytes anywhere: an error begins with the path."""
    error = row["error"]
    return row | {"path": None, "error": error and error.removeprefix(f"{row['path']}: ")}


def at_path(row: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the row of the same bytes at `path`; the inverse of `without_path`."""
    return row | {"path": path, "error": row["error"] and f"{path}: {row['error']}"}


class SqliteDedupCache:
    """Cache in one SQLite file. It follows from the rows on disk, so a run makes it anew."""

    def __init__(self, file: Path, columns: Sequence[str] = COLUMNS) -> None:
        """Open the file, or make it; `columns` are those of a row."""
        self.file = file
        self._columns = [name for name in columns if name not in ("path", "sha256")]
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
        """See `DedupCache`."""
        with self._lock:
            found = self._connection.execute("SELECT said FROM known WHERE sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
        return None if found is None else at_path(dict(zip(self._columns, json.loads(found[0]), strict=True)) | {"sha256": sha256}, path)

    def put(self, row: dict[str, Any]) -> None:
        """See `DedupCache`."""
        portable = without_path(row)
        values = json.dumps([portable[name] for name in self._columns])
        with self._lock:
            self._connection.execute("INSERT OR IGNORE INTO known VALUES (?, ?)", (bytes.fromhex(row["sha256"]), values))

    def count(self) -> int:
        """Return the number of different images."""
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM known").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
