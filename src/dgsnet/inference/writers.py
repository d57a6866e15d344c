"""Sinks of rows: a table on the terminal, JSON lines, CSV or Parquet, each with the column ``provenance`` where it is asked for.

A file name need not be valid UTF-8; Python then carries its odd bytes as lone surrogates, which no encoder takes. JSON lines escape them
and give the name back whole; CSV, Parquet and the table show them as ``\\udcff``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dgsnet.core.errors import DgsnetError
from dgsnet.inference.verdict import COLUMNS, CONTRADICTION, PROVENANCE, Verdict


class Sink(Protocol):
    """A taker of verdicts, one by one."""

    def write(self, verdict: Verdict) -> None:
        """Take one verdict."""


def open_sink(target: Path, *, provenance: bool = False) -> AbstractContextManager[Sink]:
    """Open a sink for a file, by its ending: ``.jsonl``, ``.csv`` or ``.parquet``. The file is touched when the context is entered.

    JSON lines and CSV are on disk row by row; a Parquet file appears when it is whole. Provenance is an object in JSON lines, JSON in CSV,
    a struct in Parquet.

    Raises:
        DgsnetError: another ending.
    """
    ending = target.suffix.lower()
    if ending == ".parquet":
        from dgsnet.inference import parquet_writer  # noqa: PLC0415 - pyarrow takes longer to import than the rest of a start

        return parquet_writer.open_sink(target, provenance=provenance)
    if ending not in _TEXT:
        raise DgsnetError(f"cannot write rows to {target}: expected a name ending in {', '.join((*_TEXT, '.parquet'))}")
    return _text_file(target, _TEXT[ending], provenance)


@contextmanager
def _text_file(target: Path, kind: type[JsonLines | _Csv], provenance: bool) -> Iterator[Sink]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        yield kind(stream, provenance=provenance)


class JsonLines:
    """One JSON object per line."""

    def __init__(self, stream: TextIO, *, provenance: bool = False) -> None:
        self.stream, self.provenance = stream, provenance

    def write(self, verdict: Verdict) -> None:
        """Write one line."""
        self.stream.write(json.dumps(verdict.as_dict(provenance=self.provenance), ensure_ascii=False) + "\n")
        self.stream.flush()


class TerminalTable:
    """A table for people, printed at the end; with provenance, one of findings below it."""

    def __init__(self, *, provenance: bool = False) -> None:
        self.table = Table(box=None, pad_edge=False)
        self.table.add_column("image", overflow="fold")
        self.table.add_column("verdict", no_wrap=True)
        self.table.add_column("score", no_wrap=True)
        self.table.add_column("notes", overflow="fold")
        self.findings: Table | None = None
        if provenance:
            self.findings = Table(box=None, pad_edge=False)
            for name in ("image", "says", "metadata", "value"):
                self.findings.add_column(name, overflow="fold")

    def write(self, verdict: Verdict) -> None:
        """Add one row, and one per finding."""
        colour = {"ai-generated": "red", "real": "green", "inconclusive": "yellow"}.get(verdict.verdict or "", "dim")
        score = "-" if verdict.score is None else f"{verdict.score:.3f}"
        notes = (verdict.error or ", ".join(verdict.warnings)).removeprefix(f"{verdict.path}: ")
        # Text, not str: a str is read as markup, and brackets are legal in file names.
        self.table.add_row(
            Text(printable(verdict.path or "-")), Text(verdict.verdict or "not scored", colour), score, Text(printable(notes))
        )
        if self.findings is not None and verdict.provenance:
            if verdict.agrees is False:
                self.findings.add_row(Text(printable(verdict.path or "-")), "contradiction", "", CONTRADICTION[str(verdict.verdict)])
            for one in verdict.provenance.findings:
                self.findings.add_row(*(Text(printable(cell)) for cell in (verdict.path or "-", one.says, one.kind, one.value)))

    def show(self) -> None:
        """Print it on standard output."""
        console = table_console()
        console.print(self.table)
        if self.findings is not None:
            from dgsnet.provenance import CAUTION  # noqa: PLC0415 - only where it is asked for

            console.print(f"\nWhat the files say of their origin; {CAUTION}:")
            console.print(self.findings if self.findings.row_count else "nothing")


def table_console() -> Console:
    """Return standard output for a table: as wide as the terminal; where it is none, so wide that a row is a line, as `grep` wants."""
    console = Console()
    return console if console.is_terminal else Console(width=10_000)


def printable(text: str) -> str:
    """Return text from outside on one line and without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class _Csv:
    def __init__(self, stream: TextIO, *, provenance: bool = False) -> None:
        self.stream, self.provenance = stream, provenance
        self.writer = csv.DictWriter(stream, (*COLUMNS, *[PROVENANCE] * provenance), lineterminator="\n")
        self.writer.writeheader()

    def write(self, verdict: Verdict) -> None:
        row = verdict.as_dict(provenance=self.provenance) | {"warnings": ";".join(verdict.warnings)}
        if verdict.provenance and self.provenance:
            row[PROVENANCE] = json.dumps(row[PROVENANCE], ensure_ascii=False)
        self.writer.writerow(row)
        self.stream.flush()


_TEXT: dict[str, type[JsonLines | _Csv]] = {".jsonl": JsonLines, ".csv": _Csv}
