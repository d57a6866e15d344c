"""Detectors side by side under the same perturbations of the same images: paired differences, and one line a detector over severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.evaluation import evaluate
from dgsnet.evaluation.bootstrap import weightings
from dgsnet.evaluation.compare import COMPARISON, named
from dgsnet.evaluation.metrics import percentile_interval, weighted_metrics
from dgsnet.evaluation.robustness.changes import SEED, ChangeFigures, Changes, Floats
from dgsnet.evaluation.robustness.prediction import CLEAN_KEY, Key, rows_by_perturbation
from dgsnet.inference import resumable_parquet
from dgsnet.reports import tables
from dgsnet.reports.robustness_plots import method_panels

COMPARED = ("auroc", "balanced_acc")


@dataclass(frozen=True)
class _Common:
    """The images that every detector scored in every state, and the states all of them were tried in; the first is the clean one."""

    keys: list[Key]
    paths: list[str]
    labels: NDArray[np.int64]  # (N,)
    rows: list[list[list[dict[str, Any]]]]  # of each detector, of each state, N


def compare(
    predictions: Sequence[Path], out: Path, *, names: Sequence[str] | None = None, baseline: str | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Compare robustness runs into `out/comparison.json`, `out/comparison.md` and a plot of each of `COMPARED`.

    Only images count that every detector scored in every state, joined by path; a detector's accuracy is at its own threshold.

    Args:
        predictions: at least two files of `robustness.predict` on the same images.
        out: folder.
        names: of the detectors; by default from the paths.
        baseline: the name of the one the others are compared to; by default the first.
        resamples: of the bootstrap over images, at least 1; one resample serves all detectors and states.

    Returns:
        The content of `comparison.json`: `perturbations` (each with `perturbation`, `severity`); of each of `detectors` `clean`,
        `perturbations` and `mean` (over perturbations) of the figures of `COMPARED`, and `changes` (as `overall` of `evaluate`); of each
        but the baseline `differences`: `clean`, `mean` and, by kind of perturbation, `by_kind`, all paired; `computed_from`.

    Raises:
        DatasetError: there is one file only, images or perturbations have nothing in common, labels contradict, or a name is unknown.
    """
    detectors, base = named(predictions, names, baseline)
    common = _join(predictions)
    thresholds = [evaluate.recorded_threshold(file) for file in predictions]
    draws = {name: _draws(common, number, thresholds[number], resamples) for number, name in enumerate(detectors)}
    kinds = list(dict.fromkeys(name for name, _ in common.keys[1:]))
    places = {kind: [at for at, key in enumerate(common.keys) if at and key[0] == kind] for kind in kinds}
    everything = list(range(1, len(common.keys)))
    result: dict[str, Any] = {
        "perturbations": [{"perturbation": name, "severity": severity} for name, severity in common.keys[1:]],
        "detectors": {
            name: {
                "clean": _figures(draws[name], [0]),
                "perturbations": [_figures(draws[name], [at]) for at in everything],
                "mean": _figures(draws[name], everything),
                "changes": ChangeFigures(Changes.of(states[0], states[1:]), resamples).of_group([at - 1 for at in everything]),
            }
            for name, states in zip(detectors, common.rows, strict=True)
        },
        "differences": {
            name: {
                "clean": _figures(draws[name], [0], draws[base]),
                "mean": _figures(draws[name], everything, draws[base]),
                "by_kind": {kind: _figures(draws[name], members, draws[base]) for kind, members in places.items()},
            }
            for name in detectors
            if name != base
        },
        "computed_from": {
            "images": len(common.labels),
            "photographs": int((common.labels == 0).sum()),
            "baseline": base,
            "resamples": resamples,
            "predictions": {name: resumable_parquet.identity_in(file) for name, file in zip(detectors, predictions, strict=True)},
            "thresholds": dict(zip(detectors, thresholds, strict=True)),
        },
    }
    write_json(out / f"{COMPARISON}.json", result)
    write_text(out / f"{COMPARISON}.md", _as_markdown(result))
    for metric in COMPARED:
        with replacing(out / f"{metric}.png") as aside:
            method_panels(result["perturbations"], result["detectors"], metric).savefig(aside, format="png", dpi=150)
    return result


