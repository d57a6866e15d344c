"""The stratified bootstrap: how often each sample comes up, resample by resample. Every bootstrap interval of the project is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Figures = dict[str, NDArray[np.float64]]
"""Figures by name, each (R,)."""

Statistic = Callable[[NDArray[np.float64]], Figures]
"""From R weightings (R, N) of the same N samples to their figures."""

_CHUNK_CELLS = 2**18  # resamples x samples at a time: bounds memory, and 2 MB a matrix stays near the cache


def weightings(strata: ArrayLike, resamples: int, seed: int = 0, clusters: ArrayLike | None = None) -> Iterator[NDArray[np.float64]]:
    """Weights (R, N) in chunks that together have `resamples` rows: weight k is a sample drawn k times.

    Every stratum is drawn from itself, as often as it has samples, by a random stream of its own: what is drawn of one depends neither on
    the others nor on the chunks. With `clusters` it is they that are drawn, as many as a stratum has, each with all its samples there; a
    cluster that lies in several strata is drawn in each on its own.

    Args:
        strata: (N,) whole numbers from 0 on.
        resamples: at least 1.
        seed: at least 0; the same seed gives the same weights.
        clusters: (N,) whole numbers; samples of one number come up together. None: each sample on its own.
    """
    codes = np.asarray(strata)
    present = np.unique(codes)
    members = [np.flatnonzero(codes == code) for code in present]
    drawn_as = [_ranks(places, clusters) for places in members]
    streams = [np.random.default_rng([seed, int(code)]) for code in present]
    chunk = max(1, _CHUNK_CELLS // len(codes))
    for done in range(0, resamples, chunk):
        rows = min(chunk, resamples - done)
        weights = np.empty((rows, len(codes)))
        for places, ranks, stream in zip(members, drawn_as, streams, strict=True):
            count = int(ranks.max()) + 1
            drawn = stream.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
            weights[:, places] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)[:, ranks]
        yield weights


def draws(
    statistics: Sequence[Statistic], strata: ArrayLike, resamples: int, seed: int = 0, clusters: ArrayLike | None = None
) -> list[tuple[dict[str, float], Figures]]:
    """Compute several statistics of the same N samples on the same resamples.

    Returns:
        For each statistic its figures of the samples as they are, and of each resample (`resamples`,), drawn as by `weightings`.
    """
    points = [statistic(np.ones((1, np.asarray(strata).size))) for statistic in statistics]
    chunks: list[list[Figures]] = [[] for _ in statistics]
    for weights in weightings(strata, resamples, seed, clusters):
        for statistic, found in zip(statistics, chunks, strict=True):
            found.append(statistic(weights))
    return [
        ({name: float(value[0]) for name, value in point.items()}, {name: np.concatenate([one[name] for one in found]) for name in point})
        for point, found in zip(points, chunks, strict=True)
    ]


def rank_shares(drawn: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return (D, D) shares: in how much of the resamples detector d is ranked k-th, the highest figure first. Ties share ranks equally.

    `drawn` are of each of D detectors the (R,) draws of one figure, finite.
    """
    table = np.stack(drawn)
    above = (table[None] > table[:, None]).sum(axis=1)  # (D, R): how many are strictly better
    level = (table[None] == table[:, None]).sum(axis=1)  # with itself
    ranks = np.arange(len(table))[:, None, None]
    inside = (ranks >= above) & (ranks < above + level)
    return np.asarray((inside / level).mean(axis=2).T)


def _ranks(places: NDArray[np.intp], clusters: ArrayLike | None) -> NDArray[np.intp]:
    """Return for the samples at these places the number of what each is drawn with: 0 to the count of them minus 1."""
    if clusters is None:
        return np.arange(len(places))
    return np.unique(np.asarray(clusters)[places], return_inverse=True)[1].ravel()
