"""The jackknife: an interval over images from the figures that each leave one image out.

The bootstrap will not do here: it draws images several times, copies are each other's nearest neighbours, and they bring back the very bias
that the debiased CKA takes away. Leaving one image out is in closed form for every figure of this package.
"""

from __future__ import annotations

from math import inf
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dgsnet.evaluation.interval import Interval

Floats = NDArray[np.float64]


def jackknife(value: float, leave_one_out: Floats, *, least: float = -inf, most: float = inf) -> Interval:
    """Return a figure and its 95 % interval, value -+ 1.96 sqrt((n - 1) / n * sum_i (theta_i - mean)^2) (Efron & Tibshirani 1993, 11.5).

    Args:
        value: the figure of all n images.
        leave_one_out: (n,) theta_i, the figure without image i; n >= 2.
        least: of the figure's range: a lower bound below it says no more than it does.
        most: of the figure's range.

    Returns:
        All three None where the figure, or one without an image, is NaN.
    """
    if np.isnan(value) or np.isnan(leave_one_out).any():
        return Interval()
    n = len(leave_one_out)
    error = float(np.sqrt((n - 1) / n * ((leave_one_out - leave_one_out.mean()) ** 2).sum()))
    reach = NormalDist().inv_cdf((1 + 0.95) / 2) * error
    return Interval(value, max(least, value - reach), min(most, value + reach))


def mean_leaving_one_out(values: Floats, strata: NDArray[np.intp]) -> tuple[float, Floats]:
    """Return the mean over strata of the mean of each stratum, and the same without each image.

    Args:
        values: (n,) a figure per image.
        strata: (n,) numbers 0..S-1; each with two images or more, unless all images are one.

    Returns:
        The mean, and (n,) means without image i.
    """
    sizes = np.bincount(strata)
    means = np.bincount(strata, weights=values) / sizes
    change = (means[strata] - values) / np.maximum(sizes[strata] - 1, 1) / len(sizes)
    return float(means.mean()), means.mean() + change
