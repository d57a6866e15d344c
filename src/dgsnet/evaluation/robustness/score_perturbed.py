"""Score images as they are and under perturbations into a predictions file, and read it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.progress import Progress

from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation.perturbed_sources import Work, perturbed_sources
from dgsnet.evaluation.predictions import PERTURBATION, PREDICTION_SCHEMA, PREDICTIONS, identity_of, prediction, read_predictions
from dgsnet.images.perturb import Perturbation
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector

CLEAN = "none"
"""Value of the column `perturbation` for an image as it is."""

SCHEMA = pa.schema([(PERTURBATION, pa.string()), ("severity", pa.float64()), *PREDICTION_SCHEMA])
"""A row of `evaluate` and what was done to the image before. `sha256`, `width`, `height` and `format` are those after it."""

Key = tuple[str, float | None]
"""Perturbation and severity."""

CLEAN_KEY: Key = (CLEAN, None)

_COLUMNS = ("path", "perturbation", "severity", "label", "score", "logit", "verdict")


def predict(
    detector: Detector,
    dataset: Dataset,
    out: Path,
    perturbations: Sequence[Perturbation],
    progress: Progress | None = None,
    batch_size: int = 2,
) -> Path:
    """Score each image as it is and under each perturbation into `out/predictions.parquet`.

    Rows come image by image, the clean one first, and reach disk one by one; after `kill -9` the same call goes on from there. An image
    that cannot be decoded, perturbed or scored is a row with `error`. A GPU gets `batch_size` images at once; up to twice as many perturbed
    pictures are in memory.

    Raises:
        DatasetError: `out` holds predictions, finished or not, of another model, other data or other perturbations.
        ValueError: there are no perturbations, or one comes twice.
    """
    if not perturbations or len(set(perturbations)) < len(perturbations):
        raise ValueError(f"expected perturbations, each once, but got {', '.join(map(str, perturbations)) or 'none'}")
    work: list[Work] = [(sample, perturbation) for sample in dataset for perturbation in (None, *perturbations)]
    identity = identity_of(detector, dataset) | {"perturbations": ", ".join(map(str, perturbations))}

    def rows_from(done: int) -> Iterator[dict[str, Any]]:
        return _scored(detector, dataset, work[done:], batch_size)

    return resumable_parquet.write(out / PREDICTIONS, identity, SCHEMA, rows_from, len(work), progress)


def rows_by_perturbation(predictions: Path) -> tuple[dict[Key, list[dict[str, Any]]], int]:
    """Return rows with a label by perturbation, in the order of the file, and how many rows it has.

    Raises:
        DatasetError: the file is not one of `predict`.
    """
    table = read_predictions(predictions)
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DatasetError(f"{predictions} holds no predictions under perturbations: it lacks {', '.join(missing)}")
    rows: dict[Key, list[dict[str, Any]]] = {CLEAN_KEY: []}
    kept = [*_COLUMNS, *({"generator"} & set(table.column_names))]
    for row in table.select(kept).to_pylist():
        if row["label"] is not None:
            rows.setdefault((row["perturbation"], row["severity"]), []).append({"generator": None} | row)
    return rows, table.num_rows


def _scored(detector: Detector, dataset: Dataset, work: Sequence[Work], batch_size: int) -> Iterator[dict[str, Any]]:
    verdicts = detector.detect_many(perturbed_sources(dataset, work, detector.policy), batch_size)
    for (sample, perturbation), verdict in zip(work, verdicts, strict=True):
        row = prediction(sample, verdict)
        if perturbation is None:
            yield {"perturbation": CLEAN, "severity": None} | row
            continue
        if row["error"] and not row["error"].startswith(f"{sample.path}: "):
            row["error"] = f"{sample.path} after {perturbation}: {row['error']}"
        yield {"perturbation": perturbation.name, "severity": perturbation.severity} | row
