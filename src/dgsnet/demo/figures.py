"""The demo's figures, by decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgsnet.demo.settings import Settings
from dgsnet.evaluation import metrics
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.predictions import read_predictions


def figures(predictions: Path, settings: Settings) -> dict[str, Any]:
    """Return AUROC and balanced accuracy (at score 0.5) with 95 % intervals, by decoder and as means over seen and unseen decoders.

    A decoder's figures pool its reconstructions with all photographs of the test split; the means are `mean, seen` and `mean, unseen`.
    """
    rows = [row for row in read_predictions(predictions).to_pylist() if row["score"] is not None]
    found: dict[str, Any] = {}
    for kind, names in settings.decoders.items():
        kept = [row for row in rows if row["label"] == 0 or row["generator"] in names]
        columns = [row["label"] for row in kept], [row["score"] for row in kept], [row["generator"] for row in kept]
        for name, figure in metrics.by_generator(*columns, resamples=settings.resamples).items():
            found[name] = _chosen(figure.figures)
        found[f"mean, {kind}"] = _chosen(metrics.macro_average(*columns, resamples=settings.resamples))
    return found


def _chosen(estimates: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: estimates[name].as_dict() for name in ("auroc", "balanced_acc")}
