"""The mathematics of a calibration: what makes of a logit a probability, and of a probability a verdict.

Four choices, all of them visible in what a model folder then says of itself:

- *Equal priors.* The score answers "photograph or generated, if both are equally likely beforehand?". Both classes weigh the same in the
  fit, however many there are of each. The share of generated images where a detector is used is unknown; that of the calibration data is
  how somebody put it together.
- *Equal sources*, for out-of-fold predictions: an image to come is of a source that nobody has seen, so a source is one draw, and all of a
  class weigh the same, in the fit and for the thresholds. Otherwise the calibration would be that of the largest collections.
- *Smoothed targets* (Platt, 1999): n+ generated images are fitted to (n+ + 1) / (n+ + 2) instead of 1, n- photographs to 1 / (n- + 2)
  instead of 0. Otherwise data that a threshold separates would ask for an infinite slope: certainty from a handful of images.
- *Thresholds* bound the share of errors among images to come, not only among those at hand (with equal sources: the mean of the sources at
  hand), and a verdict never contradicts its score: `real` <= 0.5 <= `generated`.

Fitting changes no ranking, so AUROC and AP stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from dgsnet.artifacts.calibration import Calibration, OperatingPoint
from dgsnet.core.errors import CalibrationError

Method = Literal["platt", "temperature"]

TARGET_FPR = 0.02
"""Share of photographs that may be called `ai-generated`."""

TARGET_FNR = 0.05
"""Share of generated images that may be called `real`. More than `TARGET_FPR`, since a missed image accuses nobody; not much more, or the
verdict `real` would be worth little: what is left is `inconclusive`."""

OTHER_POINTS: dict[OperatingPoint, tuple[float, float]] = {"cautious": (1 / 3, 0.5), "sensitive": (2.0, 1.0)}
"""Operating points beside `balanced`: what `target_fpr` and `target_fnr` are multiplied by."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def fit(logits: ArrayLike, labels: ArrayLike, method: Method = "platt", sources: Sequence[str] | None = None) -> Calibration:
    """Fit temperature and offset that make sigmoid((logit - offset) / temperature) a probability at equal priors; thresholds stay 0.5.

    `platt` fits both by logistic regression on the logit; `temperature` keeps the offset at 0, so that the side of 0.5 an image is on
    stays as it was. Both minimise the cross entropy to smoothed targets, each class weighing the same.

    Args:
        logits: (N,), finite.
        labels: (N,), 0 photograph, 1 generated.
        method: ``platt`` or ``temperature``.
        sources: (N,); the sources of a class then weigh the same, whatever images there are of each. None: the images do.

    Raises:
        CalibrationError: a class is missing, a logit is not finite, or larger logits do not go with generated images.
    """
    x, y = checked(logits, labels)
    n_real, n_fake = int((y == 0).sum()), int((y == 1).sum())
    targets = np.where(y == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    weights = _weights(y, np.arange(len(y)) if sources is None else np.array([str(name) for name in sources]))
    # The sign of this is the sign of the slope that either fit would give: the loss is convex, and its derivative by the slope, where the
    # slope is 0, is minus this (with the constant that is best there, or none).
    centre = float(weights @ x) if method == "platt" else 0.0
    middle = float(weights @ targets) if method == "platt" else 0.5
    scale = math.sqrt(float(weights @ (x - centre) ** 2))
    if float((weights * (targets - middle)) @ (x - centre)) <= 1e-12 * scale:
        raise CalibrationError(
            "the model ranks in reverse on this data, or does not rank at all: its logits are not higher for the "
            f"{n_fake} generated images than for the {n_real} photographs. Check that labels are 0 real, 1 generated; "
            "if they are, this model does not suit this data, and no calibration makes up for it"
        )
    unit = (x - centre) / scale  # logits of any size are the same problem to the solvers
    slope, constant = (_platt if method == "platt" else _temperature)(unit, targets, weights)
    return Calibration(temperature=scale / slope, offset=centre - scale * constant / slope)


def _weights(y: Labels, units: NDArray[Any]) -> Floats:
    """Return weights (N,) whose sum in a class is 0.5, each of its units (images, or sources) having the same share."""
    weights = np.zeros(len(y))
    for label in (0, 1):
        _, unit, count = np.unique(units[y == label], return_inverse=True, return_counts=True)
        weights[y == label] = 0.5 / len(count) / count[unit]
    return weights


def _platt(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Fit slope and constant of the logistic regression of targets 0..1 (N,) on x (N,); a soft target is both labels, weighted by it."""
    soft = np.concatenate([weights * targets, weights * (1 - targets)])
    twice = np.concatenate([x, x])[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    model.fit(twice, np.repeat([1, 0], len(x)), sample_weight=soft * len(x))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _temperature(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Fit the slope alone, by bounded search over its logarithm; x (N,) of root mean square 1, so that the best slope is near 1."""

    def loss(log_slope: float) -> float:
        z = math.exp(log_slope) * x
        return float(weights @ (np.logaddexp(0, z) - targets * z))

    found = minimize_scalar(loss, bounds=(math.log(1e-6), math.log(1e4)), method="bounded", options={"xatol": 1e-10, "maxiter": 1000})
    return math.exp(float(found.x)), 0.0


@dataclass(frozen=True)
class Thresholds:
    """Scores at which verdicts change, and what a user should know about how they were found."""

    real: float
    generated: float
    warnings: tuple[str, ...] = ()


def thresholds(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    target_fpr: float = TARGET_FPR,
    target_fnr: float = TARGET_FNR,
    sources: Sequence[str] | None = None,
    equal_sources: Sequence[str] | None = None,
) -> Thresholds:
    """Choose thresholds of the verdicts `ai-generated` and `real`.

    `generated` is just above the k-th highest score of n photographs, k = floor(target_fpr * (n + 1)). At most k - 1 of them reach it, and
    a further photograph of the same kind does with a probability of at most k / (n + 1) <= `target_fpr`, taken over the choice of the n:
    its rank among n + 1 is uniform (split conformal prediction). `real` is the m-th lowest score of n generated images,
    m = floor(target_fnr * (n + 1)), by the same rule from below. Then `generated` is at least and `real` at most 0.5, which makes neither
    error more frequent. Where k or m is 0, images are too few for the target: the highest (lowest) score bounds, with a warning.

    Args:
        scores: (N,), 0..1.
        labels: (N,), 0 photograph, 1 generated.
        target_fpr: share of photographs that may be called `ai-generated`, between 0 and 1.
        target_fnr: share of generated images that may be called `real`, between 0 and 1.
        sources: (N,); `generated` then holds for the photographs of each source by itself as well as for all together. What it says of
            generated images is not read.
        equal_sources: (N,); a share is then averaged over the sources of a class, each of which weighs the same, and the target bounds it
            among those at hand. Nothing is set aside for a further source: at 0.02, one source in fifty would be all there is to spend.

    Raises:
        CalibrationError: a class is missing, a target is out of range, or so many photographs score 1 that no threshold is above them.
    """
    s, y = checked(scores, labels)
    for name, target in (("target_fpr", target_fpr), ("target_fnr", target_fnr)):
        if not 0 < target < 1:
            raise CalibrationError(f"expected a {name} between 0 and 1, but got {target}")
    photographs, fakes = s[y == 0], s[y == 1]
    named = None if equal_sources is None else np.array([str(name) for name in equal_sources])
    pools = {"": (photographs, None if named is None else named[y == 0])}
    if sources is not None:
        names = np.array([str(name) for name in sources])[y == 0]
        pools |= {str(name): (photographs[names == name], None) for name in np.unique(names)}
    warnings, bounds = [], []
    for name, (pool, units) in pools.items():
        k = _place(-pool, units, target_fpr)
        if k == 0:
            warnings.append(_too_few(len(pool), f"photographs{f' from {name}' if name else ''}", target_fpr, "ai-generated"))
        bounds.append(float(-np.sort(-pool)[max(k, 1) - 1]))
    bound = max(bounds)
    if bound >= 1:
        raise CalibrationError(
            f"more photographs score exactly 1 than a target_fpr of {target_fpr} allows: no threshold is above them. "
            "Use the method platt, or allow more"
        )
    m = _place(fakes, None if named is None else named[y == 1], target_fnr)
    if m == 0:
        warnings.append(_too_few(len(fakes), "generated images", target_fnr, "real"))
    lowest = float(np.sort(fakes)[max(m, 1) - 1])
    return Thresholds(min(lowest, 0.5), max(math.nextafter(bound, math.inf), 0.5), tuple(warnings))


def _place(values: Floats, units: NDArray[Any] | None, target: float) -> int:
    """Return which of n values in rising order is the bound: 1..n, those before it are the errors; 0 where n is too few for the target.

    floor(target * (n + 1)); with units (N,), the first at which the errors would be more than `target` of a unit, on average. Either is
    exact where `target` as a binary fraction is not (0.02 * 50 is 1).
    """
    if units is None:
        return min(math.floor(target * (len(values) + 1) + 1e-9), len(values))
    _, unit, count = np.unique(units, return_inverse=True, return_counts=True)
    share = np.cumsum((1 / len(count) / count[unit])[np.argsort(values, kind="stable")])
    errors = int(np.searchsorted(share, target + 1e-9, side="right"))
    return min(errors + 1, len(values)) if errors else 0


def _too_few(n: int, what: str, target: float, verdict: str) -> str:
    return (
        f"{n} {what} are too few to bound the share called {verdict} by {target:g}: expected at least {math.ceil(1 / target - 1e-9) - 1}; "
        f"none of these {n} is, but of further ones up to {1 / (n + 1):.1%} may be"
    )


def checked(values: ArrayLike, labels: ArrayLike) -> tuple[Floats, Labels]:
    """Return values and labels as arrays (N,).

    Raises:
        CalibrationError: shapes differ, a value is not finite, a label is neither 0 nor 1, or a class is missing.
    """
    x, given = np.asarray(values, dtype=np.float64), np.asarray(labels)
    if x.ndim != 1 or x.shape != given.shape:
        raise CalibrationError(f"expected one value and one label an image, but got shapes {x.shape} and {given.shape}")
    if not np.isfinite(x).all():
        raise CalibrationError(f"expected finite values, but {int((~np.isfinite(x)).sum())} of {len(x)} are not")
    if not np.isin(given, (0, 1)).all():
        raise CalibrationError("expected labels 0 (photograph) or 1 (generated), but got others")
    y = given.astype(np.int64)
    if len(np.unique(y)) < 2:
        raise CalibrationError(f"calibration needs photographs and generated images, but got {int((y == 0).sum())} and {int(y.sum())}")
    return x, y
