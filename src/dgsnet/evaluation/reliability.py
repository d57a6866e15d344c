"""How far a score is from a probability: log loss and calibration error at equal priors, and the reliability diagram.

Equal priors: photographs together count as much as generated images together, whatever their numbers; a sample of class c weighs
1 / (2 n_c). So a data set with ten photographs to one generated image measures the same thing as one with as many of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgsnet.core.files import replacing
from dgsnet.evaluation.bootstrap import weightings
from dgsnet.evaluation.metrics import ECE_BINS

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_REAL, _FAKE, _GREY = "#1f77b4", "#d95f02", "0.45"


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval; NaN where a bin is empty."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """One bin of the score: mean score and fraction of generated images at equal priors (NaN where it is empty), and how many images."""

    mean: float
    fraction: Interval
    images: int


@dataclass(frozen=True)
class Reliability:
    """Of labels (N,), 0 and 1, both there, and scores (N,), 0..1; each class is resampled separately (see `dgsnet.evaluation.metrics`)."""

    labels: Labels
    scores: Floats
    resamples: int = 1000
    seed: int = 0

    def figures(self) -> dict[str, Interval]:
        """`ece` and `log_loss` at equal priors.

        `ece` = sum over bins of |weight of fakes - sum of weight * score|, in the bins of `metrics.ECE_BINS`; 0..1. `log_loss` = mean of
        -ln p(label), nats; a score of 0 or 1 counts as 1e-15 away from it. The interval of `ece` lies too high on few samples.
        """
        clipped = np.clip(self.scores, 1e-15, 1 - 1e-15)
        loss = -np.where(self.labels == 1, np.log(clipped), np.log1p(-clipped))
        gaps = self._members() * (self.scores - self.labels)[:, None]
        drawn = np.concatenate([np.column_stack([np.abs(w @ gaps).sum(axis=1), w @ loss]) for w in self._weights()])
        return {"ece": _interval(drawn[:, 0]), "log_loss": _interval(drawn[:, 1])}

    def bins(self) -> list[Bin]:
        """The points of the reliability diagram, by rising score."""
        members = self._members()
        with np.errstate(invalid="ignore"):  # 0/0 is NaN, as it should be for an empty bin
            fakes = np.concatenate([(w @ (members * self.labels[:, None])) / (w @ members) for w in self._weights()])
            weights = next(self._weights())
            means = ((weights @ (members * self.scores[:, None])) / (weights @ members))[0]
        images = members.sum(axis=0)
        return [Bin(float(means[k]), _interval(fakes[:, k]), int(images[k])) for k in range(ECE_BINS)]

    def _members(self) -> Floats:
        """(N, ECE_BINS): 1 where a sample is in a bin."""
        bins = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, self.scores, side="right")
        return np.eye(ECE_BINS)[bins]

    def _weights(self) -> Iterator[Floats]:
        """Weights at equal priors: (1, N) of the data itself, then (rows, N) of resamples, in chunks."""
        shares = np.where(self.labels == 1, 0.5 / (self.labels == 1).sum(), 0.5 / (self.labels == 0).sum())
        yield shares[None]
        yield from (weights * shares for weights in weightings(self.labels, self.resamples, self.seed))


def _interval(drawn: Floats) -> Interval:
    """From the figure of the data and those of the resamples, in that order; resamples without a value do not count."""
    if np.isnan(drawn[0]):
        return Interval(float("nan"), float("nan"), float("nan"))
    rest = drawn[1:]
    low, high = np.nanquantile(rest, [0.025, 0.975]) if not np.isnan(rest).all() else (drawn[0], drawn[0])
    return Interval(float(drawn[0]), float(low), float(high))


def draw(target: Path, before: Reliability, after: Reliability, real: float, generated: float) -> None:
    """Save the reliability diagram as a PNG: fraction of generated images against score, and below it the scores of each class.

    Args:
        target: the file; replaced atomically.
        before: with the plain sigmoid of the logit as score.
        after: calibrated.
        real: threshold, 0..1.
        generated: threshold, `real`..1.
    """
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
        for threshold in (real, generated):
            axes.axvline(threshold, color="0.3", linewidth=0.9, linestyle="--")
        axes.legend(frameon=False, fontsize=8, loc="best")
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(target) as aside:
        picture.savefig(aside, format="png", dpi=150)


def _points(axes: Any, reliability: Reliability, colour: str, label: str) -> None:
    filled = [one for one in reliability.bins() if one.images]
    value = np.array([one.fraction.value for one in filled])
    # A percentile interval may exclude the value; a bar of negative length is an error.
    reach = np.array([[v.fraction.value - v.fraction.low, v.fraction.high - v.fraction.value] for v in filled]).T.clip(min=0)
    means = [one.mean for one in filled]
    axes.errorbar(means, value, yerr=reach, fmt="o-", color=colour, capsize=2, linewidth=0.8, markersize=4, label=label)
