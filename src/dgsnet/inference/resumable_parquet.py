"""A Parquet file that can be resumed: rows are on disk one by one, the file is whole or absent, and it says what its rows follow from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from dgsnet.core.append_log import AppendLog
from dgsnet.core.errors import DatasetError
from dgsnet.core.files import replacing
from dgsnet.data.parquet_columns import schema_of
from dgsnet.inference.parquet_writer import arrow_table

UNREADABLE = "the predictions {file} cannot be read: {error}"
"""Complaint about such a file, for `schema_of`."""

_ROW_GROUP = 2048
"""Rows that are in memory at once."""


def write(
    target: Path,
    identity: dict[str, str],
    schema: pa.Schema,
    rows_from: Callable[[int], Iterator[dict[str, Any]]],
    total: int,
    progress: Progress | None = None,
) -> Path:
    """Write rows into a Parquet file, each on disk as it comes, so that after `kill -9` the same call resumes from there.

    Memory does not grow with the number of rows: they wait in a file of JSON lines, which is turned into Parquet in row groups at the end.

    Args:
        target: the Parquet file.
        identity: what the rows follow from; a file of the same identity is resumed, or if finished kept as it is.
        schema: of a row.
        rows_from: yields the rows from number `done` (0..`total`) on.
        total: number of rows.
        progress: shows how far it is.

    Raises:
        DatasetError: there are rows, finished or not, of another identity.
    """
    if target.exists():
        if read_identity(target) != identity:
            raise DatasetError(f"{target} holds predictions of {_otherwise(identity)}: choose another folder")
        return target
    with AppendLog(partial_file(target), identity, _otherwise(identity)) as finished:
        scored = rows_from(finished.done)
        if progress:
            scored = iter(progress.track(scored, total=total, completed=finished.done, description="scoring"))
        for row in scored:
            finished.append(row)
        with replacing(target) as aside, pq.ParquetWriter(aside, schema.with_metadata({"dgsnet": json.dumps(identity)})) as writer:
            rows = finished.entries()
            first = list(islice(rows, _ROW_GROUP))
            for group in chain([first], iter(lambda: list(islice(rows, _ROW_GROUP)), [])):
                writer.write_table(arrow_table(group, schema))
    pa.default_memory_pool().release_unused()  # or Arrow keeps what the file took, some 10 MB, until the next one
    partial_file(target).unlink()
    return target


def partial_file(target: Path) -> Path:
    """Return the file in which the rows of an unfinished one wait."""
    return target.with_name(f".{target.stem}.partial.jsonl")


def read_unfinished(target: Path, identity: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an unfinished file that are on disk, if there is one; `DatasetError` if they are damaged or of another identity."""
    if partial_file(target).exists():
        with AppendLog(partial_file(target), identity, _otherwise(identity)) as lines:
            yield from lines.entries()


def read_identity(file: Path) -> dict[str, str]:
    """Read what a file says its rows follow from; empty where it does not say. `DatasetError` where it cannot be read."""
    found = (schema_of(file, UNREADABLE).metadata or {}).get(b"dgsnet")
    return dict(json.loads(found)) if found else {}


def _otherwise(identity: dict[str, str]) -> str:
    done_to_images = "other perturbations" if "perturbations" in identity else "another journey"
    return f"another model, other data, {done_to_images} or another version"
