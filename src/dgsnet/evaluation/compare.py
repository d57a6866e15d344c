"""Detectors side by side on the images all of them scored: paired differences, and how sure their order is.

Every difference is resampled in pairs (`dgsnet.evaluation.metrics.paired_difference`): what makes an image hard for both cancels out, so a
difference can be sure where the two intervals overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json, write_text
from dgsnet.evaluation import csv_table, metrics
from dgsnet.evaluation.bootstrap import draws, rank_shares
from dgsnet.evaluation.interval import PARTS, Interval
from dgsnet.evaluation.metrics import METRICS, Floats
from dgsnet.evaluation.predictions import PREDICTIONS, names_in, recorded_threshold, scored_only, unperturbed
from dgsnet.inference import resumable_parquet

COMPARISON = "comparison"
"""Stem of the files of a comparison: `.json`, `.csv`; `.md` and `.tex` are of `dgsnet.reports.comparison_page`."""

RANKED = ("auroc", "ap", "balanced_acc")
"""Figures that detectors are ranked by, as means over generators."""

_COLUMNS = ("path", "sha256", "label", "score", "generator", "source")


@dataclass(frozen=True)
class _Common:
    """Images that every detector scored, in the order of their keys."""

    labels: NDArray[np.int64]  # (N,)
    scores: list[Floats]  # for each detector (N,)
    generators: NDArray[np.object_]  # (N,)
    sources: NDArray[np.object_]  # (N,)


@dataclass(frozen=True)
class _File:
    """One predictions file: rows with label and score by what identifies an image, and how many rows had neither."""

    path: Path
    rows: dict[tuple[str, int], tuple[int, float, str, str]]  # (hash or path, repetition): label, score, generator, source
    unscored: int


def locate(given: Path) -> Path | None:
    """Return the predictions file meant by a path: itself, or the one in a folder; None where there is none."""
    inside = given / PREDICTIONS
    return given if given.is_file() else inside if inside.is_file() else None


def short_names(given: Sequence[Path]) -> list[str]:
    """Name each path by the last folders that tell them apart, since `predictions.parquet` says nothing. Equal paths are numbered."""
    parts = [one.resolve().with_suffix("").parts if one.suffix == ".parquet" else one.resolve().parts for one in given]
    parts = [one[:-1] if one[-1] == Path(PREDICTIONS).stem and len(one) > 1 else one for one in parts]
    names: list[str] = []
    for own in parts:
        others = [one for one in parts if one != own]
        length = next((n for n in range(1, len(own)) if all(one[-n:] != own[-n:] for one in others)), 1)
        names.append("/".join(own[-length:]))
    return [name if names.count(name) == 1 else f"{name} ({names[: at + 1].count(name)})" for at, name in enumerate(names)]


def named(predictions: Sequence[Path], names: Sequence[str] | None, baseline: str | None) -> tuple[list[str], str]:
    """Return the names of the detectors compared, from the paths where none are given, and which is the baseline: by default the first.

    Raises:
        DatasetError: there is one file only, or the baseline is none of the names.
    """
    if len(predictions) < 2:
        raise DatasetError("a comparison needs at least two predictions files")
    detectors = list(names or short_names(predictions))
    base = detectors[0] if baseline is None else baseline
    if base not in detectors:
        raise DatasetError(f"no detector {base!r} to compare with: there are {', '.join(detectors)}")
    return detectors, base


def compare(
    predictions: Sequence[Path], out: Path, *, names: Sequence[str] | None = None, baseline: str | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Compare detectors into `out/comparison.json` and `.csv`.

    Images are joined by their sha256, or by path where a file lacks it; those that some detector did not score are dropped, and counted.

    Args:
        predictions: at least two predictions files of the same images.
        out: folder.
        names: of the detectors; by default from the paths.
        baseline: the name of the one the others are compared to; by default the first.
        resamples: of the bootstrap, at least 1.

    Returns:
        The content of `comparison.json`. `detectors` has for each name `overall`, `mean_over_generators`, and how many of its rows were
        dropped; `differences` (but for the baseline) `overall`, `mean_over_generators`, `by_generator` and `by_source`: detector minus
        baseline; `by_generator` the figures themselves; `ranking` by each of `RANKED` the shares of resamples in which a detector is first,
        second and so on, best first by expected rank.

    Raises:
        DatasetError: there is one file only, no image is common, labels contradict, a name is unknown, or a file is none of predictions.
    """
    detectors, base = named(predictions, names, baseline)
    files, key = _read(predictions)
    common = _join(files)
    thresholds = [recorded_threshold(file) for file in predictions]
    threshold = thresholds[0] if len(set(thresholds)) == 1 else 0.5
    settings: dict[str, Any] = {"threshold": threshold, "resamples": resamples}
    try:
        result = _figures(common, detectors, detectors.index(base), settings)
    except ValueError as error:
        raise DatasetError(f"the predictions cannot be compared: {error}") from error
    for name, file, own in zip(detectors, files, thresholds, strict=True):
        result["detectors"][name] |= {
            "predictions": str(file.path),
            "of": resumable_parquet.read_identity(file.path),
            "threshold": own,
            "unscored": file.unscored,
            "dropped": len(file.rows) - len(common.labels),
        }
    result["computed_from"] = {"images": len(common.labels), "joined_by": key, "baseline": base, **settings}
    if len(set(thresholds)) > 1:
        result["computed_from"]["note"] = "the detectors have different thresholds of their own: 0.5 was used for all"
    write_json(out / f"{COMPARISON}.json", result)
    write_text(out / f"{COMPARISON}.csv", _as_csv(result))
    return result


