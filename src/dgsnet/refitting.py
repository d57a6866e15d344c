"""A trained model with a new head: the closed-form probe on what the fine-tuned tower says of labelled images, minutes instead of an hour.

Fine-tuning teaches the tower to see traces; the head that was trained along with it saw each image once or twice. The head found here sees
all images at once (`dgsnet.methods.ridge`), and they need not be those the tower was trained on: so a model learns a new generator.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from dgsnet import model_folder
from dgsnet.dataset import Dataset
from dgsnet.detector import Detector
from dgsnet.domain import fit
from dgsnet.errors import TrainingError
from dgsnet.feature_cache import FeatureCache
from dgsnet.methods.ridge import fit_head
from dgsnet.reading import read
from dgsnet.weights import cache_dir

PENALTY = 0.01
"""Of the ridge, in units of the features' variance."""


def refit(detector: Detector, dataset: Dataset, out: Path, progress: Progress, penalty: float = PENALTY) -> tuple[str, ...]:
    """Write `out`, the model with a new head. It has no calibration, which was the old head's.

    What the tower says of an image is kept in the cache, so that an interrupted call goes on where it stopped.

    Args:
        detector: the model; its head changes.
        dataset: labelled images, both labels.
        out: folder, new or empty.
        progress: shows how far it is.
        penalty: of the ridge, above 0.

    Returns:
        Why images were left out, one text each.

    Raises:
        TrainingError: `out` is not empty, a label is missing, or the penalty is not above 0.
    """
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty: choose another folder")
    if penalty <= 0:
        raise TrainingError(f"expected a penalty above 0, but got {penalty:g}")
    _counts(dataset)
    method, before = detector.method, detector.config
    cache = FeatureCache(cache_dir() / "features" / "images.sqlite", f"read by {detector.fingerprint}")
    found = read(method, dataset, "images", progress, cache)
    kept = replace(dataset, samples=found.samples)
    counts = _counts(kept)
    features = found.read.astype(np.float64)
    fit_head(method.detecting_head, features, kept.labels(), penalty)
    photographs = [at for at, sample in enumerate(found.samples) if sample.label == 0]
    domain = fit(features[photographs], [found.samples[at].source for at in photographs])
    out.mkdir(parents=True, exist_ok=True)
    if domain is not None:
        model_folder.save_domain(out, domain)
    data = {"fingerprint": kept.fingerprint(), "n_real": counts[0], "n_fake": counts[1], "layout": dataset.layout}
    refitted = {"penalty": penalty, "model": detector.fingerprint, "tower": before.data.get("refitted", {}).get("tower", before.data)}
    record = {name: getattr(before, name) for name in ("backbone", "captions", "versions")}
    model_folder.save(out, method, record | {"data": data | {"refitted": refitted}})
    return found.failed


def _counts(dataset: Dataset) -> tuple[int, int]:
    labels = dataset.labels()
    counts = int((labels == 0).sum()), int((labels == 1).sum())
    if min(counts) == 0:
        raise TrainingError(f"{dataset.root} has {counts[0]} photographs and {counts[1]} generated images that can be read: it needs both")
    return counts
