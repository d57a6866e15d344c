"""Finished work, one JSON line an item, so that after `kill -9` the same call does the rest and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dgsnet.errors import DatasetError
from dgsnet.files import write_text


class Journal:
    """Results by key, on disk as each of them comes. The first line names the settings they were made with.

    A last line that was cut off is dropped. Use as a context manager.
    """

    def __init__(self, file: Path, settings: dict[str, Any]) -> None:
        """Open `file` or begin it.

        Raises:
            DatasetError: it is damaged, or was begun with other settings.
        """
        self.file = file
        self._found: dict[str, Any] = {}
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if whole:
            try:
                begun_with, *entries = [json.loads(line) for line in whole]
                self._found = dict(entries)
            except (ValueError, TypeError) as error:
                raise DatasetError(f"{file} is damaged ({error}): delete it to start again") from error
            if begun_with != settings:
                raise DatasetError(f"{file} was begun with {begun_with}, not {settings}: choose another folder, or delete this one")
        write_text(file, "".join(whole) or json.dumps(settings) + "\n")
        self._stream = file.open("a", encoding="utf-8")

    def get(self, key: str) -> Any:
        """What was recorded under `key`; None if nothing was."""
        return self._found.get(key)

    def put(self, key: str, value: Any) -> None:
        """Record `value`, anything JSON holds."""
        self._found[key] = value
        self._stream.write(json.dumps([key, value]) + "\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
