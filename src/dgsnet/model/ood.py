"""Out-of-distribution detection: the distance of a picture from the photographs a model was trained on; the warning ``out_of_domain``.

A detector has an answer for everything: for noise, a black frame, a microscope slide. What its head reads of such a picture lies where no
training photograph lay, and the distance says so. It is Mahalanobis' distance under probabilistic PCA (Tipping and Bishop, 1999): the
leading directions of the photographs' spread each have their own variance, all others share one, so a few hundred photographs suffice for
a thousand dimensions, and no photograph has to be kept.

The bound is set so that few photographs of a *source that was left out* exceed it: photographs of another camera or website are no reason
for a warning. What is measured is the feature the model's own head reads, since a second pass through the frozen backbone would double the
cost of every image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST = 40
"""Photographs below which no detector is fitted."""

SHARE = 0.02
"""Share of the photographs of a left-out source that may exceed the bound."""

_DIRECTIONS, _PER_DIRECTION = 64, 8  # at most 64 leading directions, and at least 8 photographs for each
_MOST_GROUPS = 20  # of sources, each of which costs an eigenvalue decomposition
_FOLDS = 5  # where photographs have one source, or none is named, the bound comes from left-out fifths


@dataclass(frozen=True)
class OodDetector:
    """Photographs as a Gaussian: `mean` and `scale` (D,), orthonormal `directions` (K, D) of the standardised features with their
    `variances` (K,), the variance `rest` of every other direction, and the distance `bound`, beyond which a picture is flagged."""

    mean: Floats
    scale: Floats
    directions: Floats
    variances: Floats
    rest: float
    bound: float

    def distance(self, features: NDArray[np.floating]) -> Floats:
        """Return the root mean square deviation of (N, D) features, in standard deviations: (N,). Photographs trained on are near 1."""
        standard = (np.asarray(features, np.float64) - self.mean) / self.scale
        along = standard @ self.directions.T
        within = (along**2 / self.variances).sum(axis=1)
        across = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0) / self.rest
        return np.asarray(np.sqrt((within + across) / standard.shape[1]), np.float64)

    def is_out_of_domain(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which of (N, D) features are out of distribution, (N,)."""
        return np.asarray(self.distance(features) > self.bound, np.bool_)


def fit(features: NDArray[np.floating], sources: Sequence[str], share: float = SHARE) -> OodDetector | None:
    """Fit a detector to photographs; None when they are fewer than `FEWEST`.

    Args:
        features: (N, D), what the model's head reads of each photograph.
        sources: (N,) where each came from.
        share: of the photographs of a left-out source that may exceed the bound, 0..1: photographs of each source are measured against
            those of the others (of one source alone: each fifth against the rest), and the bound is this quantile of the distances.
    """
    given = np.asarray(features, np.float64)
    if given.ndim != 2 or len(given) != len(sources):
        raise ValueError(f"expected features (N, D) and N sources, but got shape {given.shape} and {len(sources)}")
    if len(given) < FEWEST:
        return None
    names = np.array(sources)
    if len(set(sources)) == 1:
        names = np.array([str(number % _FOLDS) for number in range(len(given))])
    left_out = []
    group = np.unique(names, return_inverse=True)[1] % _MOST_GROUPS
    for number in range(int(group.max()) + 1):
        others = given[group != number]
        if len(others) >= FEWEST // 2:
            left_out.append(_gaussian(others).distance(given[group == number]))
    whole = _gaussian(given)
    distances = np.concatenate(left_out) if left_out else whole.distance(given)
    return replace(whole, bound=float(np.quantile(distances, 1 - share)))


def _gaussian(features: Floats) -> OodDetector:
    """Fit a Gaussian to features (N, D), without a bound."""
    number, width = features.shape
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)  # a dimension in which the photographs agree is measured as it is
    standard = (features - mean) / scale
    # Of the features' covariance, which is much smaller than the features; largest first.
    values, columns = np.linalg.eigh(standard.T @ standard / number)
    variances, rows = np.maximum(values[::-1], 0), np.ascontiguousarray(columns.T[::-1])
    kept = max(1, min(_DIRECTIONS, number // _PER_DIRECTION, width - 1))
    # Of the spread in all other directions; a floor, since two photographs that agree in a direction do not make the third a stranger.
    rest = max(float(variances[kept:].sum()) / max(width - kept, 1), 1e-3)
    return OodDetector(mean, scale, rows[:kept], np.maximum(variances[:kept], rest), rest, np.inf)