# --- Reading and joining ---


def _read(predictions: Sequence[Path]) -> tuple[list[_File], str]:
    tables = [unperturbed(file, _COLUMNS) for file in predictions]
    scored = [scored_only(table) for table in tables]
    key = "sha256" if all("sha256" in one.column_names and not one["sha256"].null_count for one in scored) else "path"
    lacking = next((file for file, one in zip(predictions, scored, strict=True) if key not in one.column_names), None)
    if lacking is not None:
        raise DatasetError(f"{lacking} has neither sha256 nor path of its images: they cannot be found in the other files")
    return [
        _File(file, _by_key(one, key), table.num_rows - one.num_rows) for file, table, one in zip(predictions, tables, scored, strict=True)
    ], key


def _by_key(table: pa.Table, key: str) -> dict[tuple[str, int], tuple[int, float, str, str]]:
    """Index rows by image. The same bytes may come more than once, each time with a score: the order of paths tells them apart."""
    paths = table["path"].to_pylist() if "path" in table.column_names else [""] * table.num_rows
    facts = [names_in(table[name]) if name in table.column_names else ["unknown"] * table.num_rows for name in _COLUMNS[4:6]]
    columns = zip(table[key].to_pylist(), paths, table["label"].to_pylist(), table["score"].to_pylist(), *facts, strict=True)
    rows: dict[tuple[str, int], tuple[int, float, str, str]] = {}
    seen: dict[str, int] = {}
    for image, _, label, score, generator, source in sorted(columns, key=lambda row: row[:2]):
        number = seen[image] = seen.get(image, -1) + 1
        rows[image, number] = (label, score, generator, source)
    return rows


def _join(files: Sequence[_File]) -> _Common:
    first = files[0]
    keys = sorted(key for key in first.rows if all(key in file.rows for file in files[1:]))
    if not keys:
        raise DatasetError(
            f"{' and '.join(str(file.path) for file in files)} have no scored image in common: compare predictions of one set"
        )
    for file in files[1:]:
        wrong = next((key for key in keys if file.rows[key][0] != first.rows[key][0]), None)
        if wrong is not None:
            raise DatasetError(f"{first.path} and {file.path} contradict each other on the label of {wrong[0]}: correct one of them")
    return _Common(
        np.array([first.rows[key][0] for key in keys], dtype=np.int64),
        [np.array([file.rows[key][1] for key in keys]) for file in files],
        *(np.array([first.rows[key][fact] for key in keys], dtype=object) for fact in (2, 3)),
    )


