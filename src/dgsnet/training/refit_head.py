"""Refit the head of a trained model: the closed-form probe on the fine-tuned tower's features, minutes instead of an hour.

Fine-tuning teaches the tower to see traces; the head that was trained along with it saw each image once or twice. The head found here sees
all images at once (`dgsnet.model.ridge`), and they need not be those the tower was trained on: so a model learns a new generator.

It is calibrated on out-of-fold logits: the head is fitted again without each fold of photo sources and generators, and scores those. The
tower may have seen them in training, so on new sources the score is still less sure than it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.ood_file import save_ood
from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import TrainingError
from dgsnet.core.files import replacing_folder
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import calibrate, direction
from dgsnet.evaluation.calibration_fit import TARGET_FNR, TARGET_FPR
from dgsnet.evaluation.predictions import PREDICTION_SCHEMA, PREDICTIONS, prediction
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import Verdict
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.methods import Method
from dgsnet.model.mlp_head import Compression, MlpFit, Singles
from dgsnet.model.ood import fit as ood_fit
from dgsnet.model.recipe import HeadRecipe
from dgsnet.model.ridge import fit_head, ridge_probe
from dgsnet.training.extract_features import extract_features

PENALTY = 0.01
"""Penalty of a linear head's ridge, in units of the features' variance."""

FOLDS = 5
"""Folds of the photo sources and the generators, at most."""

Features = NDArray[np.float32] | NDArray[np.float64]


Logits = Callable[[Features], NDArray[np.float64]]
"""A fitted head: features (M, D) -> logits (M,)."""

Fit = Callable[[Features, NDArray[np.int64]], Logits]
"""Fits a head to features (N, D) and labels (N,)."""


@dataclass(frozen=True)
class Targets:
    """Shares of photographs that may be called `ai-generated`, and of generated images that may be called `real`."""

    fpr: float = TARGET_FPR
    fnr: float = TARGET_FNR


DEFAULT_TARGETS = Targets()

LEFT_OUT = "left_out"
"""Folder in the model folder: out-of-fold predictions, by heads that saw nothing of an image's source or generator."""


@dataclass(frozen=True)
class HeadFit:
    """How a head is fitted: its kind, and the penalty of its ridge if it is linear."""

    head: HeadRecipe
    penalty: float
    joint_width: int
    """J, numbers of a feature that are the embedding; and of each token behind it:"""
    token_width: int

    @classmethod
    def of(cls, method: Method, head: HeadRecipe, penalty: float) -> HeadFit:
        """Return the fit of a head for a method."""
        return cls(head, penalty, method.backbone.joint_width, method.backbone.block_width)

    def __call__(self, features: Features, labels: NDArray[np.int64]) -> Logits:
        """Fit a head to features (N, D) and labels (N,); return what computes the logits (M,) of other features (M, D)."""
        if self.head.kind == "linear":
            weight, bias = ridge_probe(features.astype(np.float64), labels, self.penalty)
            return lambda others: others.astype(np.float64) @ weight + bias
        compression, fitted, _ = self._mlp(features, labels)
        return lambda others: fitted(compression(_singles(others)))

    def _mlp(self, features: Features, labels: NDArray[np.int64]) -> tuple[Compression, MlpFit, Singles]:
        given = _singles(features)
        compression = Compression.fit(given, self.joint_width, self.token_width, self.head.mlp.directions)
        compressed = compression(given)
        return compression, MlpFit.fit(compressed, labels, self.head.mlp), compressed

    def give(self, method: Method, features: Features, labels: NDArray[np.int64]) -> Features:
        """Give a method the head; return what the head reads of each image, (N, P)."""
        method.refit(self.head)
        if method.mlp is None:
            fit_head(method.detecting_head, features.astype(np.float64), labels, self.penalty)
            return features
        compression, fitted, compressed = self._mlp(features, labels)
        method.mlp.take(compression, fitted)
        return compressed


def _singles(features: Features) -> Singles:
    return np.asarray(features, np.float32)


def refit(
    detector: Detector,
    dataset: Dataset,
    out: Path,
    progress: Progress,
    penalty: float = PENALTY,
    head: HeadRecipe | None = None,
    journeys: int = 0,
) -> tuple[str, ...]:
    """Write `out`, the model with a new head; `detector` has it from then on.

    Where the head that is replaced ranks these images in reverse, `data["refitted"]["warnings"]` of the new configuration says so: labels
    the wrong way round are learnt like any others. The model is calibrated on photo sources and generators left out, in folds, where there
    are at least two of either; else it has no calibration, since the old one was the old head's.

    The tower's features are kept in the cache, so that an interrupted call goes on where it stopped. The model is written beside
    `out` and renamed when it is whole.

    Args:
        detector: the model.
        dataset: labelled images.
        out: a folder, new or empty.
        progress: shows how far it is.
        penalty: of the ridge of a linear head.
        head: kind and size; None: as the model's own.
        journeys: travelled copies of each image (`dgsnet.images.journeys`) that the head is fitted and calibrated to as well.

    Returns:
        The reason for each image that was left out.

    Raises:
        TrainingError: `out` is not empty, a label is missing, or the penalty is not above 0.
        CalibrationError: sources left out are ranked in reverse; then nothing is written.
    """
    fit = _fit_for(detector, head, penalty)
    _check(out, fit.penalty)
    _counts(dataset)
    cache = FeatureCache(cache_dir() / "features" / "images.sqlite", f"features of {detector.fingerprint}")
    found = extract_features(detector.method, dataset, "images", progress, cache, journeys)
    refit_to(detector, replace(dataset, samples=found.samples), found.features, out, fit.penalty, fit.head)
    return found.failed


