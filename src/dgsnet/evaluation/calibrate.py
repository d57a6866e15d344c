"""From predictions to a calibration: what makes of a logit a probability, and of a probability a verdict.

Four choices, all of them visible in what a model folder then says of itself:

- *Equal priors.* The score answers "photograph or generated, if both are equally likely beforehand?". Both classes weigh the same in the
  fit, however many there are of each. The share of generated images where a detector is used is unknown; that of the calibration data is
  how somebody put it together.
- *Equal sources*, for stand-ins: an image to come is of a source that nobody has seen, so a source is one draw, and all of a class weigh
  the same, in the fit and for the thresholds. Otherwise the calibration would be that of the largest collections.
- *Smoothed targets* (Platt, 1999): n+ generated images are fitted to (n+ + 1) / (n+ + 2) instead of 1, n- photographs to 1 / (n- + 2)
  instead of 0. Otherwise data that a threshold separates would ask for an infinite slope: certainty from a handful of images.
- *Thresholds* bound the share of errors among images to come, not only among those at hand (with equal sources: the mean of the sources at
  hand), and a verdict never contradicts its score: `real` <= 0.5 <= `generated`.

Fitting changes no ranking, so AUROC and AP stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.progress import Progress
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from dgsnet import __version__
from dgsnet.artifacts import fingerprint, model_folder, names
from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.core.errors import CalibrationError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import evaluate, reliability
from dgsnet.evaluation.reliability import Reliability
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector

Method = Literal["platt", "temperature"]

TARGET_FPR = 0.02
"""Share of photographs that may be called `ai-generated`."""

TARGET_FNR = 0.05
"""Share of generated images that may be called `real`. More than `TARGET_FPR`, since a missed image accuses nobody; not much more, or the
verdict `real` would be worth little: what is left is `inconclusive`."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def fit(logits: ArrayLike, labels: ArrayLike, method: Method = "platt", sources: Sequence[str] | None = None) -> Calibration:
    """Temperature and offset that make sigmoid((logit - offset) / temperature) a probability at equal priors; thresholds stay 0.5.

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
    x, y = _checked(logits, labels)
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
    """(N,), the sum of a class 0.5: of each of its units (images, or sources) the same share."""
    weights = np.zeros(len(y))
    for label in (0, 1):
        _, unit, count = np.unique(units[y == label], return_inverse=True, return_counts=True)
        weights[y == label] = 0.5 / len(count) / count[unit]
    return weights


def _platt(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and constant of the logistic regression of targets 0..1 (N,) on x (N,); a soft target is both labels, weighted by it."""
    soft = np.concatenate([weights * targets, weights * (1 - targets)])
    twice = np.concatenate([x, x])[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    model.fit(twice, np.repeat([1, 0], len(x)), sample_weight=soft * len(x))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _temperature(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """The slope alone, by bounded search over its logarithm; x (N,) of root mean square 1, so that the best slope is of the order of 1."""

    def loss(log_slope: float) -> float:
        z = math.exp(log_slope) * x
        return float(weights @ (np.logaddexp(0, z) - targets * z))

    found = minimize_scalar(loss, bounds=(math.log(1e-6), math.log(1e4)), method="bounded", options={"xatol": 1e-10, "maxiter": 1000})
    return math.exp(float(found.x)), 0.0


@dataclass(frozen=True)
class Thresholds:
    """Where verdicts change, and what a user should know of how they were found."""

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
    """Thresholds of the verdicts `ai-generated` and `real`.

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
    s, y = _checked(scores, labels)
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
    """Of n values in rising order, which one is the bound: 1..n, those before it are the errors; 0 where n is too few for the target.

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


def predict(
    folder: Path,
    dataset: Dataset,
    *,
    backbone: str | None = None,
    device: str = "cpu",
    provider: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Score a data set for calibration, into the model folder below `calibration/`; what runs the model as in `Detector.from_pretrained`.

    The predictions are of the model without its calibration, so that they serve again when it changes. Each data set has its own folder;
    what is there is reused, what was interrupted is gone on with.

    Raises:
        ModelFolderError, WeightsError, DgsnetError: as `Detector.from_pretrained`.
    """
    detector = Detector.from_pretrained(folder, backbone=backbone, device=device, provider=provider, threads=threads).uncalibrated(folder)
    key = sha256_bytes(f"{detector.fingerprint} {dataset.fingerprint()} {__version__}".encode())[:16]
    return evaluate.predict(detector, dataset, folder / "calibration" / key, progress)


def calibrate(
    folder: Path,
    predictions: Path,
    *,
    method: Method = "platt",
    target_fpr: float = TARGET_FPR,
    target_fnr: float = TARGET_FNR,
    split: str | None = None,
    every_source: bool = False,
    stand_ins: bool = False,
    resamples: int = 1000,
) -> Calibration:
    """Calibrate the model in `folder` on its predictions: write `config.json`, the card and the reliability diagram.

    Logits do not depend on an earlier calibration, so calibrating again on the same predictions writes the same bytes again.

    Args:
        folder: model folder.
        predictions: a predictions file of this model with columns `label`, `logit`, and, where known, `source` and `split`.
        method: see `fit`.
        target_fpr: see `thresholds`.
        target_fnr: see `thresholds`.
        split: only rows of this split.
        every_source: hold `target_fpr` for the photographs of each source, not only for all together.
        stand_ins: the predictions are not this model's but those of models trained as it was, on other images than they scored. So a model
            that was trained on all there is can be calibrated on sources and generators that its like never saw (cross-fitting). Where
            these say their source, all sources of a class weigh the same, in the fit and for the thresholds.
        resamples: of the bootstrap.

    Raises:
        CalibrationError: the predictions are of another model (and it was not said that they are), lack a class or a column, or do not
            permit a fit.
        ModelFolderError: `folder` holds no model.
        DatasetError: the predictions cannot be read.
    """
    config = model_folder.load_config(folder)
    identity = _checked_identity(folder, predictions, None if stand_ins else config.calibration)
    logits, labels, sources = _columns(predictions, split)
    equal = sources if stand_ins else None
    fitted = fit(logits, labels, method, equal)
    before, after = (
        Reliability(labels, np.array([one.score(logit) for logit in logits.tolist()]), resamples) for one in (Calibration(), fitted)
    )
    found = thresholds(
        after.scores,
        labels,
        target_fpr=target_fpr,
        target_fnr=target_fnr,
        sources=sources if every_source and sources else None,
        equal_sources=equal,
    )
    calibration = fitted.model_copy(update={"real": found.real, "generated": found.generated})
    warnings = list(found.warnings)
    if stand_ins:
        warnings.append("fitted to scores of stand-ins: models trained as this one was, on other images than those they scored")
    if Fingerprint.parse(identity["model"]).backbone_build:
        warnings.append("fitted to scores of another build of the backbone than the model was trained on")
    if identity["data"] == config.data.get("fingerprint") and not stand_ins:
        warnings.insert(0, "the model was trained on these very images: its scores of others are less certain than this calibration says")
    facts = record(before, after, calibration, sources) | {
        "method": method,
        "target_fpr": target_fpr,
        "target_fnr": target_fnr,
        "every_source": every_source,
        "stand_ins": stand_ins,
        "equal_sources": equal is not None,
        "split": split,
        "data": identity["data"],
        "model": identity["model"],
        "warnings": warnings,
        "dgsnet": __version__,
    }
    calibration = calibration.model_copy(update={"fitted": facts})
    reliability.draw(folder / names.DIAGRAM, before, after, calibration.real, calibration.generated)
    model_folder.recalibrate(folder, calibration)
    return calibration


def record(before: Reliability, after: Reliability, calibration: Calibration, sources: Sequence[str] | None) -> dict[str, Any]:
    """What a calibration does to the data it was fitted on, for `Calibration.fitted`.

    `n_real`, `n_fake`: images of each class. `before`, `after`: `ece` and `log_loss` with intervals (`Reliability.figures`), of the plain
    sigmoid and of the calibrated score, measured on the data of the fit, which flatters a fit of two numbers a little. `shares`: of each
    class the share of each verdict, and `fpr_by_source`, of each source of photographs how many and the share called `ai-generated`.
    """
    labels = after.labels
    verdicts = np.array([calibration.verdict(score) for score in after.scores.tolist()])
    by_source = {}
    if sources is not None:
        photographs = np.array(sources)[labels == 0]
        by_source = {
            str(name): {
                "n": int((photographs == name).sum()),
                "fpr": float(np.mean(verdicts[labels == 0][photographs == name] == "ai-generated")),
            }
            for name in np.unique(photographs)
        }
    shares = {
        word: {said: float(np.mean(verdicts[labels == label] == said)) for said in ("ai-generated", "inconclusive", "real")}
        for label, word in ((0, "real"), (1, "fake"))
    }
    return {
        "n_real": int((labels == 0).sum()),
        "n_fake": int((labels == 1).sum()),
        "resamples": after.resamples,
        "before": {name: asdict(figure) for name, figure in before.figures().items()},
        "after": {name: asdict(figure) for name, figure in after.figures().items()},
        "shares": shares | {"fpr_by_source": by_source},
    }


def _checked(values: ArrayLike, labels: ArrayLike) -> tuple[Floats, Labels]:
    """Values and labels as arrays (N,), both classes there."""
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


def _columns(predictions: Path, split: str | None) -> tuple[Floats, Labels, list[str] | None]:
    """Logits, labels, and sources where photographs have some, of the rows that were scored."""
    table = evaluate.read_predictions(predictions)
    needed = {"logit"} | ({"split"} if split is not None else set())
    missing = needed - set(table.column_names)
    if missing:
        raise CalibrationError(f"{predictions} lacks the column {', '.join(sorted(missing))}, which calibration needs")
    rows = [row for row in table.to_pylist() if row["logit"] is not None and row["label"] is not None]
    if split is not None:
        known = sorted({str(row["split"]) for row in rows if row["split"]})
        rows = [row for row in rows if row["split"] == split]
        if not rows:
            raise CalibrationError(f"{predictions} has no image of split {split!r}: it has {', '.join(known) or 'no splits'}")
    if not rows:
        raise CalibrationError(f"{predictions} has no image with both a logit and a label")
    try:
        logits, labels = _checked([row["logit"] for row in rows], [row["label"] for row in rows])
    except CalibrationError as error:
        raise CalibrationError(f"{predictions}: {error}") from error
    sources = [str(row.get("source") or "unknown") for row in rows]
    named = {source for source, label in zip(sources, labels, strict=True) if label == 0} - {"unknown"}
    return logits, labels, sources if named else None


def _checked_identity(folder: Path, predictions: Path, calibration: Calibration | None) -> dict[str, str]:
    """What a predictions file says it is of; refused unless that is this model, whichever build of its backbone it ran on, or, with no
    calibration given, any."""
    identity = resumable_parquet.read_identity(predictions)
    if not {"model", "data"} <= identity.keys():
        raise CalibrationError(f"{predictions} does not say of which model and data it is: score the data with `dgsnet evaluate`")
    if "perturbations" in identity:
        raise CalibrationError(f"{predictions} holds several rows an image, of perturbed copies: give predictions of `dgsnet evaluate`")
    if calibration is None:
        return identity
    # The last calibration changed the fingerprint; what it was fitted on is of this model all the same.
    before = {Fingerprint.parse(str(calibration.fitted["model"])).model} if calibration.fitted else set()
    known = {fingerprint.of_model_folder(folder).model, model_folder.fingerprint_of_logits(folder).model, *before}
    if Fingerprint.parse(identity["model"]).model not in known:
        raise CalibrationError(
            f"{predictions} was not made with the model in {folder} as it is now: score the data again, "
            "with `dgsnet evaluate` or by giving --data instead of --predictions (or say --stand-ins if another model is to speak for it)"
        )
    return identity
