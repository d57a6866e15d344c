"""Captions that give the label away: how well a classifier that sees nothing else tells photographs from generated images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from dgsnet.data.connected_components import connected_components

LEAK = 0.75
"""Above this AUC of a caption-only classifier the `harmful` direction of the text branch is, in good part, the label itself."""

_FOLDS = 5
_NO_CAPTION = "nocaption"


def caption_only_auc(captions: Sequence[str | None], labels: NDArray[np.int64], groups: Sequence[str], seed: int = 0) -> float | None:
    """Measure the cross-validated AUC of a classifier that sees captions only (TF-IDF of words and word pairs, logistic regression).

    Groups stay together across the five folds, so a caption shared within a group is never learnt by heart. A caption that a photograph and
    a generated image of *different* groups share is worse than learnt by heart: it is learnt with the wrong label, so that content-matched
    data comes out near 0 and hides whatever else gives the label away. So where both labels share captions, the figure is the higher of
    two: with the groups as they are, and with all images of a shared caption in one fold as well. Both are what some classifier finds; one
    alone would miss a caption that one label has often and the other by accident. The figure depends on words alone, not on the encoder of
    the text branch.

    Args:
        captions: N captions; None and blank are one more word, since a missing caption gives away as much as one that is there.
        labels: (N,) 0 or 1.
        groups: N group names.
        seed: of the folds.

    Returns:
        AUC, 0..1; None when nothing is captioned or a label has fewer than five groups.
    """
    words = [(caption or "").strip() or _NO_CAPTION for caption in captions]
    if _too_few(groups, labels) or all(word == _NO_CAPTION for word in words):
        return None
    found = _cross_validated_auc(words, labels, groups, seed)
    joined = _joined_by_shared_captions(words, labels, groups)
    if joined == list(groups) or _too_few(joined, labels):
        return found
    return max(found, _cross_validated_auc(words, labels, joined, seed))


def _too_few(groups: Sequence[str], labels: NDArray[np.int64]) -> bool:
    """Return True if a label cannot be spread over the folds."""
    return any(len({group for group, label in zip(groups, labels, strict=True) if label == wanted}) < _FOLDS for wanted in (0, 1))


def _joined_by_shared_captions(words: Sequence[str], labels: NDArray[np.int64], groups: Sequence[str]) -> list[str]:
    """Return the (N,) groups with those made one that share a caption which stands under both labels."""
    under: dict[str, set[int]] = {}
    for word, label in zip(words, labels, strict=True):
        under.setdefault(word, set()).add(int(label))
    first: dict[str, str] = {}
    shared = ((word, group) for word, group in zip(words, groups, strict=True) if word != _NO_CAPTION and len(under[word]) > 1)
    joined = connected_components((group, first.setdefault(word, group)) for word, group in shared)
    return [joined.get(group, group) for group in groups]


def _cross_validated_auc(words: Sequence[str], labels: NDArray[np.int64], groups: Sequence[str], seed: int) -> float:
    classifier = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),  # noqa: S106 - a pattern, no password
        LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
    )
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(classifier, list(words), labels, groups=list(groups), cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, scores))