def _join(predictions: Sequence[Path]) -> _Common:
    files = [rows_by_perturbation(file)[0] for file in predictions]
    keys = [key for key in files[0] if all(key in file for file in files[1:])]
    if len(keys) < 2:
        raise DatasetError(f"{' and '.join(map(str, predictions))} have no perturbation in common: run them with the same --suite")
    by_path = [[{row["path"]: row for row in file[key] if row["score"] is not None} for key in keys] for file in files]
    paths = [path for path in by_path[0][0] if all(path in state for states in by_path for state in states)]
    if not paths:
        raise DatasetError(f"{' and '.join(map(str, predictions))} have no scored image in common: run them on the same images")
    for file, states in zip(predictions, by_path, strict=True):
        wrong = next((path for path in paths if states[0][path]["label"] != by_path[0][0][path]["label"]), None)
        if wrong is not None:
            raise DatasetError(f"{predictions[0]} and {file} contradict each other on the label of {wrong}: correct one of them")
    labels = np.array([by_path[0][0][path]["label"] for path in paths], dtype=np.int64)
    assert keys[0] == CLEAN_KEY  # noqa: S101 - `rows_by_perturbation` puts it first
    return _Common(keys, paths, labels, [[[state[path] for path in paths] for state in states] for states in by_path])


def _draws(common: _Common, detector: int, threshold: float, resamples: int) -> dict[str, Floats]:
    """Of each of `COMPARED` (states, 1 + R): the figure, and that of each resample."""
    scores = [np.array([row["score"] for row in rows]) for rows in common.rows[detector]]
    chunks = [np.ones((1, len(common.labels))), *weightings(common.labels, resamples, SEED)]
    found = [[weighted_metrics(common.labels, one, weights, threshold) for weights in chunks] for one in scores]
    return {metric: np.stack([np.concatenate([part[metric] for part in parts]) for parts in found]) for metric in COMPARED}


def _figures(draws: dict[str, Floats], states: list[int], base: dict[str, Floats] | None = None) -> dict[str, dict[str, float | None]]:
    """The mean over states of each of `COMPARED`, minus that of the baseline where one is given."""
    found = {}
    for metric, all_states in draws.items():
        mean = all_states[states].mean(axis=0) - (0.0 if base is None else base[metric][states].mean(axis=0))
        found[metric] = asdict(percentile_interval(float(mean[0]), mean[1:]))
    return found


def _as_markdown(result: dict[str, Any]) -> str:
    base, known = result["computed_from"]["baseline"], result["computed_from"]
    differences = result["differences"]

    def beside(name: str, part: str) -> str:
        return "baseline" if name == base else interval(differences[name][part]["auroc"], 3, sign=True)

    header = [
        *("detector", "AUROC, clean", "difference", "AUROC, mean over perturbations", "difference"),
        *("balanced accuracy, clean", "mean over perturbations", "verdicts that change, mean", "under at least one"),
    ]
    rows = [
        [
            *(name, interval(one["clean"]["auroc"]), beside(name, "clean"), interval(one["mean"]["auroc"]), beside(name, "mean")),
            *(interval(one[part]["balanced_acc"]) for part in ("clean", "mean")),
            *(interval(one["changes"][figure]) for figure in ("mean_flip_rate", "flips_any")),
        ]
        for name, one in result["detectors"].items()
    ]
    kinds = list(dict.fromkeys(one["perturbation"] for one in result["perturbations"]))
    by_kind = [[kind, *(interval(one["by_kind"][kind]["auroc"], 3, sign=True) for one in differences.values())] for kind in kinds]
    each = [
        [
            one["perturbation"] + ("" if one["severity"] is None else f" {one['severity']:g}"),
            *(interval(detector["perturbations"][number]["auroc"]) for detector in result["detectors"].values()),
        ]
        for number, one in enumerate(result["perturbations"])
    ]
    count = f"{known['images']} images ({known['photographs']} photographs)"
    return "\n".join(
        [
            f"# Robustness, side by side\n\n{count}, {len(each)} perturbations of each.\n",
            tables.markdown(header, rows),
            f"## Difference in AUROC to {base}, mean over severities\n",
            tables.markdown(["perturbation", *differences], by_kind),
            "## AUROC under each\n",
            tables.markdown(["perturbation", *result["detectors"]], each),
            f"In brackets 95 % bootstrap intervals over images ({known['resamples']} resamples); differences are paired. "
            "Balanced accuracy is at each detector's own threshold.\n",
        ]
    )
