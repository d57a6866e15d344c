"""Rows of `dgsnet detect --provenance`: those of `dgsnet.inference.writers` with one more column, ``provenance``."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from rich.table import Table
from rich.text import Text

from dgsnet.inference import writers
from dgsnet.inference.verdict import COLUMNS, Verdict
from dgsnet.provenance import CAUTION, Provenance, read


@dataclass(frozen=True)
class VerdictWithProvenance(Verdict):
    """A verdict and, beside it, what the file says of its own origin; None for an image that could not be scored."""

    provenance: Provenance | None = None


def add(verdict: Verdict, max_bytes: int) -> VerdictWithProvenance:
    """The same verdict with the provenance of its file, which is read once more: the detector keeps no bytes.

    Args:
        verdict: of an image given as a path.
        max_bytes: most encoded bytes, as in `DecodePolicy`.
    """
    known = {one.name: getattr(verdict, one.name) for one in fields(Verdict)}
    return VerdictWithProvenance(**known, provenance=None if verdict.error or verdict.path is None else _of_file(verdict, max_bytes))


def _of_file(verdict: Verdict, max_bytes: int) -> Provenance:
    try:
        with Path(verdict.path or "").open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != verdict.sha256:
        return Provenance(summary=f"The file has changed since it was scored, so its metadata were not read; {CAUTION}.")
    return read(data)


def open_sink(target: Path) -> AbstractContextManager[writers.Sink]:
    """As `dgsnet.inference.writers.open_sink`, for verdicts with provenance: an object in JSON lines, JSON in CSV, a struct in Parquet.

    Raises:
        DgsnetError: an unknown ending.
    """
    sinks = {".csv": _csv_file, ".parquet": _parquet_file}
    return sinks.get(target.suffix.lower(), writers.open_sink)(target)


class TerminalTable(writers.TerminalTable):
    """The table of verdicts and below it one of findings."""

    def __init__(self) -> None:
        super().__init__()
        self.findings = Table(box=None, pad_edge=False)
        for name in ("image", "says", "metadata", "value"):
            self.findings.add_column(name, overflow="fold")

    def write(self, verdict: Verdict) -> None:
        """Add one row, and one to each finding."""
        super().write(verdict)
        provenance = verdict.provenance if isinstance(verdict, VerdictWithProvenance) else None
        for finding in provenance.findings if provenance else ():
            cells = (verdict.path or "-", finding.says, finding.kind, finding.value)
            self.findings.add_row(*(Text(writers.printable(cell)) for cell in cells))

    def show(self) -> None:
        """Print both on standard output."""
        super().show()
        console = writers.table_console()
        console.print(f"\nWhat the files say of their origin; {CAUTION}:")
        console.print(self.findings if self.findings.row_count else "nothing")


@contextmanager
def _csv_file(target: Path) -> Iterator[writers.Sink]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        yield _Csv(stream)


def _parquet_file(target: Path) -> AbstractContextManager[writers.Sink]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only this kind of file needs it

    from dgsnet.inference import parquet_writer  # noqa: PLC0415 - it imports pyarrow

    finding = pa.struct([("kind", pa.string()), ("value", pa.string()), ("says", pa.string())])
    told = pa.struct([("findings", pa.list_(finding)), ("summary", pa.string())])
    return parquet_writer.open_sink(target, pa.field("provenance", told))


class _Csv:
    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.writer = csv.DictWriter(stream, (*COLUMNS, "provenance"), lineterminator="\n")
        self.writer.writeheader()

    def write(self, verdict: Verdict) -> None:
        row = verdict.as_dict()
        provenance = "" if row["provenance"] is None else json.dumps(row["provenance"], ensure_ascii=False)
        self.writer.writerow(row | {"warnings": ";".join(verdict.warnings), "provenance": provenance})
        self.stream.flush()
