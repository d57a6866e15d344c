"""A benchmark's own table from a predictions file: by subset, with the photographs that belong to it, beside what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json
from dgsnet.evaluation import metrics
from dgsnet.evaluation.benchmarks import published
from dgsnet.evaluation.benchmarks.registry import Benchmark, Subset
from dgsnet.evaluation.bootstrap import draws
from dgsnet.evaluation.interval import Interval, percentile_interval
from dgsnet.evaluation.metrics import METRICS
from dgsnet.evaluation.predictions import names_in, unperturbed
from dgsnet.inference import resumable_parquet

BENCHMARK_JSON = "benchmark.json"
THRESHOLD = 0.5
"""Threshold of the score, whatever threshold a model was calibrated to: published accuracies are at 0.5."""


@dataclass(frozen=True)
class _Rows:
    """Columns of a predictions file."""

    labels: NDArray[np.int8]  # (N,)
    scores: NDArray[np.float64]  # (N,), NaN where an image could not be scored
    generators: NDArray[np.object_]  # (N,)
    places: NDArray[np.object_]  # (N,) first part of the source: subset, or folder of shared photographs
    categories: NDArray[np.object_]  # (N,) the rest of it

    @classmethod
    def of(cls, predictions: Path) -> _Rows:
        table = unperturbed(predictions, ("label", "score", "generator", "source"))
        missing = [name for name in ("generator", "source") if name not in table.column_names]
        if missing:
            raise DatasetError(f"{predictions} lacks {', '.join(missing)}: score the benchmark with `dgsnet evaluate --benchmark`")
        table = table.filter(table["label"].is_valid())
        if not table.num_rows:
            raise DatasetError(f"{predictions} has no image with a label")
        places, categories = zip(*(source.partition("/")[::2] for source in names_in(table["source"])), strict=True)
        return cls(
            table["label"].to_numpy(),
            table["score"].cast("double").to_numpy(),  # null becomes NaN
            np.array(names_in(table["generator"]), dtype=object),
            np.array(places, dtype=object),
            np.array(categories, dtype=object),
        )


def evaluate(
    benchmark: Benchmark, predictions: Path, out: Path, *, resamples: int = 1000, unmatched: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Compute a benchmark's figures by its protocol into `out/benchmark.json`.

    Args:
        benchmark: whose protocol to follow.
        predictions: `predictions.parquet` of data that `dgsnet.evaluation.benchmarks.layouts` read.
        out: folder.
        resamples: of the bootstrap, at least 1.
        unmatched: images by folder that were left out, see `layouts.Found`.

    Returns:
        The content of `benchmark.json`. `subsets` has one report per subset that is there: the figures of `metrics.json`, `n_real`,
        `n_fake` and `failed`, `counts`, `published`, `difference` (ours minus published), `within` and `by_category`. `missing` names the
        others, `mean` holds the mean over all that are there, `leaderboard` what was published of the mean of other methods.

    Raises:
        DatasetError: the predictions hold no scored image of any subset, or a score out of range.
    """
    rows = _Rows.of(predictions)
    known = benchmark.subsets or tuple(Subset(str(name)) for name in sorted(_names(benchmark, rows)))
    parts = {subset.name: members for subset in known if (members := _members(benchmark, subset, rows)) is not None}
    if not parts:
        raise DatasetError(f"{predictions} holds no scored image of {benchmark.title}: it may be of other data")
    entries = published.by_subset(benchmark)
    settings: dict[str, Any] = {"threshold": THRESHOLD, "resamples": resamples}
    try:
        subsets = {
            subset.name: _report(rows, subset, parts[subset.name], entries.get(subset.name), settings)
            for subset in known
            if subset.name in parts
        }
        mean = _mean(benchmark, rows, parts, entries, settings)
    except ValueError as error:
        raise DatasetError(f"{predictions}: {error}") from error
    n_real, n_fake = int((rows.labels == 0).sum()), int((rows.labels == 1).sum())
    result = {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "paper": benchmark.paper,
        "note": benchmark.note,
        "photographs": "of each subset" if benchmark.own_photographs else "all, for each subset",
        "counts": {"n_real": n_real, "n_fake": n_fake} | _counted(benchmark.count, n_real, n_fake),
        "subsets": subsets,
        "missing": [subset.name for subset in known if subset.name not in parts],
        "left_out": dict(unmatched or {}),
        "mean": mean,
        "leaderboard": [
            {"method": one.method, "venue": one.venue, "note": one.note, "source": one.source}
            | {name: figure.value for name, figure in one.figures.items()}
            for one in published.leaderboard(benchmark)
        ],
        "computed_from": {"predictions": resumable_parquet.read_identity(predictions), "images": len(rows.labels), **settings},
    }
    write_json(out / BENCHMARK_JSON, result)
    return result


