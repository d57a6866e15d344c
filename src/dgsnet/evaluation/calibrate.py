"""Calibration of a model folder: score data, fit to the predictions (`dgsnet.evaluation.calibration_fit`), record what that does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.artifacts import fingerprint, model_folder
from dgsnet.artifacts.calibration import Bands, Calibration, OperatingPoint
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.core.errors import CalibrationError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import direction
from dgsnet.evaluation.calibration_fit import OTHER_POINTS, TARGET_FNR, TARGET_FPR, Floats, Labels, Method, checked, fit, thresholds
from dgsnet.evaluation.predictions import predict, read_predictions
from dgsnet.evaluation.reliability import Reliability
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector


def predict_uncalibrated(
    folder: Path,
    dataset: Dataset,
    *,
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
    detector = Detector.from_pretrained(folder, device=device, provider=provider, threads=threads).uncalibrated(folder)
    key = sha256_bytes(f"{detector.fingerprint} {dataset.fingerprint()} {__version__}".encode())[:16]
    return predict(detector, dataset, folder / "calibration" / key, progress)


def calibrate(
    folder: Path,
    predictions: Path,
    *,
    method: Method = "platt",
    target_fpr: float = TARGET_FPR,
    target_fnr: float = TARGET_FNR,
    split: str | None = None,
    every_source: bool = False,
    out_of_fold: bool = False,
    resamples: int = 1000,
) -> Calibration:
    """Calibrate the model in `folder` on its predictions: write `config.json` and the card.

    Logits do not depend on an earlier calibration, so calibrating again on the same predictions writes the same bytes again. The card shows
    the diagram that `dgsnet.reports.reliability_diagram` draws.

    Args:
        folder: model folder.
        predictions: a predictions file of this model with columns `label`, `logit`, and, where known, `source` and `split`.
        method: see `fit`.
        target_fpr, target_fnr: see `thresholds`.
        split: only rows of this split.
        every_source: hold `target_fpr` for the photographs of each source, not only for all together.
        out_of_fold: the predictions are not this model's but those of models trained as it was, on other images than they scored. So a
            model that was trained on all there is can be calibrated on sources and generators that its like never saw (cross-fitting).
            Where these say their source, all sources of a class weigh the same, in the fit and for the thresholds.
        resamples: of the bootstrap.

    Raises:
        CalibrationError: the predictions are of another model (and it was not said that they are), lack a class or a column, or do not
            permit a fit.
        ModelFolderError: `folder` holds no model.
        DatasetError: the predictions cannot be read.
    """
    config = model_folder.load_config(folder)
    identity = _checked_identity(folder, predictions, None if out_of_fold else config.calibration)
    logits, labels, sources = _columns(predictions, split)
    equal = sources if out_of_fold else None
    reverse = direction.of_logits(labels, logits, resamples)
    try:
        fitted = fit(logits, labels, method, equal)
    except CalibrationError as error:
        raise CalibrationError(f"{predictions}: {reverse}") if reverse else error from error
    before, after = _reliabilities(fitted, logits, labels, resamples)
    by_source = sources if every_source and sources else None
    found = thresholds(after.scores, labels, target_fpr=target_fpr, target_fnr=target_fnr, sources=by_source, equal_sources=equal)
    points: dict[OperatingPoint, Bands] = {}
    for point, (fpr, fnr) in OTHER_POINTS.items():
        targets = {"target_fpr": min(fpr * target_fpr, 0.99), "target_fnr": min(fnr * target_fnr, 0.99)}
        other = thresholds(after.scores, labels, **targets, sources=by_source, equal_sources=equal)
        points[point] = Bands(real=other.real, generated=other.generated, **targets)
    calibration = fitted.model_copy(update={"real": found.real, "generated": found.generated, "points": points})
    warnings = [*([reverse] if reverse else []), *found.warnings]
    if out_of_fold:
        warnings.append("fitted to scores of stand-ins: models trained as this one was, on other images than those they scored")
    if Fingerprint.parse(identity["model"]).backbone_build:
        warnings.append("fitted to scores of another build of the backbone than the model was trained on")
    if identity["data"] == config.data.get("fingerprint") and not out_of_fold:
        warnings.insert(0, "the model was trained on these very images: its scores of others are less certain than this calibration says")
    facts = record(before, after, calibration, sources) | {
        "method": method,
        "target_fpr": target_fpr,
        "target_fnr": target_fnr,
        "every_source": every_source,
        "stand_ins": out_of_fold,
        "equal_sources": equal is not None,
        "split": split,
        "data": identity["data"],
        "model": identity["model"],
        "warnings": warnings,
        "dgsnet": __version__,
    }
    calibration = calibration.model_copy(update={"fitted": facts})
    model_folder.recalibrate(folder, calibration)
    return calibration


def reliabilities(calibration: Calibration, predictions: Path) -> tuple[Reliability, Reliability]:
    """Return how reliable scores are on the predictions a calibration was fitted to: with the plain sigmoid of the logit, and calibrated.

    Raises:
        CalibrationError: the calibration was not fitted.
        DatasetError: the predictions cannot be read.
    """
    if calibration.fitted is None:
        raise CalibrationError("expected a calibration that was fitted, but this one was set by hand")
    logits, labels, _ = _columns(predictions, calibration.fitted["split"])
    return _reliabilities(calibration, logits, labels, calibration.fitted["resamples"])


def _reliabilities(calibration: Calibration, logits: Floats, labels: Labels, resamples: int) -> tuple[Reliability, Reliability]:
    before, after = (
        Reliability(labels, np.array([one.score(logit) for logit in logits.tolist()]), resamples) for one in (Calibration(), calibration)
    )
    return before, after


def record(before: Reliability, after: Reliability, calibration: Calibration, sources: Sequence[str] | None) -> dict[str, Any]:
    """Describe what a calibration does to the data it was fitted on, for `Calibration.fitted`.

    `n_real`, `n_fake`: images of each class. `before`, `after`: `ece` and `log_loss` with intervals (`Reliability.figures`), of the plain
    sigmoid and of the calibrated score, measured on the data of the fit, which flatters a fit of two numbers a little. `shares`: of each
    class the share of each verdict, and `fpr_by_source`, of each source of photographs how many and the share called `ai-generated`.
    `points`: of each operating point the shares of each class.
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
    points: tuple[OperatingPoint, ...] = ("cautious", "balanced", "sensitive") if calibration.points else ("balanced",)
    by_point = {point: _shares(calibration.at(point), after) for point in points}
    return {
        "n_real": int((labels == 0).sum()),
        "n_fake": int((labels == 1).sum()),
        "resamples": after.resamples,
        "before": {name: figure.as_dict() for name, figure in before.figures().items()},
        "after": {name: figure.as_dict() for name, figure in after.figures().items()},
        "shares": by_point["balanced"] | {"fpr_by_source": by_source},
        "points": by_point,
    }


