"""Extract the features that a trained model's head is fitted to, as in scoring; fit the out-of-distribution detector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.images.decode import decode
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.images.perturb import journey
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.methods import Method
from dgsnet.model.ood import OodDetector, fit

_JOURNEY = journey("any")

MAX_PHOTOGRAPHS = 512
"""Photographs the out-of-distribution detector is fitted to, balanced over sources: as many forward passes."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features of the images that could be read, and why others could not."""

    samples: tuple[Sample, ...]
    """An image and its travelled copies one after the other; the path of a copy ends in ``#`` and its number, from 1 on."""
    features: NDArray[np.float32]
    """(N, D), what a head may be fitted to, of each of `samples`."""
    failed: tuple[str, ...]


@torch.inference_mode()
def extract_features(
    method: Method, dataset: Dataset, description: str, progress: Progress, cache: FeatureCache | None = None, journeys: int = 0
) -> ExtractedFeatures:
    """Extract the features of every image of a data set (`Method.detecting_features`), one at a time, in order.

    The method, a trained one, is put into evaluation mode and back.

    Args:
        method, dataset: whose features of what.
        description: what the progress bar says.
        progress: where.
        cache: keeps features; its space has to name the model.
        journeys: travelled copies of each image whose features are extracted too, whatever its label.
    """
    training = method.training
    method.eval()
    samples, rows, failed = [], [], []
    for sample in progress.track(dataset.samples, description=description):
        try:
            content = dataset.read(sample)
            found = [_cached(method, content, copy, cache) for copy in range(journeys + 1)]
        except (DatasetError, DecodeError, ValueError) as error:
            failed.append(f"{sample.path}: {error}")
            continue
        samples += [replace(sample, path=f"{sample.path}#{copy}") if copy else sample for copy in range(journeys + 1)]
        rows += found
    method.train(training)
    features = np.stack(rows) if rows else np.zeros((0, method.backbone.width), np.float32)
    return ExtractedFeatures(tuple(samples), features, tuple(failed))


def _cached(method: Method, content: bytes, copy: int, cache: FeatureCache | None) -> NDArray[np.float32]:
    """Return the features of an image, 0, or of one of its travelled copies, 1, 2, ..., from the cache if it has them."""
    key = sha256_bytes(content) + (f" {_JOURNEY} {copy}" if copy else "")
    if cache and (known := cache.get([key])):
        return known[key]
    image = decode(content)
    pixels = _JOURNEY.seen(image.pixels, f"{image.sha256} {copy}") if copy else image.pixels
    view = torch.from_numpy(method.recipe.preprocessing(pixels, SCORING_SEED))[None]
    row = np.asarray(method.detecting_features(view.to(method.backbone.device))[0].float().cpu().numpy())
    if cache:
        cache.put({key: row})
    return row


def fit_ood(method: Method, dataset: Dataset, seed: int, progress: Progress) -> OodDetector | None:
    """Fit the detector to a data set's photographs, as a trained method embeds them in scoring; None when they are too few.

    A photograph that cannot be read is left out: training has named it already.
    """
    photographs = replace(dataset, samples=tuple(sample for sample in dataset if sample.label == 0))
    if not len(photographs):
        return None
    found = extract_features(method, photographs.balanced_subset(MAX_PHOTOGRAPHS, seed), "training photographs", progress)
    return fit(found.features.astype(np.float64), [sample.source for sample in found.samples]) if found.samples else None
