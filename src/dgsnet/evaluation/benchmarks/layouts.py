"""From the folder of an unpacked benchmark to a `Dataset` whose generators and sources are the benchmark's own subsets.

A generated image gets its subset as generator, any image ``subset`` or ``subset/category`` as source; shared photographs get the name of
their folder. So whatever is scored can be judged from the predictions file alone, see `dgsnet.evaluation.benchmarks.protocol`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import Dataset, Sample, load_dataset
from dgsnet.evaluation.benchmarks import community_forensics, names
from dgsnet.evaluation.benchmarks.registry import Benchmark

_NEITHER = frozenset({"0_real", "1_fake", "nature", "ai", "real", "fake", "train", "val", "valid", "validation", "test"})


@dataclass(frozen=True)
class Found:
    """The contents of a folder: the images of the benchmark, and how many lie in folders that are none of its subsets, by folder."""

    dataset: Dataset
    unmatched: dict[str, int]


def read(benchmark: Benchmark, root: Path) -> Found:
    """Find the images of a benchmark below `root`, which may be the whole archive, its test folder, or the folder of one subset.

    Images of another split than the benchmark's, where folders name splits, are left out.

    Raises:
        DatasetError: `root` holds no images in a known layout, or none of a subset of the benchmark.
    """
    dataset = _tested(community_forensics.load_shards(root) or load_dataset(root), benchmark)
    if not benchmark.subsets:
        return Found(replace(dataset, samples=tuple(map(_named_by_data, dataset))), {})
    if len(benchmark.subsets) == 1:
        (only,) = benchmark.subsets
        return Found(replace(dataset, samples=tuple(_in_subset(sample, only.name, "") for sample in dataset)), {})
    return _matched(benchmark, dataset)


def _tested(dataset: Dataset, benchmark: Benchmark) -> Dataset:
    """Return the split that is tested; images that no folder gives a split are tested too."""
    kept = tuple(sample for sample in dataset if sample.split in (None, benchmark.split))
    if not kept:
        dataset.with_split(benchmark.split)  # says which splits there are
    return replace(dataset, samples=kept)


def _named_by_data(sample: Sample) -> Sample:
    """Return a sample with the names its manifest, shard or folders give, spelt canonically."""
    if sample.label == 1:
        generator = names.generator(sample.generator)
        return replace(sample, generator=generator, source=generator)
    return replace(sample, source=names.slug(sample.source))


def _matched(benchmark: Benchmark, dataset: Dataset) -> Found:
    known = {names.key(other): subset.name for subset in benchmark.subsets for other in _spellings(subset.name, subset.other_names)}
    shared = {subset.photographs for subset in benchmark.subsets if subset.photographs}
    above = known.get(names.key(dataset.root.resolve().name))  # `root` may be the folder of one subset
    samples: list[Sample] = []
    unmatched: Counter[str] = Counter()
    for sample in dataset:
        folders = PurePosixPath(sample.path).parts[:-1]
        place, subset = next(((at, known[names.key(one)]) for at, one in enumerate(folders) if names.key(one) in known), (-1, above))
        pool = next((one.casefold() for one in folders if one.casefold() in shared), None)
        if subset is not None:
            samples.append(_in_subset(sample, subset, "/".join(_categories(folders[place + 1 :], known))))
        elif pool is not None and sample.label == 0:
            samples.append(replace(sample, source=pool))
        else:
            unmatched["/".join(one for one in folders if one.casefold() not in _NEITHER) or "."] += 1
    if not samples:
        expected, example = ", ".join(one.name for one in benchmark.subsets), dataset.samples[0].path
        raise DatasetError(f"{dataset.root}: holds nothing of {benchmark.title}; expected folders named {expected}, but found {example}")
    return Found(replace(dataset, samples=tuple(samples)), dict(sorted(unmatched.items())))


def _spellings(name: str, others: tuple[str, ...]) -> Iterator[str]:
    for one in (name, *others):
        yield one
        yield from names.GENERATORS.get(one, ())


def _categories(folders: tuple[str, ...], known: dict[str, str]) -> Iterator[str]:
    """Yield folders below that of a subset, but those of labels and splits and a repetition of its name, as GenImage has."""
    return (names.category(one) for one in folders if one.casefold() not in _NEITHER and names.key(one) not in known)


def _in_subset(sample: Sample, subset: str, category: str) -> Sample:
    source = f"{subset}/{category}" if category else subset
    return replace(sample, generator=subset if sample.label == 1 else "", source=source)