def _shares(calibration: Calibration, given: Reliability) -> dict[str, dict[str, float]]:
    """Return of each class, ``real`` and ``fake``, the share of each verdict."""
    verdicts = np.array([calibration.verdict(score) for score in given.scores.tolist()])
    return {
        word: {said: float(np.mean(verdicts[given.labels == label] == said)) for said in ("ai-generated", "inconclusive", "real")}
        for label, word in ((0, "real"), (1, "fake"))
    }


def _columns(predictions: Path, split: str | None) -> tuple[Floats, Labels, list[str] | None]:
    """Return logits, labels, and sources where photographs have some, of the rows that were scored."""
    table = read_predictions(predictions)
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
        logits, labels = checked([row["logit"] for row in rows], [row["label"] for row in rows])
    except CalibrationError as error:
        raise CalibrationError(f"{predictions}: {error}") from error
    sources = [str(row.get("source") or "unknown") for row in rows]
    named = {source for source, label in zip(sources, labels, strict=True) if label == 0} - {"unknown"}
    return logits, labels, sources if named else None


def _checked_identity(folder: Path, predictions: Path, calibration: Calibration | None) -> dict[str, str]:
    """Return the identity in a predictions file. It is refused unless it is of this model, whichever build of its backbone it ran on, or,
    with no calibration given, of any."""
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
            "with `dgsnet evaluate` or by giving --data instead of --predictions (or say --out-of-fold if another model is to speak for it)"
        )
    return identity
