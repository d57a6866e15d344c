"""Heads asked about photo sources and model families that were both left out of their training: five folds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from dgsnet.model.ridge import ridge_probe
from studies.common.model_families import by_family
from studies.common.ranking import Floats, Labels, found_at_5_percent
from studies.common.training_images import TrainingImages

PENALTY = 0.1
"""Of the ridge, chosen by `python -m studies.more_sources choose`."""
FOLDS = 5


def folds(images: TrainingImages) -> Labels:
    """Return (N,), the fold of an image: photo sources, and families of generators, are dealt out in an order drawn once."""
    draws, fold = np.random.default_rng(0), np.full(len(images.labels), -1)
    origins = np.where(images.labels == 1, [sample.generator for sample in by_family(images)], images.sources)
    asked = np.ones(len(fold), bool) if images.never_asked is None else ~images.never_asked
    for label in (0, 1):
        names = draws.permutation(np.unique(origins[asked & (images.labels == label)]))
        for place, name in enumerate(names):
            fold[asked & (origins == name) & (images.labels == label)] = place % FOLDS
    return fold


@dataclass(frozen=True)
class Shifts:
    """By how much the features of an image move when the image is compressed or scaled."""

    of: Labels
    """(M,), the image's number in the data set."""
    by: Floats
    """(M, D)."""

    def among(self, images: NDArray[np.bool_]) -> Floats:
        """Return those of some images (N,) of the data set."""
        return self.by[images[self.of]]

    def times(self, steadiness: float) -> Shifts:
        """Return those whose term in `steady_probe` weighs so many times as much."""
        return replace(self, by=np.sqrt(steadiness) * self.by)


def steady_probe(features: Floats, labels: Labels, penalty: float, shifts: Floats | None) -> tuple[Floats, float]:
    """Fit `ridge_probe` with a further term, the mean over shifts d (M, D) of (d.v)^2: to first order what training on changed copies adds.

    penalty |v|^2 plus that term is penalty |u|^2 for v = A u, A the inverse root of 1 + D'D / (M penalty).
    """
    if shifts is None:
        return ridge_probe(features, labels, penalty)
    root = np.linalg.cholesky(np.eye(features.shape[1]) + shifts.T @ shifts / (len(shifts) * penalty))
    weight, bias = ridge_probe(np.linalg.solve(root, features.T).T, labels, penalty)
    return np.linalg.solve(root.T, weight), bias


def left_out(images: TrainingImages, used: NDArray[np.bool_] | None, penalty: float, shifts: Shifts | None = None) -> dict[str, Any]:
    """Rank generators against photo sources that were both left out, by a head from those of `used` (N,; None: all) that were not.

    Of a source with pictures of several families, such as a collection of many models, the head may have seen the others.
    """
    fold, rates, false_alarms = folds(images), [], []
    of_folds: dict[str, list[float]] = {}  # a source of several families is asked about in several
    for number in range(FOLDS):
        asked = fold == number
        taken = ~asked if used is None else used & ~asked
        weight, bias = steady_probe(images.read[taken], images.labels[taken], penalty, shifts.among(taken) if shifts else None)
        scores, labels, sources = images.read[asked] @ weight + bias, images.labels[asked], images.sources[asked]
        for name in np.unique(sources[labels == 1]):
            one = (labels == 0) | (sources == name)
            of_folds.setdefault(str(name), []).append(float(roc_auc_score(labels[one], scores[one])))
        rates.append(found_at_5_percent(labels, scores))
        called = scores > np.quantile(scores[labels == 0], 0.95)
        false_alarms += [float(np.mean(called[sources == name])) for name in np.unique(sources[labels == 0])]
    of_new, aurocs = set(images.sources[images.new]), {name: float(np.mean(each)) for name, each in of_folds.items()}
    return {
        "auroc": float(np.mean(list(aurocs.values()))),
        "of_old": float(np.mean([each for name, each in aurocs.items() if name not in of_new])),
        "of_new": float(np.mean([each for name, each in aurocs.items() if name in of_new])),
        "tpr_at_fpr_5": float(np.mean(rates)),
        "fpr_worst_tenth": float(np.mean(sorted(false_alarms)[-len(false_alarms) // 10 :])),
        "by_generator": aurocs,
    }
