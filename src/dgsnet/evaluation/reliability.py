"""Distance of a score from a probability: log loss and calibration error at equal priors, and the bins of a reliability diagram.

Equal priors: photographs together count as much as generated images together, whatever their numbers; a sample of class c weighs
1 / (2 n_c). So a data set with ten photographs to one generated image measures the same thing as one with as many of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgsnet.evaluation.bootstrap import weightings
from dgsnet.evaluation.interval import Interval, interval_of_draws
from dgsnet.evaluation.metrics import ECE_BINS, Floats

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """One bin of the score: mean score (NaN where it is empty), fraction of generated images at equal priors, and how many images."""

    mean: float
    fraction: Interval
    images: int


@dataclass(frozen=True)
class Reliability:
    """Labels (N,), 0 and 1, both there, and scores (N,), 0..1; each class is resampled separately (see `dgsnet.evaluation.metrics`)."""

    labels: Labels
    scores: Floats
    resamples: int = 1000
    seed: int = 0

    def figures(self) -> dict[str, Interval]:
        """Return `ece` and `log_loss` at equal priors.

        `ece` = sum over bins of |weight of fakes - sum of weight * score|, in the bins of `metrics.ECE_BINS`; 0..1. `log_loss` = mean of
        -ln p(label), nats; a score of 0 or 1 counts as 1e-15 away from it. The interval of `ece` lies too high on few samples.
        """
        clipped = np.clip(self.scores, 1e-15, 1 - 1e-15)
        loss = -np.where(self.labels == 1, np.log(clipped), np.log1p(-clipped))
        gaps = self._members() * (self.scores - self.labels)[:, None]
        drawn = np.concatenate([np.column_stack([np.abs(w @ gaps).sum(axis=1), w @ loss]) for w in self._weights()])
        return {"ece": interval_of_draws(drawn[:, 0]), "log_loss": interval_of_draws(drawn[:, 1])}

    def bins(self) -> list[Bin]:
        """Return the points of the reliability diagram, by rising score."""
        members = self._members()
        with np.errstate(invalid="ignore"):  # 0/0 is NaN, as it should be for an empty bin
            fakes = np.concatenate([(w @ (members * self.labels[:, None])) / (w @ members) for w in self._weights()])
            weights = next(self._weights())
            means = ((weights @ (members * self.scores[:, None])) / (weights @ members))[0]
        images = members.sum(axis=0)
        return [Bin(float(means[k]), interval_of_draws(fakes[:, k]), int(images[k])) for k in range(ECE_BINS)]

    def _members(self) -> Floats:
        """Return (N, ECE_BINS): 1 where a sample is in a bin."""
        bins = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, self.scores, side="right")
        return np.eye(ECE_BINS)[bins]

    def _weights(self) -> Iterator[Floats]:
        """Yield weights at equal priors: (1, N) of the data itself, then (rows, N) of resamples, in chunks."""
        shares = np.where(self.labels == 1, 0.5 / (self.labels == 1).sum(), 0.5 / (self.labels == 0).sum())
        yield shares[None]
        yield from (weights * shares for weights in weightings(self.labels, self.resamples, self.seed))
