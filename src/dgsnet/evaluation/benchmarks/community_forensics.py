"""The Parquet shards in which Community Forensics is released: one row per image, its encoded bytes beside what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.data.parquet_columns import schema_of

_IMAGE = "image_data"
_FACTS = ("image_name", "label", "model_name", "real_source")


def load_shards(root: Path) -> Dataset | None:
    """Load the images of all shards in a folder or the folders in it, in the order of files and rows; None where no shard holds images.

    A generated image is named by `model_name`, a photograph by `real_source`.

    Raises:
        DatasetError: a shard is damaged, lacks a column, or labels a row neither 0 nor 1.
    """
    files = [*root.glob("*.parquet"), *root.glob("*/*.parquet")]  # no deeper: other archives have millions of files below
    shards = [file for file in sorted(files) if _IMAGE in schema_of(file).names]
    if not shards:
        return None
    return Dataset(root, tuple(sample for shard in shards for sample in _samples(root, shard)), "parquet images")


def _samples(root: Path, shard: Path) -> Iterator[Sample]:
    missing = [name for name in _FACTS if name not in schema_of(shard).names]
    if missing:
        raise DatasetError(f"{shard}: lacks the columns {', '.join(missing)}; expected {', '.join((_IMAGE, *_FACTS))}")
    name, file = shard.relative_to(root).as_posix(), pq.ParquetFile(shard)
    number = 0
    for group in range(file.num_row_groups):
        for row, facts in enumerate(file.read_row_group(group, list(_FACTS)).to_pylist()):
            if facts["label"] not in (0, 1):
                raise DatasetError(f"{shard}, row {number}: unknown label {facts['label']!r}; expected 0 or 1")
            fake = facts["label"] == 1
            source = str((facts["model_name"] if fake else facts["real_source"]) or "unknown")
            path = f"{name}/{number:06d}-{facts['image_name'] or 'image'}"
            yield Sample(path, int(fake), source if fake else "", source, None, None, path, shard=name, offset=group, size=row)
            number += 1