# --- Figures ---


def _figures(common: _Common, detectors: list[str], base: int, settings: dict[str, Any]) -> dict[str, Any]:
    labels, generators, scores = common.labels, list(common.generators), common.scores
    members = {str(name): (labels == 0) | (common.generators == name) for name in sorted(set(common.generators[labels == 1]))}
    sources = {str(name): common.sources == name for name in sorted(set(common.sources))}
    sources = {  # a source that is nothing but one generator's images is among the generators already
        name: kept for name, kept in sources.items() if (labels[kept] == 0).any() or set(common.generators[kept]) != {name}
    }

    def difference(one: Floats, kept: NDArray[np.bool_]) -> dict[str, Any]:
        return _dicts(metrics.paired_difference(labels[kept], one[kept], scores[base][kept], **settings))

    everything = np.ones(len(labels), dtype=bool)
    result: dict[str, Any] = {"detectors": {}, "differences": {}, "by_generator": {name: {} for name in members}}
    for name, one in zip(detectors, scores, strict=True):
        result["detectors"][name] = {
            "overall": metrics.estimate(labels, one, **settings).as_dict(),
            "mean_over_generators": _dicts(metrics.macro_average(labels, one, generators, **settings)),
        }
        for generator, report in metrics.by_generator(labels, one, generators, **settings).items():
            result["by_generator"][generator][name] = report.as_dict()
        if name != detectors[base]:
            result["differences"][name] = {
                "overall": difference(one, everything),
                "mean_over_generators": _dicts(metrics.paired_macro_difference(labels, one, scores[base], generators, **settings)),
                "by_generator": {generator: difference(one, kept) for generator, kept in members.items()},
                "by_source": {source: difference(one, kept) for source, kept in sources.items()},
            }
    return result | {"ranking": _ranking(common, list(members), detectors, settings)}


def _dicts(figures: dict[str, Interval]) -> dict[str, Any]:
    return {name: one.as_dict() for name, one in figures.items()}


def _ranking(common: _Common, generators: list[str], detectors: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Rank by each of `RANKED`; None where a class is missing."""
    if not generators or not (common.labels == 0).any():
        return dict.fromkeys(RANKED)
    codes = {name: code for code, name in enumerate(generators, start=1)}
    strata = np.array([codes[str(name)] if label else 0 for name, label in zip(common.generators, common.labels, strict=True)])
    parts = [np.flatnonzero((strata == 0) | (strata == code)) for code in codes.values()]
    means = [metrics.mean_over_parts(common.labels, one, parts, settings["threshold"]) for one in common.scores]
    drawn = [one for _, one in draws(means, strata, settings["resamples"])]
    ranking = {}
    for metric in RANKED:
        shares = rank_shares([one[metric] for one in drawn])
        expected = shares @ np.arange(1, len(detectors) + 1)
        order = np.argsort(expected, kind="stable")
        ranking[metric] = [
            {"detector": detectors[at], "expected_rank": float(expected[at]), "shares": [float(share) for share in shares[at]]}
            for at in order
        ]
    return ranking


# --- Text ---


def _as_csv(result: dict[str, Any]) -> str:
    """Return one line per detector, part and metric: the figure where it is computed for the part, and the difference to the baseline."""
    rows = []
    for detector, own in result["detectors"].items():
        differences = result["differences"].get(detector, {})
        lines = [(part, "", own[part], differences.get(part)) for part in ("overall", "mean_over_generators")]
        of_generators = differences.get("by_generator", {})
        lines += [("generator", name, reports[detector], of_generators.get(name)) for name, reports in result["by_generator"].items()]
        lines += [("source", name, None, one) for name, one in differences.get("by_source", {}).items()]
        for part, name, figures, difference in lines:
            for metric in METRICS:
                cells = csv_table.figures(figures, (metric,)) + csv_table.figures(difference, (metric,))
                rows.append((detector, part, name, metric, *cells))
    return csv_table.text(("detector", "part", "name", "metric", *PARTS, *csv_table.columns(("difference",))), rows)
