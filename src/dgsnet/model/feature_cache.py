"""Store of feature vectors on disk, keyed by what they are features of. Restartable: what is in it survives `kill -9`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class FeatureCache:
    """Float32 vectors in one SQLite file.

    A `space` names what computed the vectors (backbone, preprocessing, ...): vectors of two spaces never mix. A `key` names the input.
    """

    def __init__(self, file: Path, space: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.space = file, space
        with closing(self._connect()) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS features (space TEXT, key TEXT, vector BLOB, PRIMARY KEY (space, key))")

    def get(self, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors that are there, by key."""
        found: dict[str, NDArray[np.float32]] = {}
        with closing(self._connect()) as connection:
            for key in set(keys):
                row = connection.execute("SELECT vector FROM features WHERE space = ? AND key = ?", (self.space, key)).fetchone()
                if row is not None:
                    found[key] = np.frombuffer(row[0], np.float32)
        return found

    def known(self, keys: Iterable[str]) -> set[str]:
        """Return those of the keys whose vectors are there."""
        with closing(self._connect()) as connection:
            asked = "SELECT 1 FROM features WHERE space = ? AND key = ?"
            return {key for key in set(keys) if connection.execute(asked, (self.space, key)).fetchone() is not None}

    def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Store vectors in one transaction; a key that is there already is overwritten."""
        rows = [(self.space, key, np.ascontiguousarray(vector, np.float32).tobytes()) for key, vector in vectors.items()]
        with closing(self._connect()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=60)
