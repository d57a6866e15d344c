"""Refit the head of a trained model: the closed-form probe on the fine-tuned tower's features, minutes instead of an hour.

Fine-tuning teaches the tower to see traces; the head that was trained along with it saw each image once or twice. The head found here sees
all images at once (`dgsnet.model.methods.ridge`), and they need not be those the tower was trained on: so a model learns a new generator.

It is calibrated on out-of-fold logits: the head is fitted again without each fold of photo sources and generators, and scores those. The
tower may have seen them in training, so on new sources the score is still less sure than it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from dgsnet.evaluation.predictions import PREDICTION_SCHEMA, PREDICTIONS, prediction
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import Verdict
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.methods import Method
from dgsnet.model.methods.ridge import fit_head, ridge_probe
from dgsnet.model.ood import fit
from dgsnet.training.extract_features import extract_features

PENALTY = 0.01
"""Penalty of the ridge, in units of the features' variance."""

FOLDS = 5
"""Folds of the photo sources and the generators, at most."""

LEFT_OUT = "left_out"
"""Folder in the model folder: out-of-fold predictions, by heads that saw nothing of an image's source or generator."""


def refit(detector: Detector, dataset: Dataset, out: Path, progress: Progress, penalty: float = PENALTY) -> tuple[str, ...]:
    """Write `out`, the model with a new head; `detector` has it from then on.

    Where the head that is replaced ranks these images in reverse, `data["refitted"]["warnings"]` of the new configuration says so: labels
    the wrong way round are learnt like any others. The model is calibrated on photo sources and generators left out, in folds, where there
    are at least two of either; else it has no calibration, since the old one was the old head's.

    The tower's features are kept in the cache, so that an interrupted call goes on where it stopped. The model is written beside
    `out` and renamed when it is whole.

    Returns:
        The reason for each image that was left out.

    Raises:
        TrainingError: `out` is not empty, a label is missing, or the penalty is not above 0.
        CalibrationError: sources left out are ranked in reverse; then nothing is written.
    """
    _check(out, penalty)
    _counts(dataset)
    cache = FeatureCache(cache_dir() / "features" / "images.sqlite", f"read by {detector.fingerprint}")
    found = extract_features(detector.method, dataset, "images", progress, cache)
    refit_to(detector, replace(dataset, samples=found.samples), found.features.astype(np.float64), out, penalty)
    return found.failed


def refit_to(detector: Detector, dataset: Dataset, features: NDArray[np.float64], out: Path, penalty: float = PENALTY) -> None:
    """Write `out`, the model with a head fitted to features (N, D) that are known already (`Method.embed`); otherwise as `refit`."""
    _check(out, penalty)
    counts = _counts(dataset)
    method, before = detector.method, detector.config
    reverse = direction.of_logits(dataset.labels(), _logits(method, features))
    fit_head(method.detecting_head, features, dataset.labels(), penalty)
    photographs = [at for at, sample in enumerate(dataset) if sample.label == 0]
    ood = fit(features[photographs], [dataset.samples[at].source for at in photographs])
    data: dict[str, Any] = {"fingerprint": dataset.fingerprint(), "n_real": counts[0], "n_fake": counts[1], "layout": dataset.layout}
    tower = before.data.get("refitted", {}).get("tower", before.data)
    refitted: dict[str, Any] = {"penalty": penalty, "model": detector.fingerprint, "tower": tower}
    record = {name: getattr(before, name) for name in ("backbone", "captions", "versions")}
    if reverse:
        refitted["warnings"] = [f"before the refit {reverse}"]
    identity = {"model": f"{detector.fingerprint} refitted", "data": data["fingerprint"], "dgsnet": __version__}
    with replacing_folder(out) as folder:
        if ood is not None:
            save_ood(folder, ood)
        model_folder.save(folder, method, record | {"data": data | {"refitted": refitted}})
        logits = out_of_fold_logits(features, dataset, penalty)
        if logits is not None:
            file = folder / LEFT_OUT / PREDICTIONS
            resumable_parquet.write(file, identity, PREDICTION_SCHEMA, lambda done: _rows(dataset, logits, done), len(logits))
            calibrate.calibrate(folder, file, out_of_fold=True)
        _check(out, penalty)  # once more: what somebody wrote there meanwhile is not replaced


@torch.no_grad()
def _logits(method: Method, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits (N,) of features (N, D) by the head as it is."""
    head = method.detecting_head
    weight, bias = (tensor.double().cpu().numpy() for tensor in (head.weight, head.bias))
    return np.asarray(features @ weight[0] + bias[0])


def _check(out: Path, penalty: float) -> None:
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty: choose another folder")
    if penalty <= 0:
        raise TrainingError(f"expected a penalty above 0, but got {penalty:g}")


def out_of_fold_logits(features: NDArray[np.float64], dataset: Dataset, penalty: float) -> NDArray[np.float64] | None:
    """Return each image's logit by a head that saw nothing of its source or generator, (N,); None where a label has fewer than two of them.

    A fold is every k-th source of photographs and every k-th `generator` of generated images, by name. Samples of several sources may name
    one generator: then these are left out together, as the next generator will have no relatives in the training data either. What shares a
    source with the fold, of either label, is kept from its head as well.
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
        if len(set(labels[kept])) < 2:  # sources that both labels share
            return None
        weight, bias = ridge_probe(features[kept], labels[kept], penalty)
        logits[held_out] = features[held_out] @ weight + bias
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
