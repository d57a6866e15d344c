"""The direction of a ranking: whether labels are the wrong way round, or a model on the wrong side of the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from dgsnet.evaluation import metrics


def in_reverse(auroc: Mapping[str, float | None]) -> str | None:
    """Say that a model ranks in reverse, where the 95 % interval of its AUROC (`value`, `low`, `high`) is wholly below 0.5; else None."""
    value, low, high = (auroc[part] for part in ("value", "low", "high"))
    if value is None or low is None or high is None or high >= 0.5:
        return None
    return (
        f"the model ranks in reverse on this data: AUROC {value:.3f} (95 % {low:.3f} to {high:.3f}), where 0.5 is chance. "
        "Check that labels are 0 real, 1 generated; if they are, this model does not suit this data"
    )


def of_logits(labels: ArrayLike, logits: ArrayLike, resamples: int = 1000) -> str | None:
    """Say the same of labels (N,), 0 or 1, and logits (N,); None where a class is missing."""
    _, rank = np.unique(np.asarray(logits), return_inverse=True)  # between 0 and 1 and in the same order, however large logits are
    scores = rank / max(int(rank.max(initial=0)), 1)
    return in_reverse(metrics.estimate(labels, scores, resamples=resamples).figures["auroc"].as_dict())
