"""Manifests: a table with a row for each image, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.data.left_out import LeftOut
from dgsnet.data.parquet_columns import schema_of
from dgsnet.data.sample import Sample, make_sample, parse_label, parse_object

_FIRST_LINE = 1 << 16


def lists_images(path: Path) -> bool:
    """Tell whether a table has the column `path`, as a manifest does; somebody's table of another make has not. Looks at its beginning.

    Raises:
        OSError, DatasetError: it cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        return "path" in schema_of(path).names
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        first = next((line for line in iter(lambda: stream.readline(_FIRST_LINE), "") if line.strip()), "")
    return "path" in next(csv.reader([first]), []) if path.suffix.lower() == ".csv" else '"path"' in first


def manifest_samples(path: Path, caption_column: str, labelled: bool, left_out: LeftOut) -> Iterator[Sample]:
    """Yield the samples of a manifest in its order.

    Raises:
        DatasetError: the file is damaged or has no column `path`; with `labelled`, at the first row that is none. Without, a row that names
            no image is left out.
    """
    root, found = path.parent, False
    for where, row in _rows(path, None if labelled else left_out):
        if not row.get("path"):
            if labelled or not found:
                raise DatasetError(f"{path}, {where}: has no path; a manifest needs the columns path and label")
            left_out.add("rows without a path", f"{path}, {where}")
            continue
        if caption_column != "caption" and caption_column not in row:
            raise DatasetError(f"{path}, {where}: has no column {caption_column}; name the one that holds captions")
        found = True
        name = Path(str(row["path"]))
        if name.is_absolute() and name.is_relative_to(root.absolute()):
            name = name.relative_to(root.absolute())
        yield make_sample(name.as_posix(), parse_label(row.get("label"), f"{path}, {where}", labelled), row, caption_column)


def _rows(path: Path, left_out: LeftOut | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("line 2", fields) of each row; a line that is no JSON object is left out, or an error where that is None."""
    try:
        if path.suffix.lower() == ".parquet":
            batches = pq.ParquetFile(path).iter_batches()
            yield from ((f"row {number}", row) for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1))
        elif path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                yield from ((f"line {reader.line_num}", row) for row in reader)
        else:
            with path.open(encoding="utf-8-sig") as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield from _json_row(path, f"line {number}", line, left_out)
    except (csv.Error, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: is no readable {path.suffix} file ({error}); write it again as UTF-8") from error


def _json_row(path: Path, where: str, line: str, left_out: LeftOut | None) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        row = parse_object(line, f"{path}, {where}")
    except DatasetError:
        if left_out is None:
            raise
        left_out.add("lines that are no JSON object", f"{path}, {where}")
    else:
        yield where, row
