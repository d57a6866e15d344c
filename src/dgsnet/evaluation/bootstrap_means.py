"""Bootstrap draws of means over parts of a set of images: for means that share photographs, and for rankings.

`dgsnet.evaluation.metrics` gives intervals of one figure; here are the draws themselves, of several detectors on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgsnet.evaluation.bootstrap import Figures, draws
from dgsnet.evaluation.metrics import Floats, mean_over_parts


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
    """Compute for each detector the mean over parts of every metric, and that mean in each resample.

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
    return draws([mean_over_parts(labels, one, parts, threshold) for one in scores], strata, resamples, seed)


def rank_shares(drawn: Sequence[Floats]) -> NDArray[np.float64]:
    """Return (D, D) shares: in how much of the resamples detector d is ranked k-th, the highest figure first. Ties share ranks equally.

    Args:
        drawn: of each of D detectors the (R,) draws of one figure, finite.
    """
    table = np.stack(drawn)
    above = (table[None] > table[:, None]).sum(axis=1)  # (D, R): how many are strictly better
    level = (table[None] == table[:, None]).sum(axis=1)  # with itself
    ranks = np.arange(len(table))[:, None, None]
    inside = (ranks >= above) & (ranks < above + level)
    return np.asarray((inside / level).mean(axis=2).T)
