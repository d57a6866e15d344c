"""Labelled images: whatever shape a data set has on disk (`dgsnet.data.layouts` knows them), here it becomes one `Dataset`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import sha256_bytes
from dgsnet.data import parquet_images
from dgsnet.data.layouts import KNOWN, list_samples
from dgsnet.data.left_out import LeftOut
from dgsnet.data.sample import IMAGE_SUFFIXES, Sample

__all__ = ["Dataset", "Sample", "balanced_order", "load_dataset", "open_sample"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order, the folder their paths are relative to, the layout they were found in, and what was left out there."""

    root: Path
    samples: tuple[Sample, ...]
    layout: str
    parquet: parquet_images.Reader = field(default_factory=parquet_images.Reader, compare=False, repr=False)
    left_out: LeftOut = field(default_factory=LeftOut, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def read(self, sample: Sample, limit: int | None = None) -> bytes:
        """Read a sample's encoded bytes, at most `limit` of them; `DatasetError` when its file or shard is gone, damaged or cut off."""
        if sample.shard and sample.shard.lower().endswith(".parquet"):
            return self._read_row(sample, limit)
        try:
            with (self.root / (sample.shard or sample.path)).open("rb") as stream:
                if sample.shard is None:
                    return stream.read(limit)
                stream.seek(sample.offset)
                wanted = sample.size if limit is None else min(sample.size, limit)
                data = stream.read(wanted)
        except OSError as error:
            raise DatasetError(f"{self.root / sample.path}: cannot be read ({error.strerror}); restore it or leave it out") from error
        if len(data) != wanted:
            raise DatasetError(f"{self.root / sample.path}: the shard ends before this member does; restore the shard")
        return data

    def _read_row(self, sample: Sample, limit: int | None) -> bytes:
        shard = self.root / str(sample.shard)
        try:
            data = self.parquet.read(shard, sample.offset, sample.size, sample.item)
            if isinstance(data, str):
                return self._read_beside(shard, data, limit)
        except (OSError, pa.ArrowException, IndexError, DatasetError) as error:
            raise DatasetError(f"{self.root / sample.path}: cannot be read ({error}); download the shard again") from error
        if data is None:
            raise DatasetError(f"{self.root / sample.path}: the row holds no image; leave it out")
        return data[:limit]

    def _read_beside(self, shard: Path, name: str, limit: int | None) -> bytes:
        """Read a file that a row of a shard names, by its path from there."""
        if "://" in name:
            raise DatasetError(f"the image lies at {name}, and nothing is fetched")
        file = shard.parent / name
        if not file.is_file():  # also keeps a named pipe from blocking the run
            raise DatasetError(f"there is no file {file}")
        with file.open("rb") as stream:
            return stream.read(-1 if limit is None else limit)

    def labels(self) -> NDArray[np.int64]:
        """Return the (N,) labels; `DatasetError` when a sample has none."""
        bare = next((sample.path for sample in self.samples if sample.label is None), None)
        if bare is not None:
            raise DatasetError(f"{self.root / bare}: has no label; training and evaluation need one for each image ({KNOWN})")
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    def with_split(self, *names: str) -> Dataset:
        """Choose the samples whose split is one of `names`; `DatasetError` when there are none."""
        chosen = tuple(sample for sample in self.samples if sample.split in names)
        if not chosen:
            known = ", ".join(sorted({sample.split for sample in self.samples if sample.split})) or "no splits"
            raise DatasetError(f"{self.root}: no image of split {' or '.join(names)}; the data has {known}")
        return replace(self, samples=chosen)

    def balanced_subset(self, limit: int, seed: int) -> Dataset:
        """Choose at most `limit` samples: as many of each label, within a label equal shares of each source, in the order of this data set.

        A source with less than its share gives all it has and the others share the rest. Which samples a source gives depends on seed and
        paths alone, so a data set that grows keeps most of its choice.
        """
        by_label = _grouped(self.samples, lambda sample: sample.label)
        count = min([limit // max(len(by_label), 1), *(len(members) for members in by_label.values())])
        if count < 1:
            raise DatasetError(f"{self.root}: a subset of {limit} of {len(self)} images holds none of some label; raise the limit")
        chosen: set[str] = set()
        for members in by_label.values():
            by_source = sorted(_grouped(members, lambda sample: sample.source).items(), key=lambda item: (len(item[1]), item[0]))
            left = count
            for position, (_, pool) in enumerate(by_source):  # smallest source first, so that what it lacks goes to the larger ones
                share = min(len(pool), left // (len(by_source) - position))
                chosen.update(sorted((sample.path for sample in pool), key=lambda path: _rank(seed, path))[:share])
                left -= share
        return replace(self, samples=tuple(sample for sample in self.samples if sample.path in chosen))

    def split_by_group(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """Split into (rest, held out): about `fraction` (0..1, exclusive) of the samples of each label are held out, whole groups only.

        Deterministic in seed and group names. `DatasetError` when the groups are too few to put samples on both sides.
        """
        if not 0 < fraction < 1:
            raise DatasetError(f"cannot hold out a fraction of {fraction}; give one between 0 and 1")
        groups = _grouped(self.samples, lambda sample: sample.group)
        strata = _grouped(groups, lambda group: tuple(sorted({str(sample.label) for sample in groups[group]})))
        held: set[str] = set()
        for names in strata.values():
            ranked = sorted(names, key=lambda name: (_rank(seed, name), name))
            missing = fraction * sum(len(groups[name]) for name in ranked)
            taken = []
            for name in ranked:
                if len(groups[name]) <= missing + 0.5:  # a larger one would overshoot; a smaller one may follow
                    taken.append(name)
                    missing -= len(groups[name])
            if len(ranked) > 1:  # both sides get a part of each stratum
                taken = (taken or [min(ranked, key=lambda name: len(groups[name]))])[: len(ranked) - 1]
            held.update(taken)
        sides = tuple(tuple(sample for sample in self.samples if (sample.group in held) is side) for side in (False, True))
        if not all(sides):
            raise DatasetError(f"{self.root}: {len(groups)} group(s) are too few to hold out a part; name finer groups")
        return replace(self, samples=sides[0]), replace(self, samples=sides[1])

    def fingerprint(self) -> str:
        """Hash path, label, split, caption and content (null if unreadable) of each sample in order: hex sha256. Reads each image once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for sample in self.samples:
            try:
                content = sha256_bytes(self.read(sample))
            except DatasetError:
                content = None  # whoever wants the image says so; here it must cost one row, not the run
            fields = [sample.path, sample.label, sample.split, sample.caption, content]
            digest.update(json.dumps(fields).encode() + b"\n")
        return digest.hexdigest()


def open_sample(dataset: Dataset, sample: Sample) -> BinaryIO:
    """Return a sample as the file object a detector takes: read by the thread that decodes it, and named in the error of its row."""
    return cast(BinaryIO, _OpenSample(dataset, sample))


@dataclass(frozen=True)
class _OpenSample:
    dataset: Dataset
    sample: Sample

    @property
    def name(self) -> str:
        return self.sample.path

    def read(self, limit: int) -> bytes:
        try:
            return self.dataset.read(self.sample, limit)
        except DatasetError as error:
            raise DecodeError("cannot be read; restore it or leave it out") from error


def balanced_order(labels: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw the (M,) indices of one class-balanced epoch over (N,) labels 0 and 1, a pure function of its arguments.

    Each image of the larger class comes once, those of the smaller are repeated as evenly as possible, so M is twice the larger class.
    Each aligned pair holds one real and one fake, hence any aligned batch of even size as many of both. One class alone: a plain shuffle.
    """
    if not np.isin(labels, (0, 1)).all():
        raise DatasetError("only labels 0 and 1 can be balanced")
    rng = np.random.Generator(np.random.PCG64([seed, epoch]))
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    longest = max(len(members) for members in classes)
    if not all(len(members) for members in classes):
        return rng.permutation(len(labels)).astype(np.int64)
    columns = [np.concatenate([rng.permutation(members) for _ in range(-(-longest // len(members)))])[:longest] for members in classes]
    return rng.permuted(np.stack(columns, axis=1), axis=1).ravel().astype(np.int64)


def load_dataset(data: str | Path, *, caption_column: str = "caption", labelled: bool = True) -> Dataset:
    """Load all samples of a folder, manifest, shard or (with `labelled=False`) image file: see `dgsnet.data.layouts.list_samples`.

    `DatasetError` when nothing is found, more than one shape, or one image twice.
    """
    listing = list_samples(data, caption_column=caption_column, labelled=labelled)
    dataset = Dataset(listing.root, tuple(listing.samples), listing.layout, left_out=listing.left_out)
    if not dataset.samples:
        raise DatasetError(no_images(data, listing.left_out))
    repeated, times = Counter(sample.path for sample in dataset.samples).most_common(1)[0]
    if times > 1:
        raise DatasetError(f"{dataset.root / repeated}: listed {times} times; list each image once")
    return dataset


def no_images(data: str | Path, left_out: LeftOut) -> str:
    """Say that there is nothing to work on, and what was found instead."""
    found = "".join(f"; left out: {line}" for line in left_out.lines())
    return f"{data}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}){found}; {KNOWN}"


def _grouped(items: Iterable[_V], key: Callable[[_V], _K]) -> dict[_K, list[_V]]:
    groups: dict[_K, list[_V]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def _rank(seed: int, name: str) -> str:
    """Return a fixed pseudo-random place in a queue: it depends on nothing but its arguments."""
    return sha256_bytes(f"{seed}\0{name}".encode())
