"""The inputs of a run on disk, cut into parts: listed once at the start, read again part by part, in memory never all at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import replacing, sha256_bytes
from dgsnet.data.dataset import Dataset
from dgsnet.data.layouts import Listing
from dgsnet.data.sample import Sample
from dgsnet.score.settings import Shard

# File names need not be valid UTF-8, so paths are bytes here.
_SCHEMA = pa.schema([("path", pa.binary()), ("shard", pa.binary()), ("offset", pa.int64()), ("size", pa.int64()), ("item", pa.int64())])
_METADATA_KEY = b"dgsnet"

_PROBED, _PROBE_BYTES = 16, 1 << 16
"""So many first inputs are looked into, and behind them those whose number is a power of two; and so far."""

_Place = tuple[bytes, bytes | None, int, int, int]
"""A row of these columns."""


@dataclass(frozen=True)
class Worklist:
    """A file of inputs, one row group per part.

    Attributes:
        file: Parquet.
        root: folder that paths are relative to.
    """

    file: Path
    root: Path

    @classmethod
    def write(cls, file: Path, listing: Listing, shard: Shard, rows: int) -> Worklist:
        """Write those inputs of a data set that are the shard's, `rows` of them per part; `DatasetError` where the data is damaged."""
        digest, total, dataset = hashlib.sha256(), 0, Dataset(listing.root, (), listing.layout)
        with replacing(file) as aside, pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as writer:
            kept: list[_Place] = []
            for sample in listing.samples:
                shard_path = None if sample.shard is None else os.fsencode(sample.shard)
                place = (os.fsencode(sample.path), shard_path, sample.offset, sample.size, sample.item)
                digest.update(json.dumps([sample.path, sample.shard, sample.offset, sample.size]).encode() + b"\n")
                if total < _PROBED or total & (total - 1) == 0:
                    digest.update(_probe(dataset, sample).encode() + b"\n")
                total += 1
                if shard.has(sample.path):
                    kept.append(place)
                if len(kept) == rows:
                    writer.write_table(_table(kept))
                    kept = []
            if kept:
                writer.write_table(_table(kept))
            writer.add_key_value_metadata({_METADATA_KEY: json.dumps({"fingerprint": digest.hexdigest(), "seen": total})})
        return cls(file, listing.root)

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file)

    @cached_property
    def _metadata(self) -> dict[str, object]:
        return dict(json.loads(self._parquet.metadata.metadata[_METADATA_KEY]))

    @property
    def fingerprint(self) -> str:
        """sha256 over the paths and offsets of all inputs in order, those of other shards too, and over the bytes of a few of them.

        So other data under the same names is told apart, at the cost of a few dozen files; all bytes have their sha256 in the rows.
        """
        return str(self._metadata["fingerprint"])

    @property
    def total_inputs(self) -> int:
        """Inputs of all shards together."""
        return int(str(self._metadata["seen"]))

    @property
    def parts(self) -> int:
        """Number of parts."""
        return int(self._parquet.num_row_groups)

    def __len__(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def size(self, part: int) -> int:
        """Return the number of inputs in a part."""
        return int(self._parquet.metadata.row_group(part).num_rows)

    def samples(self, part: int, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        """Yield the inputs of a part from number `start` to `stop`."""
        columns = (column.to_pylist() for column in self._parquet.read_row_group(part).columns)
        for path, shard, offset, size, item in islice(zip(*columns, strict=True), start, stop):
            key = os.fsdecode(path)
            yield Sample(key, None, "", "unknown", None, None, key, shard and os.fsdecode(shard), offset, size, item)

    def dataset(self) -> Dataset:
        """Return a data set that reads the samples' bytes; it lists none itself."""
        return Dataset(self.root, (), "worklist")


def _probe(dataset: Dataset, sample: Sample) -> str:
    """Return the sha256 of the beginning of an input, empty where it cannot be read: its row will say so."""
    if sample.shard is None and not (dataset.root / sample.path).is_file():  # a named pipe would block
        return ""
    try:
        return sha256_bytes(dataset.read(sample, _PROBE_BYTES))
    except DatasetError:
        return ""


def _table(rows: list[_Place]) -> pa.Table:
    return pa.table([pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), _SCHEMA.types, strict=True)], schema=_SCHEMA)