def refit_to(
    detector: Detector,
    dataset: Dataset,
    features: Features,
    out: Path,
    penalty: float = PENALTY,
    head: HeadRecipe | None = None,
    targets: Targets = DEFAULT_TARGETS,
) -> None:
    """Write `out`, the model with a head fitted to features (N, D) that are known already (`Method.detecting_features`).

    The rest is as in `refit`; `targets` are the shares of errors that its verdicts may make.
    """
    fit = _fit_for(detector, head, penalty)
    _check(out, fit.penalty)
    counts = _counts(dataset)
    method, before = detector.method, detector.config
    reverse = direction.of_logits(dataset.labels(), _logits(method, features))
    read = fit.give(method, features, dataset.labels())
    photographs = [at for at, sample in enumerate(dataset) if sample.label == 0]
    ood = ood_fit(read[photographs], [dataset.samples[at].source for at in photographs])
    data: dict[str, Any] = {"fingerprint": dataset.fingerprint(), "n_real": counts[0], "n_fake": counts[1], "layout": dataset.layout}
    tower = before.data.get("refitted", {}).get("tower", before.data)
    refitted: dict[str, Any] = {"penalty": fit.penalty, "head": fit.head.kind, "model": detector.fingerprint, "tower": tower}
    record = {name: getattr(before, name) for name in ("backbone", "captions", "versions")}
    if reverse:
        refitted["warnings"] = [f"before the refit {reverse}"]
    identity = {"model": f"{detector.fingerprint} refitted", "data": data["fingerprint"], "dgsnet": __version__}
    with replacing_folder(out) as folder:
        if ood is not None:
            save_ood(folder, ood)
        model_folder.save(folder, method, record | {"data": data | {"refitted": refitted}})
        logits = out_of_fold_logits(features, dataset, fit)
        if logits is not None:
            file = folder / LEFT_OUT / PREDICTIONS
            resumable_parquet.write(file, identity, PREDICTION_SCHEMA, lambda done: _rows(dataset, logits, done), len(logits))
            calibrate.calibrate(folder, file, out_of_fold=True, target_fpr=targets.fpr, target_fnr=targets.fnr)
        _check(out, fit.penalty)  # once more: what somebody wrote there meanwhile is not replaced


def _fit_for(detector: Detector, head: HeadRecipe | None, penalty: float) -> HeadFit:
    chosen = head or detector.method.recipe.refitted
    return HeadFit.of(detector.method, chosen, penalty)


@torch.no_grad()
def _logits(method: Method, features: Features) -> NDArray[np.float64]:
    """Return the logits (N,) of features (N, D) by the head as it is."""
    given = torch.from_numpy(_singles(features)).to(method.detecting_head.weight.device)
    read = given if method.mlp is None else method.mlp.compress(given)
    return np.asarray(method.logits(read).double().cpu().numpy())


def _check(out: Path, penalty: float) -> None:
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty: choose another folder")
    if penalty <= 0:
        raise TrainingError(f"expected a penalty above 0, but got {penalty:g}")


def out_of_fold_logits(
    features: Features, dataset: Dataset, fit: Fit, taught: NDArray[np.bool_] | None = None
) -> NDArray[np.float64] | None:
    """Return each image's logit by a head that saw nothing of its source or generator, (N,); None where a label has fewer than two of them.

    A fold is every k-th source of photographs and every k-th `generator` of generated images, by name. Samples of several sources may name
    one generator: then these are left out together, as the next generator will have no relatives in the training data either. What shares a
    source with the fold, of either label, is kept from its head as well.

    Args:
        features: (N, D).
        dataset: N labelled samples.
        fit: makes a head of features and labels, such as a `HeadFit`.
        taught: (N,), the images that heads learn from; all are scored. None: all.
    """
    labels, sources = dataset.labels(), np.array([sample.source for sample in dataset])
    origins = np.array([sample.generator if sample.label else sample.source for sample in dataset])
    names = [sorted(set(origins[labels == label])) for label in (0, 1)]
    count = min(FOLDS, *map(len, names))
    if count < 2:
        return None
    logits = np.full(len(labels), np.nan)
    for fold in range(count):
        held_out = np.logical_or.reduce([(labels == label) & np.isin(origins, names[label][fold::count]) for label in (0, 1)])
        kept = ~held_out & ~np.isin(sources, sources[held_out])
        if taught is not None:
            kept &= taught
        if len(set(labels[kept])) < 2:  # sources that both labels share
            return None
        logits[held_out] = fit(features[kept], labels[kept])(features[held_out])
    return logits


def _rows(dataset: Dataset, logits: NDArray[np.float64], done: int) -> Iterator[dict[str, Any]]:
    uncalibrated = Calibration()
    for sample, logit in list(zip(dataset, logits.tolist(), strict=True))[done:]:
        yield prediction(sample, Verdict(sample.path, score=uncalibrated.score(logit), logit=logit))


def _counts(dataset: Dataset) -> tuple[int, int]:
    labels = dataset.labels()
    counts = int((labels == 0).sum()), int((labels == 1).sum())
    if min(counts) == 0:
        raise TrainingError(f"{dataset.root} has {counts[0]} photographs and {counts[1]} generated images that can be read: it needs both")
    return counts
