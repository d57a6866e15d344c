"""What the training photographs look like to a model that has been trained: the last look of a run, from which `out_of_domain` is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from rich.progress import Progress

from dgsnet.dataset import Dataset
from dgsnet.decoding import decode
from dgsnet.domain import Domain, fit
from dgsnet.errors import DatasetError, DecodeError
from dgsnet.methods import Method
from dgsnet.preprocessing import SCORING_SEED

AT_MOST = 512
"""Photographs that are looked at, balanced over sources: as many forward passes."""


@torch.inference_mode()
def domain_of_photographs(method: Method, dataset: Dataset, seed: int, progress: Progress) -> Domain | None:
    """The domain of a data set's photographs as a trained method reads them in scoring; None when they are too few.

    A photograph that cannot be read is left out: training has named it already.
    """
    photographs = replace(dataset, samples=tuple(sample for sample in dataset if sample.label == 0))
    if not len(photographs):
        return None
    photographs = photographs.balanced_subset(AT_MOST, seed)
    training = method.training
    method.eval()
    read, sources = [], []
    for sample in progress.track(photographs.samples, description="training photographs"):
        try:
            view = method.recipe.preprocessing(decode(photographs.read(sample)).pixels, SCORING_SEED)
        except (DatasetError, DecodeError, ValueError):
            continue
        pixels = torch.from_numpy(view).unsqueeze(0).to(method.backbone.device)
        read.append(method.represent(pixels)[0].double().cpu().numpy())
        sources.append(sample.source)
    method.train(training)
    return fit(np.stack(read), sources) if read else None
