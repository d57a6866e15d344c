"""Detectors side by side under the same perturbations of the same images: paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json
from dgsnet.evaluation.bootstrap import draws
from dgsnet.evaluation.compare import COMPARISON, named
from dgsnet.evaluation.interval import percentile_interval
from dgsnet.evaluation.metrics import pooled
from dgsnet.evaluation.predictions import recorded_threshold
from dgsnet.evaluation.robustness.changes import SEED, ChangeFigures, Changes, Floats
from dgsnet.evaluation.robustness.score_perturbed import CLEAN_KEY, Key, rows_by_perturbation
from dgsnet.inference import resumable_parquet

COMPARED = ("auroc", "balanced_acc")


@dataclass(frozen=True)
class _Common:
    """The images that every detector scored in every state, and the states all of them were tried in; the first is the clean one."""

    keys: list[Key]
    labels: NDArray[np.int64]  # (N,)
    rows: list[list[list[dict[str, Any]]]]  # for each detector, for each state, N


def compare(
    predictions: Sequence[Path], out: Path, *, names: Sequence[str] | None = None, baseline: str | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Compare robustness runs into `out/comparison.json`.

    Only images count that every detector scored in every state, joined by path; a detector's accuracy is at its own threshold. One resample
    serves all detectors and states. Arguments are those of `dgsnet.evaluation.compare.compare`, for files of `robustness.predict`.

    Returns:
        The content of `comparison.json`: `perturbations` (each with `perturbation`, `severity`); of each of `detectors` `clean`,
        `perturbations` and `mean` (over perturbations) of the figures of `COMPARED`, and `changes` (as `overall` of `evaluate`); of each
        but the baseline `differences`: `clean`, `mean` and, by kind of perturbation, `by_kind`, all paired; `computed_from`.

    Raises:
        DatasetError: there is one file only, images or perturbations have nothing in common, labels contradict, or a name is unknown.
    """
    detectors, base = named(predictions, names, baseline)
    common = _join(predictions)
    thresholds = [recorded_threshold(file) for file in predictions]
    drawn = {name: _draws(common, number, thresholds[number], resamples) for number, name in enumerate(detectors)}
    kinds = list(dict.fromkeys(name for name, _ in common.keys[1:]))
    places = {kind: [at for at, key in enumerate(common.keys) if at and key[0] == kind] for kind in kinds}
    everything = list(range(1, len(common.keys)))
    result: dict[str, Any] = {
        "perturbations": [{"perturbation": name, "severity": severity} for name, severity in common.keys[1:]],
        "detectors": {
            name: {
                "clean": _figures(drawn[name], [0]),
                "perturbations": [_figures(drawn[name], [at]) for at in everything],
                "mean": _figures(drawn[name], everything),
                "changes": ChangeFigures(Changes.of(states[0], states[1:]), resamples).of_group([at - 1 for at in everything]),
            }
            for name, states in zip(detectors, common.rows, strict=True)
        },
        "differences": {
            name: {
                "clean": _figures(drawn[name], [0], drawn[base]),
                "mean": _figures(drawn[name], everything, drawn[base]),
                "by_kind": {kind: _figures(drawn[name], members, drawn[base]) for kind, members in places.items()},
            }
            for name in detectors
            if name != base
        },
        "computed_from": {
            "images": len(common.labels),
            "photographs": int((common.labels == 0).sum()),
            "baseline": base,
            "resamples": resamples,
            "predictions": {name: resumable_parquet.read_identity(file) for name, file in zip(detectors, predictions, strict=True)},
            "thresholds": dict(zip(detectors, thresholds, strict=True)),
        },
    }
    write_json(out / f"{COMPARISON}.json", result)
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
    return _Common(keys, labels, [[[state[path] for path in paths] for state in states] for states in by_path])


def _draws(common: _Common, detector: int, threshold: float, resamples: int) -> dict[str, Floats]:
    """Return for each of `COMPARED` (states, 1 + R): the figure, and that of each resample."""
    scores = [np.array([row["score"] for row in rows]) for rows in common.rows[detector]]
    found = draws([pooled(common.labels, one, threshold) for one in scores], common.labels, resamples, SEED)
    return {metric: np.stack([np.append(point[metric], drawn[metric]) for point, drawn in found]) for metric in COMPARED}


def _figures(drawn: dict[str, Floats], states: list[int], base: dict[str, Floats] | None = None) -> dict[str, dict[str, float | None]]:
    """Return the mean over states of each of `COMPARED`, minus that of the baseline where one is given."""
    found = {}
    for metric, all_states in drawn.items():
        mean = all_states[states].mean(axis=0) - (0.0 if base is None else base[metric][states].mean(axis=0))
        found[metric] = percentile_interval(mean[0], mean[1:]).as_dict()
    return found
