"""A figure and its confidence interval: the one type for all figures of the project, however their interval is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PARTS = ("value", "low", "high")
"""Keys of an interval in every result file, in the order of its columns in tables."""

_TAIL = (1 - 0.95) / 2  # 95 %


@dataclass(frozen=True)
class Interval:
    """A figure and its interval; all three are None where the figure is undefined, because a class is missing for example."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return `{"value", "low", "high"}`, as result files hold it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def percentile_interval(value: float, drawn: NDArray[np.float64], tail: float = _TAIL) -> Interval:
    """Return a figure with the percentile interval of its draws (R,), undefined where the figure is NaN.

    Draws that are NaN do not count: a resample may miss every image that has a value. Where all are, the interval has no width. `tail`,
    0..0.5, is the share of draws left out at either end.
    """
    if np.isnan(value):
        return Interval()
    if np.isnan(drawn).all():
        return Interval(float(value), float(value), float(value))
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def interval_of_draws(draws: NDArray[np.float64]) -> Interval:
    """Return the interval of (1 + R,) draws: the first is the figure of the data, the others are those of resamples."""
    return percentile_interval(draws[0], draws[1:], 0.025)  # `_TAIL` differs in the last bit, and calibrations are written to the last bit
