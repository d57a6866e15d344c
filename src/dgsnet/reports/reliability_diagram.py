"""`reliability.png` of a calibrated model: the score before and after against the fraction of generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.names import DIAGRAM
from dgsnet.evaluation.calibrate import reliabilities
from dgsnet.evaluation.metrics import ECE_BINS
from dgsnet.evaluation.reliability import Reliability
from dgsnet.reports.plotting import error_bars, save_png

_REAL, _FAKE, _GREY = "#1f77b4", "#d95f02", "0.45"


def write(folder: Path, calibration: Calibration, predictions: Path) -> Path:
    """Write `reliability.png` into a model folder, whose card shows it: fraction of generated images against score, and below it the scores
    of each class. `predictions` is the file that the calibration was fitted to.
    """
    before, after = reliabilities(calibration, predictions)
    picture = Figure(figsize=(6, 7.5), layout="constrained")
    top, bottom = picture.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    top.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="score is the probability")
    _points(top, before, _GREY, "before")
    _points(top, after, _FAKE, "after, with number of images")
    for one in after.bins():
        if one.images:
            top.annotate(str(one.images), (one.mean, one.fraction.value), (5, -10), textcoords="offset points", fontsize=7, color=_FAKE)
    top.set_ylim(-0.02, 1.02)
    top.set_ylabel("fraction of generated images, equal priors")
    top.set_title("Reliability on the calibration data, 95 % bootstrap intervals", loc="left", fontsize=11)
    edges = np.linspace(0, 1, 2 * ECE_BINS + 1)
    for label, colour, name in ((0, _REAL, "photographs"), (1, _FAKE, "generated images")):
        bottom.hist(after.scores[after.labels == label], edges, color=colour, alpha=0.5, label=name)
    bottom.set_ylabel("images")
    bottom.set_xlabel("score; dashed: thresholds of the verdicts real and ai-generated")
    bottom.set_xlim(-0.02, 1.02)
    for axes in (top, bottom):
        for threshold in (calibration.real, calibration.generated):
            axes.axvline(threshold, color="0.3", linewidth=0.9, linestyle="--")
        axes.legend(frameon=False, fontsize=8, loc="best")
        axes.spines[["top", "right"]].set_visible(False)
    save_png(picture, folder / DIAGRAM)
    return folder / DIAGRAM


def _points(axes: Any, reliability: Reliability, colour: str, label: str) -> None:
    filled = [one for one in reliability.bins() if one.images]
    value, reach = error_bars([one.fraction.as_dict() for one in filled])
    means = [one.mean for one in filled]
    axes.errorbar(means, value, yerr=reach, fmt="o-", color=colour, capsize=2, linewidth=0.8, markersize=4, label=label)
