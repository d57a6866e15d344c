"""Evaluation: predictions first, metrics from them. So figures can be recomputed without scoring an image again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import write_json, write_text
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.evaluation import metrics
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.inference.parquet_writer import SCHEMA
from dgsnet.inference.verdict import Verdict

PREDICTIONS, METRICS_JSON, METRICS_CSV = "predictions.parquet", "metrics.json", "metrics.csv"

PERTURBATION = "perturbation"
"""The column that only predictions of `dgsnet.evaluation.robustness` have."""

PREDICTION_SCHEMA = pa.schema(
    [("label", pa.int8()), ("split", pa.string()), ("source", pa.string()), ("generator", pa.string()), ("group", pa.string()), *SCHEMA]
)
"""A row of `detect` with what is known of the image."""


def predict(detector: Detector, dataset: Dataset, out: Path, progress: Progress | None = None) -> Path:
    """Score a data set into `out/predictions.parquet`.

    Rows reach disk one by one in a file beside it; after `kill -9` the same call goes on from there. A finished file of the same model and
    data is kept as it is. An image that cannot be read or decoded is a row with `error`.

    Raises:
        DatasetError: `out` holds predictions, finished or not, of another model or other data.
    """

    def rows_from(done: int) -> Iterator[dict[str, Any]]:
        return _scored(detector, dataset, dataset.samples[done:])

    return resumable_parquet.write(out / PREDICTIONS, identity_of(detector, dataset), PREDICTION_SCHEMA, rows_from, len(dataset), progress)


def identity_of(detector: Detector, dataset: Dataset) -> dict[str, str]:
    """What predictions are of; kept in their file."""
    return {
        "model": detector.fingerprint,
        "data": dataset.fingerprint(),
        "threshold": str(detector.config.calibration.generated),
        "dgsnet": __version__,
    }


def evaluate(
    predictions: Path,
    out: Path,
    *,
    group: str = "generator",
    threshold: float = 0.5,
    resamples: int = 1000,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Metrics of a predictions file into `out/metrics.json` and `out/metrics.csv`.

    Args:
        predictions: `predictions.parquet`.
        out: folder.
        group: the column generated images are grouped by.
        threshold: score from which an image counts as AI-generated.
        resamples: of the bootstrap.
        cluster: the column whose images the bootstrap draws together, such as ``group``; an image without a value stands alone. None: every
            image on its own.

    Returns:
        The content of `metrics.json`: `overall`, `by_generator` (each generator with all photographs), `mean_over_generators`, and what
        they were computed from.

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
        "mean_over_generators": {name: vars(figure) for name, figure in mean.items()},
        "computed_from": {
            "predictions": resumable_parquet.identity_in(predictions),
            "images": images,
            "failed": images - table.num_rows,
            "group": group,
            "bootstrap": "95 % percentile interval, photographs and generated images resampled separately, seed 0"
            + ("" if cluster is None else f", images of one {cluster} together"),
            **settings,
        },
    }
    write_json(out / METRICS_JSON, result)
    write_text(out / METRICS_CSV, _as_csv(result))
    return result


def recorded_threshold(predictions: Path) -> float:
    """The threshold of the model that made a predictions file; 0.5 where the file does not say."""
    return float(resumable_parquet.identity_in(predictions).get("threshold", 0.5))


def read_predictions(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a predictions file.

    Args:
        file: `predictions.parquet`.
        columns: those to read, in this order, which `file` may lack; all where None.

    Raises:
        DatasetError: it cannot be read or lacks `label` or `score`.
    """
    known = columns_of(file)
    missing = {"label", "score"} - set(known)
    if missing:
        raise DatasetError(f"{file} is no predictions file: it lacks {', '.join(sorted(missing))}")
    try:
        return pq.read_table(file, columns=None if columns is None else [name for name in dict.fromkeys(columns) if name in known])
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"the predictions {file} cannot be read: {error}") from error


def unperturbed(file: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a predictions file in which each image stands once, as it is; see `read_predictions`.

    Raises:
        DatasetError: as `read_predictions`, or the file holds each image under several perturbations, which must not be pooled.
    """
    if PERTURBATION in columns_of(file):
        raise DatasetError(
            f"{file} holds predictions under perturbations, each image many times: see the figures beside it, made by `dgsnet robustness`, "
            "or give the predictions of `dgsnet evaluate`"
        )
    return read_predictions(file, columns)


def columns_of(file: Path) -> list[str]:
    """Names of the columns of a predictions file, without reading a row.

    Raises:
        DatasetError: it cannot be read.
    """
    return list(resumable_parquet.schema_of(file).names)


def scored_only(table: pa.Table) -> pa.Table:
    """The rows that have both a label and a score."""
    return table.filter(pc.and_(table["label"].is_valid(), table["score"].is_valid()))


def names_in(column: pa.ChunkedArray) -> list[str]:
    """The (N,) strings of a column, ``unknown`` where it has none; equal ones are one object, so that they take little memory."""
    codes = column.cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
    names = [name or "unknown" for name in codes.dictionary.to_pylist()]
    return [names[code] for code in codes.indices.to_numpy()]


def _clusters(column: pa.ChunkedArray) -> NDArray[np.intp]:
    """(N,) numbers, the same for images of one value; an image without a value gets one of its own."""
    codes = column.cast(pa.string()).combine_chunks().dictionary_encode().indices
    numbers: NDArray[np.intp] = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
    alone = numbers < 0
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(alone.sum())
    return numbers


def failures(file: Path) -> list[str]:
    """Why images of a predictions file have no score, one text an image, in the order of the file."""
    errors = read_predictions(file, ("error",))
    return [error for error in errors["error"].drop_null().to_pylist() if error] if "error" in errors.column_names else []


def _scored(detector: Detector, dataset: Dataset, samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    for sample, verdict in zip(samples, detector.detect_many(content(dataset, sample) for sample in samples), strict=True):
        yield prediction(sample, verdict)


def prediction(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    """A row of `PREDICTION_SCHEMA`."""
    facts = {
        "label": sample.label,
        "split": sample.split,
        "source": sample.source,
        "generator": sample.generator,
        "group": sample.group,
    }
    return facts | verdict.as_dict() | {"path": sample.path}


def content(dataset: Dataset, sample: Sample) -> BinaryIO:
    """A sample as the file object a detector takes: read by the thread that decodes it, and named in the error of its row."""
    return cast(BinaryIO, _Content(dataset, sample))


@dataclass(frozen=True)
class _Content:
    dataset: Dataset
    sample: Sample

    @property
    def name(self) -> str:
        return self.sample.path

    def read(self, limit: int) -> bytes:
        try:
            return self.dataset.read(self.sample, limit)
        except DatasetError as error:
            raise DecodeError("cannot be read; restore it or leave it out") from error


def _as_csv(result: dict[str, Any]) -> str:
    """One line a generator, after `overall`."""
    text = io.StringIO()
    columns = [column for name in metrics.METRICS for column in (name, f"{name}_low", f"{name}_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["generator", "n_real", "n_fake", *columns])
    for name, report in [("overall", result["overall"]), *result["by_generator"].items()]:
        cells = [report[metric][part] for metric in metrics.METRICS for part in ("value", "low", "high")]
        writer.writerow([name, report["n_real"], report["n_fake"], *("" if cell is None else f"{cell:.6f}" for cell in cells)])
    return text.getvalue()
