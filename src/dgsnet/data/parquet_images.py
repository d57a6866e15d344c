"""Encoded images in a column of a Parquet file, one row per image: `bytes`, `image_data`, or `image` as data sets of the hub have it.

Memory holds a few rows at a time, however large the file or its row groups.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError

_IMAGES = ("bytes", "image_data", "image")
_NAMES = ("path", "image_name", "file_name")
_CHUNK = 16
"""Rows read at once. More than there are threads that read ahead, so that none of them asks for rows that have passed."""
_BUFFER = 1 << 20


def image_column(file: Path) -> str | None:
    """Find the column that holds encoded images (``image.bytes`` of a struct); None where there is none. Raises as `schema_of` does."""
    schema = schema_of(file)
    for name in _IMAGES:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and _binary(kind):
            return name
        if kind is not None and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _binary(kind.field("bytes").type):
            return f"{name}.bytes"
    return None


def schema_of(file: Path, complaint: str = "{file}: is no readable .parquet file ({error}); download it again") -> pa.Schema:
    """Return the columns of a Parquet file, without reading a row.

    Raises:
        DatasetError: it is no readable Parquet file; `complaint` says so of `{file}` and `{error}`.
    """
    try:
        return pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(complaint.format(file=file, error=error)) from error


def rows(file: Path) -> Iterator[tuple[int, int, str | None]]:
    """Yield (row group, row in that group, name or None) of each row; no image is read. `DatasetError` where the file is damaged."""
    column = _name_column(file)
    try:
        opened = pq.ParquetFile(file)
        for group in range(opened.num_row_groups):
            count = opened.metadata.row_group(group).num_rows
            names = _texts(opened, group, column) if column else iter([None] * count)
            yield from ((group, row, name) for row, name in zip(range(count), names, strict=True))
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); download it again") from error


def _name_column(file: Path) -> str | None:
    schema = schema_of(file)
    for name in _NAMES:
        if name in schema.names and _text(schema.field(name).type):
            return name
    kind = schema.field("image").type if "image" in schema.names else pa.null()
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0 and _text(kind.field("path").type):
        return "image.path"
    return None


def _texts(opened: pq.ParquetFile, group: int, column: str) -> Iterator[str | None]:
    for batch in opened.iter_batches(row_groups=[group], columns=[column]):
        yield from _leaf(batch, column).to_pylist()


def _leaf(batch: pa.RecordBatch, column: str) -> pa.Array:
    name, _, part = column.partition(".")
    return batch.column(name).field(part) if part else batch.column(name)


def _binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@dataclass
class _Place:
    """Position of the reading in a row group: the batches to come, and the last two that came."""

    column: str
    batches: Iterator[pa.RecordBatch]
    chunk: int = -1
    kept: dict[int, pa.Array] = field(default_factory=dict)


class Reader:
    """Images by file, row group and row, for several threads that ask for neighbours one after the other.

    Rows that were passed long ago are found by reading the row group again from its start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[tuple[Path, int], _Place] = OrderedDict()

    def read(self, file: Path, group: int, row: int) -> bytes | None:
        """Return the encoded image of a row, None where it is null.

        Raises:
            OSError, pyarrow.ArrowException, IndexError, DatasetError: the file is gone, damaged or shorter.
        """
        with self._lock:
            chunk = row // _CHUNK
            place = self._places.get((file, group))
            if place is None or (chunk <= place.chunk and chunk not in place.kept):
                place = self._open(file, group)
            while place.chunk < chunk:
                try:
                    batch = next(place.batches)
                except StopIteration:
                    raise IndexError(f"row group {group} has no row {row}") from None
                place.chunk += 1
                place.kept = {number: kept for number, kept in place.kept.items() if number == place.chunk - 1}
                place.kept[place.chunk] = _leaf(batch, place.column)
            value: bytes | None = place.kept[chunk][row % _CHUNK].as_py()
            return value

    def _open(self, file: Path, group: int) -> _Place:
        column = image_column(file)
        if column is None:
            raise DatasetError(f"{file}: no longer has a column of images")
        opened = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        place = self._places[(file, group)] = _Place(column, opened.iter_batches(_CHUNK, row_groups=[group], columns=[column]))
        self._places.move_to_end((file, group))
        while len(self._places) > 2:  # the one that is read, and the one before, whose last rows a slower thread may still want
            self._places.popitem(last=False)
        return place
