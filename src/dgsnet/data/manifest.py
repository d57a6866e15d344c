"""Manifests: a table with a row for each image, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.data.sample import Sample, make_sample, parse_label, parse_object


def manifest_samples(path: Path, caption_column: str, labelled: bool) -> Iterator[Sample]:
    """Yield the samples of a manifest in its order; `DatasetError` at the first row that is none, or a damaged file."""
    root = path.parent
    for where, row in _rows(path):
        if not row.get("path"):
            raise DatasetError(f"{path}, {where}: has no path; a manifest needs the columns path and label")
        if caption_column != "caption" and caption_column not in row:
            raise DatasetError(f"{path}, {where}: has no column {caption_column}; name the one that holds captions")
        name = Path(str(row["path"]))
        if name.is_absolute() and name.is_relative_to(root.absolute()):
            name = name.relative_to(root.absolute())
        yield make_sample(name.as_posix(), parse_label(row.get("label"), f"{path}, {where}", labelled), row, caption_column)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("line 2", fields) of each row."""
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
                lines = ((f"line {number}", line) for number, line in enumerate(stream, 1) if line.strip())
                yield from ((where, parse_object(line, f"{path}, {where}")) for where, line in lines)
    except (csv.Error, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: is no readable {path.suffix} file ({error}); write it again as UTF-8") from error
