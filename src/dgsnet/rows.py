"""Where rows go: a table on the terminal, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from dgsnet.errors import DgsnetError
from dgsnet.files import replacing
from dgsnet.verdict import COLUMNS, Verdict

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("score", pa.float64()),
        ("logit", pa.float64()),
        ("verdict", pa.string()),
        ("warnings", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("model", pa.string()),
        ("error", pa.string()),
    ]
)
"""Columns of a verdict in Parquet."""

_ROW_GROUP = 1024


class Sink(Protocol):
    """Takes verdicts one by one."""

    def write(self, verdict: Verdict) -> None:
        """Take one verdict."""


def open_sink(target: Path) -> AbstractContextManager[Sink]:
    """A sink for a file, by its ending: ``.jsonl``, ``.csv`` or ``.parquet``.

    JSON lines and CSV are on disk row by row; a Parquet file appears when it is whole.

    Raises:
        DgsnetError: another ending.
    """
    sinks = {".jsonl": _jsonl_file, ".csv": _csv_file, ".parquet": _parquet_file}
    if target.suffix not in sinks:
        raise DgsnetError(f"cannot write rows to {target}: expected a name ending in {', '.join(sinks)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    return sinks[target.suffix](target)


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, verdict: Verdict) -> None:
        """Write one line."""
        self.stream.write(json.dumps(verdict.as_dict(), ensure_ascii=False) + "\n")
        self.stream.flush()


class TerminalTable:
    """A table for people, printed at the end."""

    def __init__(self) -> None:
        self.table = Table("image", "verdict", "score", "warnings", box=None, pad_edge=False)

    def write(self, verdict: Verdict) -> None:
        """Add one row."""
        colour = {"ai-generated": "red", "real": "green", "inconclusive": "yellow"}.get(verdict.verdict or "", "dim")
        said = f"[{colour}]{verdict.verdict or 'not scored'}[/]"
        score = "-" if verdict.score is None else f"{verdict.score:.3f}"
        self.table.add_row(verdict.path or "-", said, score, verdict.error or ", ".join(verdict.warnings))

    def show(self, console: Console) -> None:
        """Print it."""
        console.print(self.table)


@contextmanager
def _jsonl_file(target: Path) -> Iterator[Sink]:
    with target.open("w", encoding="utf-8") as stream:
        yield JsonLines(stream)


@contextmanager
def _csv_file(target: Path) -> Iterator[Sink]:
    with target.open("w", encoding="utf-8", newline="") as stream:
        yield _Csv(stream)


@contextmanager
def _parquet_file(target: Path) -> Iterator[Sink]:
    with replacing(target) as aside, pq.ParquetWriter(aside, SCHEMA) as writer:
        sink = _Parquet(writer)
        yield sink
        sink.flush()


class _Csv:
    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.writer = csv.DictWriter(stream, COLUMNS)
        self.writer.writeheader()

    def write(self, verdict: Verdict) -> None:
        self.writer.writerow(verdict.as_dict() | {"warnings": ";".join(verdict.warnings)})
        self.stream.flush()


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.writer = writer
        self.waiting: list[dict[str, Any]] = []

    def write(self, verdict: Verdict) -> None:
        self.waiting.append(verdict.as_dict())
        if len(self.waiting) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.Table.from_pylist(self.waiting, SCHEMA))
            self.waiting = []
