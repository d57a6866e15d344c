"""Figures of a competition from scores: AUROC by generator and in the mean, margins, and intervals over seeds, generators and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgsnet.evaluation.interval import Interval, percentile_interval

RESAMPLES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """The N test images that all entries have scored: labels (N,), and generators (N,), empty for photographs."""

    labels: NDArray[np.int64]
    generators: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Return the G generators, by name."""
        return sorted({name for name, label in zip(self.generators, self.labels, strict=True) if label})

    def fakes(self, name: str) -> NDArray[np.intp]:
        """Return where a generator's images are."""
        return np.flatnonzero((self.labels == 1) & (np.array(self.generators) == name))


def wins(field: Field, scores: Floats) -> list[NDArray[np.float32]]:
    """Return of each generator (F, P): 1 where its image is scored above the photograph, 1/2 where they are level, else 0."""
    real = scores[field.labels == 0]
    return [
        ((scores[places][:, None] > real) + 0.5 * (scores[places][:, None] == real)).astype(np.float32)
        for places in (field.fakes(name) for name in field.names)
    ]


@dataclass(frozen=True)
class Draws:
    """Mean AUROC over generators of each entry: of the data, (E,), and of each resample, (R, E), the same resamples for all."""

    entries: tuple[str, ...]
    values: Floats
    drawn: Floats

    def interval(self, entry: str) -> Interval:
        """Return an entry's mean AUROC."""
        at = self.entries.index(entry)
        return percentile_interval(float(self.values[at]), self.drawn[:, at])

    def difference(self, entry: str, others: Sequence[str]) -> Interval:
        """Return an entry's mean AUROC minus the mean of others', resample by resample."""
        at, rest = self.entries.index(entry), [self.entries.index(other) for other in others]
        return percentile_interval(float(self.values[at] - self.values[rest].mean()), self.drawn[:, at] - self.drawn[:, rest].mean(axis=1))


def draw(field: Field, scores: dict[str, Floats], resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """Resample seeds, generators and images, each with replacement, for all entries alike.

    Drawing images alone would say how well this model does on these generators; what is asked is whether a method does better when it is
    trained again and meets others.

    Args:
        field: the images.
        scores: (S, N) of each entry, a row a seed; S may differ from entry to entry.
        resamples: R.
        seed: of the draws.
    """
    entries, rng = tuple(scores), np.random.default_rng(seed)
    tables = {entry: [wins(field, row) for row in scores[entry]] for entry in entries}
    counts = [len(field.fakes(name)) for name in field.names]
    photographs = int((field.labels == 0).sum())
    values = np.array([np.mean([np.mean([table.mean() for table in of_seed]) for of_seed in tables[entry]]) for entry in entries])
    drawn = np.empty((resamples, len(entries)))
    for resample in range(resamples):
        real = np.bincount(rng.integers(photographs, size=photographs), minlength=photographs).astype(np.float32) / photographs
        chosen = rng.integers(len(counts), size=len(counts))
        fakes = [np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float32) / count for count in counts]
        of_seeds = rng.random(max(len(rows) for rows in tables.values()))
        for at, entry in enumerate(entries):
            rows = tables[entry]
            taken = [rows[int(share * len(rows))] for share in of_seeds[: len(rows)]]
            drawn[resample, at] = np.mean([np.mean([fakes[one] @ (of_seed[one] @ real) for one in chosen]) for of_seed in taken])
    return Draws(entries, values, drawn)


def by_generator(field: Field, scores: Floats) -> dict[str, float]:
    """Return the AUROC of each generator, averaged over the seeds of scores (S, N)."""
    tables = [wins(field, row) for row in scores]
    return {name: float(np.mean([of_seed[at].mean() for of_seed in tables])) for at, name in enumerate(field.names)}


def balanced_accuracy(field: Field, scores: Floats, threshold: float = 0.5) -> float:
    """Return the mean over generators and seeds of (share of photographs below + share of its images at or above the threshold) / 2."""
    found = []
    for row in scores:
        right = (row[field.labels == 0] < threshold).mean()
        found += [(right + (row[field.fakes(name)] >= threshold).mean()) / 2 for name in field.names]
    return float(np.mean(found))


def found_at_5_percent(field: Field, scores: Floats) -> float:
    """Return the mean over generators and seeds of the share of its images above the threshold that 5 % of the photographs are above."""
    cuts = [np.quantile(row[field.labels == 0], 0.95) for row in scores]
    return float(np.mean([(row[field.fakes(name)] > cut).mean() for row, cut in zip(scores, cuts, strict=True) for name in field.names]))
