"""Rankings of generated images against photographs, averaged over generators or sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Strings = NDArray[np.str_]


def mean_auroc(labels: Labels, scores: Floats, generators: Strings) -> float:
    """Return the AUROC of each generator against all photographs, averaged over the generators."""
    real = labels == 0
    each = [roc_auc_score(labels[real | (generators == name)], scores[real | (generators == name)]) for name in set(generators[~real])]
    return float(np.mean(each))


def found_at_5_percent(labels: Labels, scores: Floats) -> float:
    """Return the share of the generated images above the threshold that 5 % of the photographs are above."""
    return float(np.mean(scores[labels == 1] > np.quantile(scores[labels == 0], 0.95)))


def leave_pairs_out(labels: NDArray[Any], origins: NDArray[Any], score: Callable[[NDArray[np.bool_]], Floats]) -> dict[str, Any]:
    """Rank each generator against each photo source by a probe that was trained on neither; mean AUROC over all pairs, and by each.

    `score` is given the images left out, (N,) bool; it trains on the others and returns the scores of those left out, in order.
    """
    generators, sources = (sorted(set(origins[labels == label])) for label in (1, 0))
    ranks = np.zeros((len(generators), len(sources)))
    for row, generator in enumerate(generators):
        for column, source in enumerate(sources):
            left_out = np.isin(origins, [generator, source])
            ranks[row, column] = roc_auc_score(labels[left_out], score(left_out))
    return {
        "mean": round(float(ranks.mean()), 4),
        "by_generator": dict(zip(generators, ranks.mean(axis=1).round(4).tolist(), strict=True)),
        "by_source": dict(zip(sources, ranks.mean(axis=0).round(4).tolist(), strict=True)),
    }
