"""Images inside Parquet shards, as Community Forensics releases them: one row an image, its encoded bytes in a column."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.dataset import Dataset, Sample
from dgsnet.errors import DatasetError

_IMAGE = "image_data"
_FACTS = ("image_name", "label", "model_name", "real_source")


@dataclass
class _Opened:
    """The row group that was read last: neighbours are asked for one after the other."""

    where: tuple[str, int] | None = None
    images: pa.ChunkedArray | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class ParquetImages(Dataset):
    """A data set whose samples lie in Parquet shards: `Sample.shard` is the file, `offset` its row group, `size` the row in that group.

    Memory holds one row group of one shard.
    """

    opened: _Opened = field(default_factory=_Opened, compare=False)

    def read(self, sample: Sample) -> bytes:
        """The encoded bytes of a sample; `DatasetError` when its shard is gone, damaged, or the row empty."""
        shard, where = str(sample.shard), (str(sample.shard), sample.offset)
        with self.opened.lock:  # images are decoded by several threads
            try:
                if self.opened.where != where:
                    self.opened.images = pq.ParquetFile(self.root / shard).read_row_group(sample.offset, [_IMAGE])[_IMAGE]
                    self.opened.where = where
                data: bytes | None = self.opened.images[sample.size].as_py() if self.opened.images is not None else None
            except (OSError, pa.ArrowException, IndexError) as error:
                raise DatasetError(f"{self.root / sample.path}: cannot be read ({error}); download the shard again") from error
        if data is None:
            raise DatasetError(f"{self.root / sample.path}: the row holds no image; leave it out")
        return data


def load_parquet_images(root: Path) -> ParquetImages | None:
    """The images of all shards in a folder or the folders in it, in the order of files and rows; None where no shard there holds images.

    A generated image is named by `model_name`, a photograph by `real_source`.

    Raises:
        DatasetError: a shard is damaged, lacks a column, or labels a row neither 0 nor 1.
    """
    files = [*root.glob("*.parquet"), *root.glob("*/*.parquet")]  # no deeper: other archives have millions of files below
    shards = [file for file in sorted(files) if _IMAGE in _columns(file)]
    if not shards:
        return None
    return ParquetImages(root, tuple(sample for shard in shards for sample in _samples(root, shard)), "parquet images")


def _columns(shard: Path) -> list[str]:
    try:
        return list(pq.read_schema(shard).names)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{shard}: is no readable .parquet file ({error}); download it again") from error


def _samples(root: Path, shard: Path) -> Iterator[Sample]:
    missing = [name for name in _FACTS if name not in _columns(shard)]
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
