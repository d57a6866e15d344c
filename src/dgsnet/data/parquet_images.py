"""Images in a column of a Parquet file (`dgsnet.data.parquet_columns` finds it): a row holds one, or a list of them.

Memory holds a few rows at a time, however large the file or its row groups.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError, ShardError
from dgsnet.data.parquet_columns import ImageColumn, image_columns, name_column, schema_of

_CHUNK = 16
"""Rows read at once. More than there are threads that read ahead, so that none of them asks for rows that have passed."""
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Row:
    """An image of a Parquet file, which is not read: the number of its row, its row group, the row in that group, the number in the row's
    list or None, its name or None, and what other columns say of it."""

    number: int
    group: int
    row: int
    item: int | None
    name: str | None
    fields: dict[str, Any]


def rows(file: Path, column: ImageColumn, fields: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the images of a column in their order; none is read, unless rows are lists of plain bytes, whose lengths stand nowhere else.

    Raises:
        ShardError: the file is damaged.
    """
    try:
        opened = pq.ParquetFile(file)
        name = name_column(schema_of(file), column)
        number = 0
        for group in range(opened.num_row_groups):
            facts = _facts(opened, group, list(dict.fromkeys([*fields, *([name] if name else [])])))
            items = _items(opened, group, column)
            for row, (found, fact) in enumerate(zip(items, facts, strict=True)):
                said = {one: fact[one] for one in fields}
                known = str(fact[name]) if name and fact[name] else None
                yield from (Row(number, group, row, item, own or known, said) for item, own in found)
                number += 1
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{file}: cannot be read ({error}); download it again") from error


def _facts(opened: pq.ParquetFile, group: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the values of some columns in each row of a row group; ``img.path`` is a part of a struct."""
    if not columns:
        yield from ({} for _ in range(opened.metadata.row_group(group).num_rows))
        return
    for batch in opened.iter_batches(row_groups=[group], columns=columns):
        values = [_leaf(batch, column).to_pylist() for column in columns]
        yield from (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))


def _leaf(batch: pa.RecordBatch, column: str) -> pa.Array:
    if column in batch.schema.names:
        return batch.column(column)
    name, _, part = column.rpartition(".")
    return batch.column(name).field(part)


def _items(opened: pq.ParquetFile, group: int, column: ImageColumn) -> Iterator[Sequence[tuple[int | None, str | None]]]:
    """Yield the (number, name) of the images of each row: one without a number where the column holds no lists."""
    if not column.listed:
        yield from ([(None, None)] for _ in range(opened.metadata.row_group(group).num_rows))
        return
    leaves = [opened.schema.column(number).path for number in range(len(opened.schema))]
    paths = [leaf for leaf in leaves if leaf.startswith(f"{column.name}.") and leaf.endswith(".path")]
    for batch in opened.iter_batches(_CHUNK, row_groups=[group], columns=paths[:1] or [column.name]):
        for row in batch.column(column.name).to_pylist():
            yield [(number, _path_of(value)) for number, value in enumerate(row or ())]


def _path_of(value: Any) -> str | None:
    path = value.get("path") if isinstance(value, dict) else value
    return path if isinstance(path, str) and path else None


@dataclass
class _Place:
    """Position of the reading in a row group: the batches to come, and the last two that came."""

    column: ImageColumn
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

    def read(self, file: Path, group: int, row: int, item: int = 0) -> bytes | str | None:
        """Return the encoded image of a row, or the path of its file where that is all there is; None where it is null.

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
                place.kept[place.chunk] = batch.column(place.column.name)
            cell = place.kept[chunk][row % _CHUNK]
            value = (cell.values[item] if place.column.listed else cell).as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        return value if isinstance(value, bytes | str) else None

    def _open(self, file: Path, group: int) -> _Place:
        columns = image_columns(file)
        if not columns:
            raise DatasetError(f"{file}: no longer has a column of images")
        opened = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        batches = opened.iter_batches(_CHUNK, row_groups=[group], columns=[columns[0].name])
        place = self._places[(file, group)] = _Place(columns[0], batches)
        self._places.move_to_end((file, group))
        while len(self._places) > 2:  # the one that is read, and the one before, whose last rows a slower thread may still want
            self._places.popitem(last=False)
        return place
