"""Tables of figures as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dgsnet.evaluation.interval import PARTS


def text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return stream.getvalue()


def columns(names: Iterable[str]) -> list[str]:
    """Return titles of the columns that `figures` fills."""
    return [column for name in names for column in (name, f"{name}_low", f"{name}_high")]


def figures(report: Mapping[str, Any] | None, names: Iterable[str]) -> list[str]:
    """Return value, low and high of the figures of a report, with six decimals; empty where the report lacks one or it is undefined."""
    cells = [None if report is None or name not in report else report[name][part] for name in names for part in PARTS]
    return ["" if cell is None else f"{cell:.6f}" for cell in cells]
