"""Parts of all plots: intervals as matplotlib draws them, and writing a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgsnet.core.files import replacing
from dgsnet.evaluation.interval import PARTS

Floats = NDArray[np.float64]


def bounds(figures: Sequence[Mapping[str, float | None]]) -> tuple[Floats, Floats, Floats]:
    """Return values, lower and upper bounds (N,) of figures as result files hold them, NaN where one is undefined."""
    value, low, high = (np.array([one[part] for one in figures], dtype=float) for part in PARTS)
    return value, low, high


def error_bars(figures: Sequence[Mapping[str, float | None]]) -> tuple[Floats, Floats]:
    """Return values (N,), and how far the intervals reach below and above them (2, N), at least 0.

    A percentile interval may exclude its value, and that of a share close to 1 may end below it by rounding; matplotlib refuses a bar of
    negative length.
    """
    value, low, high = bounds(figures)
    return value, np.maximum([value - low, high - value], 0)


def save_png(picture: Figure, target: Path) -> None:
    """Write a figure as a PNG; the file is replaced atomically."""
    with replacing(target) as aside:
        picture.savefig(aside, format="png", dpi=150)
