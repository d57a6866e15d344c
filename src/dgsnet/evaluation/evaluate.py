"""Metrics of a predictions file, overall and by generator, into `metrics.json` and `metrics.csv`; no image is scored for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json, write_text
from dgsnet.evaluation import csv_table, direction, metrics
from dgsnet.evaluation.predictions import columns_of, names_in, scored_only, unperturbed
from dgsnet.inference import resumable_parquet

METRICS_JSON, METRICS_CSV = "metrics.json", "metrics.csv"


def evaluate(
    predictions: Path, out: Path, *, group: str = "generator", threshold: float = 0.5, resamples: int = 1000, cluster: str | None = None
) -> dict[str, Any]:
    """Compute metrics of a predictions file into `out/metrics.json` and `out/metrics.csv`.

    Args:
        predictions: `predictions.parquet`.
        out: folder.
        group: the column generated images are grouped by.
        threshold: score from which an image counts as AI-generated.
        resamples: of the bootstrap.
        cluster: the column whose images the bootstrap draws together, such as ``group``; an image without a value stands alone. None: every
            image on its own.

    Returns:
        The content of `metrics.json`: `overall`, `by_generator` (each generator with all photographs), `mean_over_generators`, what they
        were computed from, and `warnings`, as of labels that are the wrong way round.

    Raises:
        DatasetError: a column is missing, no image has a score and a label, one is out of range, or the file is one of `robustness`.
    """
    table = unperturbed(predictions, ("label", "score", group, *([cluster] if cluster else [])))
    for column, purpose in ((group, "group by"), (cluster, "draw together by")):
        if column and column not in table.column_names:
            raise DatasetError(f"{predictions} has no column {column!r} to {purpose}: it has {', '.join(columns_of(predictions))}")
    images, table = table.num_rows, scored_only(table)
    if not table.num_rows:
        raise DatasetError(f"{predictions} has no image with both a score and a label")
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    generators = names_in(table[group])
    settings: dict[str, Any] = {"threshold": threshold, "resamples": resamples}
    together: dict[str, Any] = {"clusters": None if cluster is None else _clusters(table[cluster])}
    try:
        overall = metrics.estimate(labels, scores, **settings, **together)
        by_generator = metrics.by_generator(labels, scores, generators, **settings, **together)
        mean = metrics.macro_average(labels, scores, generators, **settings, **together)
    except ValueError as error:
        raise DatasetError(f"{predictions}: {error}") from error
    result = {
        "overall": overall.as_dict(),
        "by_generator": {name: report.as_dict() for name, report in by_generator.items()},
        "mean_over_generators": {name: figure.as_dict() for name, figure in mean.items()},
        "computed_from": {
            "predictions": resumable_parquet.read_identity(predictions),
            "images": images,
            "failed": images - table.num_rows,
            "group": group,
            "bootstrap": "95 % percentile interval, photographs and generated images resampled separately, seed 0"
            + ("" if cluster is None else f", images of one {cluster} together"),
            **settings,
        },
        "warnings": [said for said in (direction.in_reverse(overall.figures["auroc"].as_dict()),) if said],
    }
    write_json(out / METRICS_JSON, result)
    write_text(out / METRICS_CSV, _as_csv(result))
    return result


def _clusters(column: pa.ChunkedArray) -> NDArray[np.intp]:
    """Return (N,) numbers, the same for images of one value; an image without a value gets one of its own."""
    codes = column.cast(pa.string()).combine_chunks().dictionary_encode().indices
    numbers: NDArray[np.intp] = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
    alone = numbers < 0
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(alone.sum())
    return numbers


def _as_csv(result: dict[str, Any]) -> str:
    """Return one line per generator, after `overall`."""
    rows = [
        (name, report["n_real"], report["n_fake"], *csv_table.figures(report, metrics.METRICS))
        for name, report in [("overall", result["overall"]), *result["by_generator"].items()]
    ]
    return csv_table.text(("generator", "n_real", "n_fake", *csv_table.columns(metrics.METRICS)), rows)
