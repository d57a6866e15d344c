"""Rows as Arrow tables, and the sink that writes them to a Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.files import replacing
from dgsnet.inference.verdict import PROVENANCE, Verdict

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

_FINDING = pa.struct([("kind", pa.string()), ("value", pa.string()), ("says", pa.string())])
_PROVENANCE = pa.struct(
    [
        ("summary", pa.string()),
        ("says", pa.list_(pa.string())),
        ("signature", pa.string()),
        ("signer", pa.string()),
        ("findings", pa.list_(_FINDING)),
        ("agrees", pa.bool_()),
    ]
)
SCHEMA_WITH_PROVENANCE = SCHEMA.append(pa.field(PROVENANCE, _PROVENANCE))
"""The same and the optional column."""

_ROW_GROUP = 1024


def arrow_table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table."""
    return pa.Table.from_pylist([{name: _encodable(value) for name, value in row.items()} for row in rows], schema)


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@contextmanager
def open_sink(target: Path, *, provenance: bool = False) -> Iterator[_Parquet]:
    """Open a sink for a Parquet file, which appears when it is whole."""
    schema = SCHEMA_WITH_PROVENANCE if provenance else SCHEMA
    with replacing(target) as aside, pq.ParquetWriter(aside, schema) as writer:
        sink = _Parquet(writer, schema, provenance)
        yield sink
        sink.flush()


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, provenance: bool) -> None:
        self.writer, self.schema, self.provenance = writer, schema, provenance
        self.waiting: list[dict[str, Any]] = []

    def write(self, verdict: Verdict) -> None:
        self.waiting.append(verdict.as_dict(provenance=self.provenance))
        if len(self.waiting) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(arrow_table(self.waiting, self.schema))
            self.waiting = []
