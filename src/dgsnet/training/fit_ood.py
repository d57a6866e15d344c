"""What the training photographs look like to a model that has been trained: the last look of a run, from which `out_of_domain` is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.progress import Progress

from dgsnet.data.dataset import Dataset
from dgsnet.model.methods import Method
from dgsnet.model.ood import OodDetector, fit
from dgsnet.training.extract_features import read

AT_MOST = 512
"""Photographs that are looked at, balanced over sources: as many forward passes."""


def ood_of_photographs(method: Method, dataset: Dataset, seed: int, progress: Progress) -> OodDetector | None:
    """The domain of a data set's photographs as a trained method reads them in scoring; None when they are too few.

    A photograph that cannot be read is left out: training has named it already.
    """
    photographs = replace(dataset, samples=tuple(sample for sample in dataset if sample.label == 0))
    if not len(photographs):
        return None
    found = read(method, photographs.balanced_subset(AT_MOST, seed), "training photographs", progress)
    return fit(found.read.astype(np.float64), [sample.source for sample in found.samples]) if found.samples else None
