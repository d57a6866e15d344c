"""Figures of a robustness run, from its predictions file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json, write_text
from dgsnet.evaluation import csv_table, metrics
from dgsnet.evaluation.evaluate import METRICS_CSV, METRICS_JSON
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.predictions import recorded_threshold
from dgsnet.evaluation.robustness.changes import CHANGE, SEED, ChangeFigures, Changes
from dgsnet.evaluation.robustness.score_perturbed import CLEAN, CLEAN_KEY, Key, rows_by_perturbation
from dgsnet.images.perturb import SUITES
from dgsnet.inference import resumable_parquet

ACCURACY = ("auroc", "balanced_acc", "real_acc", "fake_acc")


def evaluate(predictions: Path, out: Path, *, resamples: int = 1000) -> dict[str, Any]:
    """Compute figures of a predictions file of `predict` into `out/metrics.json` and `out/metrics.csv`.

    Returns:
        The content of `metrics.json`. Figures are `{"value", "low", "high"}`, null where there is no image for them:

        - `clean`: the figures of `ACCURACY` of the images as they are.
        - `perturbations`: a list, each with `perturbation`, `severity`, those figures, and those of `CHANGE`, also `by_label`.
        - `overall`, `by_kind` (perturbations of one name), `by_suite` (each named suite that was run whole): `flips_any` and
          `opposite_any`, the share of images that flip under at least one of the perturbations, over images scored under all of them; and
          means over the perturbations of the figures of `CHANGE`. Also `by_label`.
        - `by_generator`: of each generator `n_fake`, and the AUROC of its images against all photographs: `clean`, and `auroc`, a list in
          the order of `perturbations`.
        - `computed_from`.

    Raises:
        DatasetError: the file is not one of `predict`, or no image has a label and a score as it is and under a perturbation.
    """
    if resamples < 1:
        raise ValueError(f"expected at least 1 resample but got {resamples}")
    by_perturbation, total = rows_by_perturbation(predictions)
    threshold = recorded_threshold(predictions)
    clean, perturbed = by_perturbation[CLEAN_KEY], {key: rows for key, rows in by_perturbation.items() if key != CLEAN_KEY}
    changes = Changes.of(clean, list(perturbed.values()))
    if not changes.known.any():
        raise DatasetError(f"{predictions}: no labelled image has a score both as it is and under a perturbation")
    figures = ChangeFigures(changes, resamples)
    keys = list(perturbed)

    def accuracy(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return _accuracy(rows, predictions, threshold=threshold, resamples=resamples)

    def over(chosen: list[Key]) -> dict[str, Any]:
        return figures.of_group([keys.index(key) for key in chosen])

    suites = {name: [(one.name, one.severity) for one in members] for name, members in SUITES.items()}
    kinds = dict.fromkeys(name for name, _ in keys)
    result = {
        "clean": accuracy(clean),
        "perturbations": [
            {"perturbation": name, "severity": severity, **accuracy(perturbed[name, severity]), **figures.of_one(number)}
            for number, (name, severity) in enumerate(keys)
        ],
        "overall": over(keys),
        "by_kind": {kind: over([key for key in keys if key[0] == kind]) for kind in kinds},
        "by_suite": {name: over(members) for name, members in suites.items() if set(members) <= set(keys)},
        "by_generator": _by_generator([clean, *perturbed.values()], resamples),
        "computed_from": {
            "predictions": resumable_parquet.read_identity(predictions),
            "images": len(clean),
            "rows": total,
            "failed_rows": total - sum(row["score"] is not None for rows in by_perturbation.values() for row in rows),
            "threshold": threshold,
            "resamples": resamples,
            "bootstrap": "95 % percentile interval, photographs and generated images resampled separately, seed 0",
        },
    }
    write_json(out / METRICS_JSON, result)
    write_text(out / METRICS_CSV, _as_csv(result))
    return result


def _accuracy(rows: list[dict[str, Any]], predictions: Path, **settings: Any) -> dict[str, Any]:
    kept = [row for row in rows if row["score"] is not None]
    sizes: dict[str, Any] = {"failed": len(rows) - len(kept)}
    if not kept:
        return {name: Interval().as_dict() for name in ACCURACY} | {"n_real": 0, "n_fake": 0} | sizes
    try:
        report = metrics.estimate([row["label"] for row in kept], [row["score"] for row in kept], seed=SEED, **settings).as_dict()
    except ValueError as error:
        raise DatasetError(f"{predictions}: {error}") from error
    return {name: report[name] for name in (*ACCURACY, "n_real", "n_fake")} | sizes


def _by_generator(states: list[list[dict[str, Any]]], resamples: int) -> dict[str, Any]:
    """Return AUROC of each generator in each state, the first of which is the clean one."""
    scored = [[row for row in rows if row["score"] is not None] for rows in states]
    reports = [
        metrics.by_generator(
            [row["label"] for row in rows],
            [row["score"] for row in rows],
            [row["generator"] or "unknown" for row in rows],
            resamples=resamples,
            seed=SEED,
        )
        if rows
        else {}
        for rows in scored
    ]
    found = {}
    for name in sorted({name for one in reports for name in one}):
        figures = [one[name].as_dict()["auroc"] if name in one else Interval().as_dict() for one in reports]
        found[name] = {"n_fake": max(one[name].n_fake for one in reports if name in one), "clean": figures[0], "auroc": figures[1:]}
    return found


def _as_csv(result: dict[str, Any]) -> str:
    """Return one line per perturbation, after the clean images."""
    names, rows = (*ACCURACY, *CHANGE), []
    for one in ({"perturbation": CLEAN, "severity": None, **result["clean"]}, *result["perturbations"]):
        severity = "" if one["severity"] is None else f"{one['severity']:g}"
        rows.append((one["perturbation"], severity, one["n_real"], one["n_fake"], one["failed"], *csv_table.figures(one, names)))
    return csv_table.text(("perturbation", "severity", "n_real", "n_fake", "failed", *csv_table.columns(names)), rows)
