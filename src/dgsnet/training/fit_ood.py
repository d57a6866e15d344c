"""Fit the out-of-distribution detector to the features of the training photographs: the last step of a training run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.progress import Progress

from dgsnet.data.dataset import Dataset
from dgsnet.model.methods import Method
from dgsnet.model.ood import OodDetector, fit
from dgsnet.training.extract_features import extract_features

MAX_PHOTOGRAPHS = 512
"""Photographs it is fitted to, balanced over sources: as many forward passes."""


def fit_ood(method: Method, dataset: Dataset, seed: int, progress: Progress) -> OodDetector | None:
    """Fit the detector to a data set's photographs, as a trained method embeds them in scoring; None when they are too few.

    A photograph that cannot be read is left out: training has named it already.
    """
    photographs = replace(dataset, samples=tuple(sample for sample in dataset if sample.label == 0))
    if not len(photographs):
        return None
    found = extract_features(method, photographs.balanced_subset(MAX_PHOTOGRAPHS, seed), "training photographs", progress)
    return fit(found.features.astype(np.float64), [sample.source for sample in found.samples]) if found.samples else None
