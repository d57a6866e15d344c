"""Logs of finished work, one JSON line per item, so that after `kill -9` the same call does the rest and nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_text


class AppendLog:
    """File of JSON lines that grows as work is finished. The first line is a header, which says what the work follows from.

    Opening it drops a last line that a kill has cut, and leaves the file ready for what comes next. Memory does not grow with the file. Use
    as a context manager.

    Attributes:
        done: whole entries the file held when it was opened.
    """

    def __init__(self, file: Path, header: dict[str, Any], otherwise: str) -> None:
        """Open `file`, or begin it with the line `header`.

        Raises:
            DatasetError: it is damaged, or was begun with another line; `otherwise` says with what, for the message.
        """
        self.file = file
        self.done = self._begin(header, otherwise)
        self._stream = file.open("a", encoding="utf-8")

    def _begin(self, header: dict[str, Any], otherwise: str) -> int:
        if not self.file.exists():
            write_text(self.file, json.dumps(header) + "\n")
            return 0
        lines = whole = 0
        try:
            with self.file.open("rb") as stream:
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    read = json.loads(line)
                    if not lines and read != header:
                        raise DatasetError(f"{self.file} was begun with {otherwise}: choose another folder, or delete it")
                    lines, whole = lines + 1, whole + len(line)
        except ValueError as error:
            raise DatasetError(f"{self.file} is damaged ({error}): delete it to start again") from error
        if not lines:
            raise DatasetError(f"{self.file} is damaged (it does not say what it is of): delete it to start again")
        os.truncate(self.file, whole)
        return lines - 1

    def append(self, entry: Any) -> None:
        """Put an entry, anything JSON holds, on disk."""
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def entries(self) -> Iterator[Any]:
        """Yield all entries so far, read anew."""
        with self.file.open(encoding="utf-8") as stream:
            next(stream)  # the header
            yield from map(json.loads, stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


class ResultStore(AppendLog):
    """Append-only log of results by key; what was recorded stays in memory."""

    def __init__(self, file: Path, settings: dict[str, Any]) -> None:
        """Open `file` or begin it; `DatasetError` where it is damaged, or was begun with other settings."""
        super().__init__(file, settings, f"other settings than {settings}")
        try:
            self._found: dict[str, Any] = dict(self.entries())
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{file} is damaged ({error}): delete it to start again") from error

    def get(self, key: str) -> Any:
        """Return what was recorded under `key`; None if nothing was."""
        return self._found.get(key)

    def put(self, key: str, value: Any) -> None:
        """Record `value`, anything JSON holds."""
        self._found[key] = value
        self.append([key, value])