def _names(benchmark: Benchmark, rows: _Rows) -> set[str]:
    """Return the subsets of a benchmark that has no fixed list: sizes that hold photographs too, or generators."""
    return set(rows.places) if benchmark.own_photographs else set(rows.generators[rows.labels == 1])


def _members(benchmark: Benchmark, subset: Subset, rows: _Rows) -> NDArray[np.intp] | None:
    """Return indices of a subset's images, scored or not; None where it has no generated images or no photographs."""
    fake = (rows.labels == 1) & (rows.generators == subset.name)
    real = rows.labels == 0
    if benchmark.own_photographs:
        own = real & (rows.places == subset.name)
        real = own if own.any() or subset.photographs is None else real & (rows.places == subset.photographs)
    scored = ~np.isnan(rows.scores)
    return np.flatnonzero(real | fake) if (fake & scored).any() and (real & scored).any() else None


def _scored(rows: _Rows, members: NDArray[np.intp]) -> NDArray[np.intp]:
    return members[~np.isnan(rows.scores[members])]


def _report(
    rows: _Rows, subset: Subset, members: NDArray[np.intp], entry: published.Entry | None, settings: dict[str, Any]
) -> dict[str, Any]:
    scored = _scored(rows, members)
    ours = metrics.estimate(rows.labels[scored], rows.scores[scored], **settings)
    n_fake = int(rows.labels[members].sum())
    by_category = {}
    for category in sorted({str(name) for name in rows.categories[scored] if name}):
        kept = scored[rows.categories[scored] == category]
        by_category[category] = metrics.estimate(rows.labels[kept], rows.scores[kept], **settings).as_dict()
    return {
        **ours.as_dict(),
        "failed": len(members) - len(scored),
        "counts": _counted(subset.count, len(members) - n_fake, n_fake),
        **_beside(ours.figures, entry.figures if entry else {}, entry.source if entry else None),
        "by_category": by_category,
    }


def _counted(count: Any, n_real: int, n_fake: int) -> dict[str, Any]:
    if count is None:
        return {"published": None, "ok": None, "source": None}
    return {"published": str(count), "ok": count.matches(n_real, n_fake), "source": count.source}


def _beside(ours: Mapping[str, Interval], others: Mapping[str, published.Figure], source: str | None) -> dict[str, Any]:
    """Return published figures, how far ours are from them, and whether they may be the same."""
    differences = {name: None if (value := ours[name].value) is None else value - figure.value for name, figure in others.items()}
    return {
        "published": {name: figure.value for name, figure in others.items()},
        "source": source,
        "difference": differences,
        "within": {name: figure.agrees(ours[name]) for name, figure in others.items()},
    }


def _mean(
    benchmark: Benchmark,
    rows: _Rows,
    parts: Mapping[str, NDArray[np.intp]],
    entries: Mapping[str, published.Entry],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return the mean over subsets that are there. Published figures are averaged over the same subsets, if there are some of each."""
    chosen = {name: _scored(rows, members) for name, members in parts.items()}
    ours = _mean_of(rows, list(chosen.values()), settings, benchmark.own_photographs)
    absent = [subset.name for subset in benchmark.subsets if subset.name not in parts]
    mean = {"over": list(parts), "absent": absent, **{name: one.as_dict() for name, one in ours.items()}}
    both = [name for name in parts if name in entries]
    if not both:
        return mean | _beside({}, {}, None) | {"published_over": []}
    same = ours if len(both) == len(parts) else _mean_of(rows, [chosen[name] for name in both], settings, benchmark.own_photographs)
    figures = published.mean(entries[name] for name in both)
    return mean | _beside(same, figures, entries[both[0]].source) | {"published_over": both}


def _mean_of(rows: _Rows, parts: list[NDArray[np.intp]], settings: dict[str, Any], own_photographs: bool) -> dict[str, Interval]:
    """Average over parts. Generated images are drawn within their generator, photographs within the folder that subsets take them from."""
    kept = np.unique(np.concatenate(parts))
    fake = rows.labels == 1
    groups = np.where(fake, rows.generators, rows.places if own_photographs else "").astype(str)
    kept = kept[np.lexsort((rows.scores[kept], groups[kept], fake[kept]))]  # so that resamples do not depend on the order of the file
    _, strata = np.unique(np.stack([fake[kept].astype(str), groups[kept]]), axis=1, return_inverse=True)
    where = np.empty(len(rows.labels), dtype=np.intp)
    where[kept] = np.arange(len(kept))
    mean = metrics.mean_over_parts(rows.labels[kept], rows.scores[kept], [where[part] for part in parts], settings["threshold"])
    ((point, drawn),) = draws([mean], strata.ravel(), settings["resamples"])
    return {name: percentile_interval(point[name], drawn[name]) for name in METRICS}
