"""Rows as Arrow tables, and the sink that writes them to a Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.files import replacing
from dgsnet.inference.verdict import Verdict

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


def arrow_table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table."""
    return pa.Table.from_pylist([{name: _encodable(value) for name, value in row.items()} for row in rows], schema)


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@contextmanager
def open_sink(target: Path, *more: pa.Field) -> Iterator[_Parquet]:
    """A sink for a Parquet file, which appears when it is whole; `more` are columns beside those of a verdict."""
    schema = pa.schema([*SCHEMA, *more])
    with replacing(target) as aside, pq.ParquetWriter(aside, schema) as writer:
        sink = _Parquet(writer, schema)
        yield sink
        sink.flush()


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self.writer, self.schema = writer, schema
        self.waiting: list[dict[str, Any]] = []

    def write(self, verdict: Verdict) -> None:
        self.waiting.append(verdict.as_dict())
        if len(self.waiting) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(arrow_table(self.waiting, self.schema))
            self.waiting = []
