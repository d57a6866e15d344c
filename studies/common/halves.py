"""The corpus' sources in two halves, so that a model trained on one can be asked about the other."""

from __future__ import annotations

from dataclasses import replace

from dgsnet.data.dataset import Dataset

HALF = frozenset({"imagenet_sample", "dreambooth", "dalle_mini", "ldm_t2i", "midjourney_2022", "sd14_kaikalii_tiles", "disco_diffusion"})
"""Sources of half 0, chosen by size: 490 of 1,020 photographs, 520 of 1,080 generated images of the training split."""


def other_half(corpus: Dataset, half: int, count: int) -> Dataset:
    """Return `count` images of `train` and `val` whose sources are not of this half, balanced over sources."""
    others = tuple(sample for sample in corpus if sample.split in {"train", "val"} and (sample.source in HALF) != (half == 0))
    return replace(corpus, samples=others).balanced_subset(count, seed=0)
