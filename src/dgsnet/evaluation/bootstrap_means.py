"""Bootstrap draws of means over parts of a set of images: for means that share photographs, and for rankings.

`dgsnet.evaluation.metrics` gives intervals of one figure; here are the draws themselves, of several detectors on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgsnet.evaluation.bootstrap import weightings
from dgsnet.evaluation.metrics import METRICS, Figures, Floats, weighted_metrics


def means(
    labels: ArrayLike,
    scores: Sequence[ArrayLike],
    parts: Sequence[NDArray[np.intp]],
    strata: ArrayLike,
    *,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> list[tuple[dict[str, float], Figures]]:
    """Of each detector the mean over parts of every metric, and that mean in each resample.

    Images may belong to several parts, as photographs do that all generators share: one draw of them serves all, so that what they do to
    every part at once does not average out.

    Args:
        labels: (N,), 0 or 1.
        scores: of each detector (N,), 0..1.
        parts: at least one; of each the indices of its samples.
        strata: (N,), what is drawn separately.
        threshold: a score of at least this is called AI-generated.
        resamples: at least 1.
        seed: at least 0.

    Returns:
        For each detector values by the names in `METRICS`, NaN where a part lacks a class the metric needs, and draws (`resamples`,).

    Raises:
        ValueError: an input is empty, of another shape, or outside its range.
    """
    truth = np.asarray(labels)
    columns = [np.asarray(one, dtype=np.float64) for one in scores]

    def over_parts(column: Floats, weights: Floats) -> Figures:
        found = [weighted_metrics(truth[part], column[part], weights[:, part], threshold) for part in parts]
        return {name: np.mean([one[name] for one in found], axis=0) for name in METRICS}

    points = [{name: float(value[0]) for name, value in over_parts(one, np.ones((1, len(truth)))).items()} for one in columns]
    drawn: list[list[Figures]] = [[] for _ in columns]
    for weights in weightings(strata, resamples, seed):
        for column, chunks in zip(columns, drawn, strict=True):
            chunks.append(over_parts(column, weights))
    return [
        (point, {name: np.concatenate([chunk[name] for chunk in chunks]) for name in METRICS})
        for point, chunks in zip(points, drawn, strict=True)
    ]


def rank_shares(drawn: Sequence[Floats]) -> NDArray[np.float64]:
    """(D, D) shares: in how much of the resamples detector d is ranked k-th, the highest figure first. Ties share their ranks equally.

    Args:
        drawn: of each of D detectors the (R,) draws of one figure, finite.
    """
    table = np.stack(drawn)
    above = (table[None] > table[:, None]).sum(axis=1)  # (D, R): how many are strictly better
    level = (table[None] == table[:, None]).sum(axis=1)  # with itself
    ranks = np.arange(len(table))[:, None, None]
    inside = (ranks >= above) & (ranks < above + level)
    return np.asarray((inside / level).mean(axis=2).T)
