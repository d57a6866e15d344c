"""Extract the features that a trained model's head reads, as in scoring; fit the out-of-distribution detector to those of photographs."""

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
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.methods import Method
from dgsnet.model.ood import OodDetector, fit

MAX_PHOTOGRAPHS = 512
"""Photographs the out-of-distribution detector is fitted to, balanced over sources: as many forward passes."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features of the images that could be read, and why others could not."""

    samples: tuple[Sample, ...]
    features: NDArray[np.float32]
    """(N, D), the head's input for each of `samples`."""
    failed: tuple[str, ...]


@torch.inference_mode()
def extract_features(
    method: Method, dataset: Dataset, description: str, progress: Progress, cache: FeatureCache | None = None
) -> ExtractedFeatures:
    """Extract the features of every image of a data set, one at a time, in order; `description` is what the progress bar says.

    The method, a trained one, is put into evaluation mode and back. Features are kept in `cache`, whose space has to name the model.
    """
    training = method.training
    method.eval()
    samples, rows, failed = [], [], []
    for sample in progress.track(dataset.samples, description=description):
        try:
            content = dataset.read(sample)
            key = sha256_bytes(content)
            cached = cache.get([key]) if cache else {}
            row = cached[key] if key in cached else _embed(method, content)
        except (DatasetError, DecodeError, ValueError) as error:
            failed.append(f"{sample.path}: {error}")
            continue
        if cache and key not in cached:
            cache.put({key: row})
        samples.append(sample)
        rows.append(row)
    method.train(training)
    features = np.stack(rows) if rows else np.zeros((0, method.backbone.width), np.float32)
    return ExtractedFeatures(tuple(samples), features, tuple(failed))


def _embed(method: Method, content: bytes) -> NDArray[np.float32]:
    view = method.recipe.preprocessing(decode(content).pixels, SCORING_SEED)
    features = method.embed(torch.from_numpy(view).unsqueeze(0).to(method.backbone.device))
    return np.asarray(features[0].float().cpu().numpy())


def fit_ood(method: Method, dataset: Dataset, seed: int, progress: Progress) -> OodDetector | None:
    """Fit the detector to a data set's photographs, as a trained method embeds them in scoring; None when they are too few.

    A photograph that cannot be read is left out: training has named it already.
    """
    photographs = replace(dataset, samples=tuple(sample for sample in dataset if sample.label == 0))
    if not len(photographs):
        return None
    found = extract_features(method, photographs.balanced_subset(MAX_PHOTOGRAPHS, seed), "training photographs", progress)
    return fit(found.features.astype(np.float64), [sample.source for sample in found.samples]) if found.samples else None
