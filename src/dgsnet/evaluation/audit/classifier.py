"""Classifiers that tell the labels apart by the audit's columns: all together by gradient-boosted trees, and each alone.

Every score is out of fold. The AUC is clipped at 0.5: a lower one means that what was learnt on some folds does not hold on the others, not
that it could be turned round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dgsnet.evaluation import metrics
from dgsnet.evaluation.audit.columns import Column
from dgsnet.evaluation.interval import PARTS

_FOLDS = 5
_FEW_SOURCES = 3  # of each label; with fewer, leaving one out leaves nothing general to learn from
_CATEGORIES = 64  # the most frequent values of a category; the others are one more
_BINS = 32  # quantiles of a number, for its AUC alone
_PRIOR = 2.0  # images that a bin is pulled towards the mean by
_ONE_SIDED = 1.6449  # standard normal deviate of 95 %

Rows = Sequence[Mapping[str, Any]]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def shortcut(rows: Rows, columns: Sequence[Column], labels: Labels) -> dict[str, Any]:
    """Return the AUC of all columns together over random folds: what a detector gains from them when tested on its training sources.

    Args:
        rows: N, the value of each column by its name.
        columns: to use.
        labels: (N,) 0 or 1, at least two of each.

    Returns:
        `value`, 0.5..1, and its 95 % bootstrap interval `low`, `high`; `unclipped`; `chance_up_to`, what an AUC of as many images
        exceeds in one of twenty cases by luck alone; `folds`.
    """
    number = min(_FOLDS, int(np.bincount(labels, minlength=2).min()))
    folds = list(StratifiedKFold(number, shuffle=True, random_state=0).split(labels, labels))
    return {**_auc(labels, _boosted(rows, columns, labels, folds)), "folds": f"{number} random folds"}


def across_sources(rows: Rows, columns: Sequence[Column], labels: Labels, sources: Sequence[str]) -> dict[str, Any]:
    """Return the same with all images of a source in one fold: what holds for sources never seen.

    Returns:
        As `shortcut`; its figures are None where a label has fewer than three sources, and `folds` says so.
    """
    known = [len({source for source, label in zip(sources, labels, strict=True) if label == wanted}) for wanted in (0, 1)]
    if min(known) < _FEW_SOURCES:
        parts = dict.fromkeys((*PARTS, "unclipped", "chance_up_to"))
        few = f"none: {known[0]} sources of photographs and {known[1]} of generated images are too few, each label needs {_FEW_SOURCES}"
        return {**parts, "folds": few}
    number = min(_FOLDS, *known)
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=0)
    folds = [(train, test) for train, test in splitter.split(labels, labels, list(sources)) if len(set(labels[train])) == 2]
    scores = _boosted(rows, columns, labels, folds)
    scored = ~np.isnan(scores)
    return {**_auc(labels[scored], scores[scored]), "folds": f"{number} folds by source"}


def single_auc(values: Sequence[Any], column: Column, labels: Labels) -> float:
    """Return the AUC, 0.5..1, of one column alone over random folds: the share of generated images of the same value, or quantile.

    A column may separate the labels in any way, not only by more and less; so its values are binned and not ranked.
    """
    codes = _bins(values) if column.kind == "number" else _categories(values)
    number = min(_FOLDS, int(np.bincount(labels, minlength=2).min()))
    scores, top = np.empty(len(labels)), int(codes.max()) + 1
    for train, test in StratifiedKFold(number, shuffle=True, random_state=0).split(labels, labels):
        weights = np.array([0.5 / max(1, int((labels[train] == label).sum())) for label in (0, 1)])[labels[train]] * len(train)
        everything = np.bincount(codes[train], weights, minlength=top)
        generated = np.bincount(codes[train], weights * labels[train], minlength=top)
        scores[test] = ((generated + _PRIOR / 2) / (everything + _PRIOR))[codes[test]]
    value = metrics.weighted_metrics(labels, np.clip(scores, 0, 1), np.ones((1, len(labels))))["auroc"][0]
    return max(0.5, float(value))


def _auc(labels: Labels, scores: Floats) -> dict[str, float]:
    found = metrics.estimate(labels, scores).figures["auroc"]
    value, low, high = (np.nan if part is None else part for part in (found.value, found.low, found.high))
    real, fake = (int((labels == label).sum()) for label in (0, 1))
    deviation = np.sqrt((real + fake + 1) / (12 * real * fake))  # of the Mann-Whitney statistic when the labels are drawn by lot
    return {
        "value": max(0.5, value),
        "low": max(0.5, low),
        "high": max(0.5, high),
        "unclipped": value,
        "chance_up_to": min(1.0, 0.5 + _ONE_SIDED * float(deviation)),
    }


def _boosted(rows: Rows, columns: Sequence[Column], labels: Labels, folds: Sequence[tuple[Any, Any]]) -> Floats:
    """(N,) out-of-fold probabilities of label 1; NaN where no fold tests."""
    kinds, encoded = [], []
    for column in columns:
        values = [row[column.name] for row in rows]
        codes = _categories(values).astype(np.float64) if column.kind == "category" else _numbers(values)
        # A missing value becomes the least one, which a tree splits off as well; scikit-learn fails on folds where all are missing.
        codes = np.where(np.isnan(codes), np.nanmin(codes) - 1 if not np.isnan(codes).all() else 0, codes)
        if np.ptp(codes) > 0:
            kinds.append(column.kind == "category")
            encoded.append(codes)
    if not encoded:
        return np.full(len(labels), 0.5)
    table = np.stack(encoded, axis=1)
    scores = np.full(len(labels), np.nan)
    for train, test in folds:
        model = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            min_samples_leaf=max(2, min(20, len(train) // 10)),
            l2_regularization=1.0,
            categorical_features=kinds,
            class_weight="balanced",
            early_stopping=False,
            random_state=0,
        )
        scores[test] = model.fit(table[train], labels[train]).predict_proba(table[test])[:, 1]
    return scores


def _numbers(values: Sequence[Any]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values])


def _categories(values: Sequence[Any]) -> NDArray[np.int64]:
    """Return values as 0, 1, ... by falling frequency, the rare ones sharing the last; None is a value too."""
    names = [str(value) for value in values]
    ranked = [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]
    code = {name: min(place, _CATEGORIES) for place, name in enumerate(ranked)}
    return np.array([code[name] for name in names], np.int64)


def _bins(values: Sequence[Any]) -> NDArray[np.int64]:
    """Return numbers as bins of about equal size, 1, 2, ...; 0 where there is none. A value that is frequent has a bin of its own."""
    numbers = _numbers(values)
    known = ~np.isnan(numbers)
    codes = np.zeros(len(numbers), np.int64)
    if known.any():
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, _BINS + 1), method="lower"))
        codes[known] = 1 + np.searchsorted(edges, numbers[known], side="right")
    return codes
