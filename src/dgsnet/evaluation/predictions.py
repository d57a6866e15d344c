"""The predictions file: one row per labelled image, scored once, from which every figure is computed and can be computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import Dataset, Sample, open_sample
from dgsnet.data.parquet_columns import schema_of
from dgsnet.evaluation.perturbed_sources import perturbed_sources
from dgsnet.images.decode import Source
from dgsnet.images.perturb import Perturbation
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.inference.parquet_writer import SCHEMA
from dgsnet.inference.verdict import Verdict

PREDICTIONS = "predictions.parquet"

PERTURBATION = "perturbation"
"""The column that only predictions of `dgsnet.evaluation.robustness` have."""

PREDICTION_SCHEMA = pa.schema(
    [("label", pa.int8()), ("split", pa.string()), ("source", pa.string()), ("generator", pa.string()), ("group", pa.string()), *SCHEMA]
)
"""A row of `detect` with what is known of the image."""


def predict(detector: Detector, dataset: Dataset, out: Path, progress: Progress | None = None, journey: Perturbation | None = None) -> Path:
    """Score a data set into `out/predictions.parquet`; with a `journey`, every image after it, whatever its label.

    Rows reach disk one by one in a file beside it; after `kill -9` the same call goes on from there. A finished file of the same model and
    data is kept as it is. An image that cannot be read or decoded is a row with `error`.

    Raises:
        DatasetError: `out` holds predictions, finished or not, of another model, other data or another journey.
    """
    identity = identity_of(detector, dataset) | ({} if journey is None else {"journey": str(journey)})

    def rows_from(done: int) -> Iterator[dict[str, Any]]:
        return _scored(detector, dataset, dataset.samples[done:], journey)

    return resumable_parquet.write(out / PREDICTIONS, identity, PREDICTION_SCHEMA, rows_from, len(dataset), progress)


def identity_of(detector: Detector, dataset: Dataset) -> dict[str, str]:
    """Return the model and data that predictions are of; kept in their file."""
    return {
        "model": detector.fingerprint,
        "data": dataset.fingerprint(),
        "threshold": str(detector.config.calibration.generated),
        "dgsnet": __version__,
    }


def recorded_threshold(predictions: Path) -> float:
    """Return the threshold of the model that made a predictions file; 0.5 where the file does not say."""
    return float(resumable_parquet.read_identity(predictions).get("threshold", 0.5))


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
    """Return the names of the columns of a predictions file, without reading a row.

    Raises:
        DatasetError: it cannot be read.
    """
    return list(schema_of(file, resumable_parquet.UNREADABLE).names)


def scored_only(table: pa.Table) -> pa.Table:
    """Return the rows that have both a label and a score."""
    return table.filter(pc.and_(table["label"].is_valid(), table["score"].is_valid()))


def names_in(column: pa.ChunkedArray) -> list[str]:
    """Return the (N,) strings of a column, ``unknown`` where it has none; equal ones are one object, so that they take little memory."""
    codes = column.cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
    names = [name or "unknown" for name in codes.dictionary.to_pylist()]
    return [names[code] for code in codes.indices.to_numpy()]


def failures(file: Path) -> list[str]:
    """Return why images of a predictions file have no score, one text per image, in the order of the file."""
    errors = read_predictions(file, ("error",))
    return [error for error in errors["error"].drop_null().to_pylist() if error] if "error" in errors.column_names else []


def _scored(detector: Detector, dataset: Dataset, samples: Sequence[Sample], journey: Perturbation | None) -> Iterator[dict[str, Any]]:
    if journey is None:
        sources: Iterator[Source] = (open_sample(dataset, sample) for sample in samples)
    else:
        sources = perturbed_sources(dataset, ((sample, journey) for sample in samples), detector.policy)
    for sample, verdict in zip(samples, detector.detect_many(sources), strict=True):
        yield prediction(sample, verdict)


def prediction(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    """Return a row of `PREDICTION_SCHEMA`."""
    facts = {name: getattr(sample, name) for name in ("label", "split", "source", "generator", "group")}
    return facts | verdict.as_dict() | {"path": sample.path}
