"""How scores and verdicts change when the same images are compressed, scaled or otherwise perturbed: predictions first, figures from them.

A *flip* is a verdict that differs from that of the unperturbed ("clean") image: *opposite* between real and ai-generated, else into or out
of inconclusive. Whether either verdict is right does not matter for it.

Intervals are 95 % percentile intervals of a bootstrap over images, photographs and generated images resampled separately, and one resample
serves all perturbations. No resample shows a flip that the data does not: an interval of 0..0 over n images only says that the rate is
probably below 3 / n.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet import evaluation, metrics, row_file
from dgsnet.bootstrap import weightings
from dgsnet.dataset import Dataset, Sample
from dgsnet.decoding import Source, decode
from dgsnet.detector import Detector
from dgsnet.errors import DatasetError, DecodeError
from dgsnet.files import replacing, write_json, write_text
from dgsnet.perturbations import SUITES, Perturbation

SEVERITY_PNG = "severity.png"
CLEAN = "none"
"""What the column `perturbation` says of an image as it is."""

SCHEMA = pa.schema([("perturbation", pa.string()), ("severity", pa.float64()), *evaluation.PREDICTION_SCHEMA])
"""A row of `evaluate` and what was done to the image before. `sha256`, `width`, `height` and `format` are those after it."""

ACCURACY = ("auroc", "balanced_acc", "real_acc", "fake_acc")
CHANGE = ("flip_rate", "opposite_rate", "inconclusive_rate", "mean_abs_delta_logit")
"""Figures of one perturbation. `flip_rate` is the sum of the next two; the last is the mean of |logit - logit of the clean image|."""

MEAN_CHANGE = ("mean_flip_rate", "mean_opposite_rate", "mean_inconclusive_rate", "mean_abs_delta_logit")
"""The means of those over several perturbations, each counting the same."""

_PARTS = ("value", "low", "high")
_LABELS = ("real", "fake")  # by label 0, 1
_SEED = 0

Floats = NDArray[np.float64]
_Work = tuple[Sample, Perturbation | None]  # None: as it is


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
    that cannot be decoded, perturbed or judged is a row with `error`.

    Args:
        detector: the model.
        dataset: the images.
        out: folder.
        perturbations: at least one, none twice.
        progress: shows how far it is.
        batch_size: images a GPU gets at once; up to twice as many perturbed pictures are in memory.

    Raises:
        DatasetError: `out` holds predictions, finished or not, of another model, other data or other perturbations.
        ValueError: there are no perturbations, or one comes twice.
    """
    if not perturbations or len(set(perturbations)) < len(perturbations):
        raise ValueError(f"expected perturbations, each once, but got {', '.join(map(str, perturbations)) or 'none'}")
    work: list[_Work] = [(sample, perturbation) for sample in dataset for perturbation in (None, *perturbations)]
    identity = evaluation.identity_of(detector, dataset) | {"perturbations": ", ".join(map(str, perturbations))}

    def rows_from(done: int) -> Iterator[dict[str, Any]]:
        return _scored(detector, dataset, work[done:], batch_size)

    return row_file.write(out / evaluation.PREDICTIONS, identity, SCHEMA, rows_from, len(work), progress)


def evaluate(predictions: Path, out: Path, *, resamples: int = 1000) -> dict[str, Any]:
    """Figures of a predictions file of `predict` into `out/metrics.json`, `out/metrics.csv` and the plot `out/severity.png`.

    Args:
        predictions: `predictions.parquet`.
        out: folder.
        resamples: of the bootstrap, at least 1.

    Returns:
        The content of `metrics.json`. Figures are `{"value", "low", "high"}`, null where there is no image for them:

        - `clean`: the figures of `ACCURACY` of the images as they are.
        - `perturbations`: a list, each with `perturbation`, `severity`, those figures, and those of `CHANGE`, also `by_label`.
        - `overall`, `by_kind` (perturbations of one name), `by_suite` (each named suite that was run whole): `flips_any` and
          `opposite_any`, the share of images that flip under at least one of the perturbations, over images scored under all of them; and
          means over the perturbations of the figures of `CHANGE`. Also `by_label`.
        - `computed_from`.

    Raises:
        DatasetError: the file is not one of `predict`, or no image has a label and a score as it is and under a perturbation.
    """
    if resamples < 1:
        raise ValueError(f"expected at least 1 resample but got {resamples}")
    by_perturbation, total = _read(predictions)
    threshold = evaluation.recorded_threshold(predictions)
    clean, perturbed = by_perturbation[_CLEAN_KEY], {key: rows for key, rows in by_perturbation.items() if key != _CLEAN_KEY}
    changes = _Changes.of(clean, list(perturbed.values()))
    if not changes.known.any():
        raise DatasetError(f"{predictions}: no labelled image has a score both as it is and under a perturbation")
    figures = _Figures(changes, resamples)
    keys = list(perturbed)

    def accuracy(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return _accuracy(rows, predictions, threshold=threshold, resamples=resamples)

    def over(chosen: list[_Key]) -> dict[str, Any]:
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
        "computed_from": {
            "predictions": row_file.identity_in(predictions),
            "images": len(clean),
            "rows": total,
            "failed_rows": total - sum(row["score"] is not None for rows in by_perturbation.values() for row in rows),
            "threshold": threshold,
            "resamples": resamples,
            "bootstrap": "95 % percentile interval, photographs and generated images resampled separately, seed 0",
        },
    }
    write_json(out / evaluation.METRICS_JSON, result)
    write_text(out / evaluation.METRICS_CSV, _as_csv(result))
    with replacing(out / SEVERITY_PNG) as aside:
        severity_panels(result).savefig(aside, format="png", dpi=150)
    return result


def severity_panels(result: Mapping[str, Any]) -> Figure:
    """Of a result of `evaluate`: AUROC and flip rate over severity with their intervals, one panel a kind."""
    kinds = list(result["by_kind"])
    columns = min(4, len(kinds))
    rows = -(-len(kinds) // columns)
    picture = Figure(figsize=(1.2 + 2.9 * columns, 1 + 2.4 * rows), layout="constrained")
    grid = picture.subplots(rows, columns, sharey=True, squeeze=False)
    clean = result["clean"]["auroc"]["value"]
    for number, axes in enumerate(grid.flat):
        if number >= len(kinds):
            axes.set_axis_off()
            continue
        found = [one for one in result["perturbations"] if one["perturbation"] == kinds[number]]
        places = list(range(len(found)))
        for name, colour, label in (("auroc", "#1f77b4", "AUROC"), ("flip_rate", "#d95f02", "flip rate")):
            value, low, high = (np.array([one[name][part] for one in found], dtype=float) for part in _PARTS)
            # The interval of a share close to 1 may end below it by rounding; a bar of negative length is refused.
            reach = np.maximum([value - low, high - value], 0)
            axes.errorbar(places, value, yerr=reach, fmt="o-", color=colour, capsize=3, markersize=4, linewidth=1, label=label)
        if clean is not None:
            axes.axhline(clean, color="#1f77b4", linewidth=0.8, linestyle=":", label="AUROC, clean")
        axes.set_xticks(places, ["" if one["severity"] is None else f"{one['severity']:g}" for one in found])
        axes.set_xlim(-0.5, len(found) - 0.5)
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(kinds[number], loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return picture


# --- Scoring ---


def _scored(detector: Detector, dataset: Dataset, work: Sequence[_Work], batch_size: int) -> Iterator[dict[str, Any]]:
    verdicts = detector.detect_many(_sources(detector, dataset, work), batch_size)
    for (sample, perturbation), verdict in zip(work, verdicts, strict=True):
        row = evaluation.prediction(sample, verdict)
        if perturbation is None:
            yield {"perturbation": CLEAN, "severity": None} | row
            continue
        if row["error"] and not row["error"].startswith(f"{sample.path}: "):
            row["error"] = f"{sample.path} after {perturbation}: {row['error']}"
        yield {"perturbation": perturbation.name, "severity": perturbation.severity} | row


def _sources(detector: Detector, dataset: Dataset, work: Sequence[_Work]) -> Iterator[Source]:
    """What the detector gets; pictures are decoded once for all their perturbations, and perturbed only when asked for, to spare memory."""
    for sample, tasks in groupby(work, key=lambda task: task[0]):
        original = evaluation.content(dataset, sample)
        try:
            image = decode(original, detector.policy)
        except DecodeError:
            image = None
        for _, perturbation in tasks:
            if image is None or perturbation is None:
                yield original  # what cannot be decoded: the detector says why, in each row
                continue
            try:
                yield perturbation.apply(image.pixels, image.sha256)
            except DecodeError as error:
                yield cast(BinaryIO, _Refused(sample.path, str(error)))


@dataclass(frozen=True)
class _Refused:
    """Stands for a picture that could not be perturbed, so that its row says why."""

    name: str
    why: str

    def read(self, limit: int) -> bytes:
        raise DecodeError(self.why)


# --- Figures ---

_Key = tuple[str, float | None]
_CLEAN_KEY: _Key = (CLEAN, None)
_COLUMNS = ("path", "perturbation", "severity", "label", "score", "logit", "verdict")


def _read(predictions: Path) -> tuple[dict[_Key, list[dict[str, Any]]], int]:
    """Rows with a label by perturbation, in the order of the file, and how many rows it has."""
    table = evaluation.read_predictions(predictions)
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DatasetError(f"{predictions} holds no predictions under perturbations: it lacks {', '.join(missing)}")
    rows: dict[_Key, list[dict[str, Any]]] = {_CLEAN_KEY: []}
    for row in table.select(list(_COLUMNS)).to_pylist():
        if row["label"] is not None:
            rows.setdefault((row["perturbation"], row["severity"]), []).append(row)
    return rows, table.num_rows


def _accuracy(rows: list[dict[str, Any]], predictions: Path, **settings: Any) -> dict[str, Any]:
    kept = [row for row in rows if row["score"] is not None]
    sizes: dict[str, Any] = {"failed": len(rows) - len(kept)}
    if not kept:
        return {name: dict.fromkeys(_PARTS) for name in ACCURACY} | {"n_real": 0, "n_fake": 0} | sizes
    try:
        report = metrics.estimate([row["label"] for row in kept], [row["score"] for row in kept], seed=_SEED, **settings).as_dict()
    except ValueError as error:
        raise DatasetError(f"{predictions}: {error}") from error
    return {name: report[name] for name in (*ACCURACY, "n_real", "n_fake")} | sizes


@dataclass(frozen=True)
class _Changes:
    """What P perturbations did to N labelled images that were scored as they are; NaN where the perturbed image has no score."""

    labels: NDArray[np.int64]  # (N,)
    flips: Floats  # (N, P) 0 or 1
    opposite: Floats  # (N, P) 0 or 1
    logits: Floats  # (N, P) absolute difference

    @classmethod
    def of(cls, clean: list[dict[str, Any]], perturbed: list[list[dict[str, Any]]]) -> _Changes:
        images = [row for row in clean if row["score"] is not None]
        places = {row["path"]: number for number, row in enumerate(images)}
        flips, opposite, logits = (np.full((len(images), len(perturbed)), np.nan) for _ in range(3))
        for column, rows in enumerate(perturbed):
            for row in rows:
                place = places.get(row["path"])
                if place is None or row["score"] is None:
                    continue
                before, after = images[place]["verdict"], row["verdict"]
                flips[place, column] = before != after
                opposite[place, column] = {before, after} == {"real", "ai-generated"}
                logits[place, column] = abs(row["logit"] - images[place]["logit"])
        return cls(np.array([row["label"] for row in images], dtype=np.int64), flips, opposite, logits)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N, P)."""
        return ~np.isnan(self.flips)


@dataclass(frozen=True)
class _Figures:
    """Figures of changes, with intervals."""

    changes: _Changes
    resamples: int

    @cached_property
    def _means(self) -> _Resampled:
        """Of `CHANGE` of each perturbation: columns (P, 4), flattened."""
        one = self.changes
        values = np.stack([one.flips, one.opposite, one.flips - one.opposite, one.logits], axis=2)
        return _Resampled.of(values.reshape(len(one.labels), -1), one.labels, self.resamples)

    def of_one(self, column: int) -> dict[str, Any]:
        """`CHANGE` of the perturbation in this column, how many images that is over, and the same by label."""
        known = self.changes.known[:, column]
        return self._by_label(known, lambda labels: dict(zip(CHANGE, self._change([column], labels), strict=True)))

    def of_group(self, columns: list[int]) -> dict[str, Any]:
        """Any flip, the means over these perturbations of `CHANGE`, how many images are scored under all, and the same by label."""
        known: NDArray[np.bool_] = np.all(self.changes.known[:, columns], axis=1)
        anywhere = [np.where(known, one[:, columns].max(axis=1), np.nan) for one in (self.changes.flips, self.changes.opposite)]
        resampled = _Resampled.of(np.stack(anywhere, axis=1), self.changes.labels, self.resamples)

        def figures(labels: list[int]) -> dict[str, Any]:
            any_flip, any_opposite = (_estimate(one) for one in resampled.means(labels).T)
            means = dict(zip(MEAN_CHANGE, self._change(columns, labels), strict=True))
            return {"flips_any": any_flip, "opposite_any": any_opposite, **means}

        return self._by_label(known, figures)

    def _change(self, columns: list[int], labels: list[int]) -> list[dict[str, float | None]]:
        """Means over perturbations of each figure of `CHANGE`; a perturbation under which nothing could be scored does not count."""
        means = self._means.means(labels)
        chosen = means.reshape(len(means), -1, len(CHANGE))[:, columns]
        counted = ~np.isnan(chosen)
        with np.errstate(invalid="ignore"):
            over = np.where(counted, chosen, 0).sum(axis=1) / counted.sum(axis=1)
        return [_estimate(one) for one in over.T]

    def _by_label(self, known: NDArray[np.bool_], figures: Callable[[list[int]], dict[str, Any]]) -> dict[str, Any]:
        parts = {
            name: {"images": int((known & (self.changes.labels == label)).sum()), **figures([label])} for label, name in enumerate(_LABELS)
        }
        return {"images": int(known.sum()), **figures([0, 1]), "by_label": parts}


@dataclass(frozen=True)
class _Resampled:
    """Weighted sums of K columns over the images of each label, and of the weights of those that have a value there.

    Both are (2, 1 + R, K): by label; then the images as they are and R resamples of them; then column.
    """

    sums: Floats
    weights: Floats

    @classmethod
    def of(cls, values: Floats, labels: NDArray[np.int64], resamples: int) -> _Resampled:
        """Of values (N, K), NaN where an image has none, and labels (N,). The same resamples for the same labels, whatever the values."""
        sums, weights = (np.zeros((len(_LABELS), 1 + resamples, values.shape[1])) for _ in range(2))
        known, filled = (~np.isnan(values)).astype(np.float64), np.nan_to_num(values)
        done = 0
        for drawn in chain([np.ones((1, len(labels)))], weightings(labels, resamples, _SEED)):
            rows = slice(done, done + len(drawn))
            done = rows.stop
            for label in range(len(_LABELS)):
                members = labels == label
                sums[label, rows], weights[label, rows] = drawn[:, members] @ filled[members], drawn[:, members] @ known[members]
        return cls(sums, weights)

    def means(self, labels: list[int]) -> Floats:
        """(1 + R, K) means over the images of these labels; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            means: Floats = self.sums[labels].sum(axis=0) / self.weights[labels].sum(axis=0)
        return means


def _estimate(draws: Floats) -> dict[str, float | None]:
    """The first of (1 + R,) draws, and the interval the others give."""
    if np.isnan(draws[0]):
        return dict.fromkeys(_PARTS)
    # A resample can miss every image that has a value where those are few; then it says nothing.
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return {"value": float(draws[0]), "low": float(low), "high": float(high)}


def _as_csv(result: dict[str, Any]) -> str:
    """One line a perturbation, after the clean images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (*ACCURACY, *CHANGE)
    writer.writerow(
        [
            *("perturbation", "severity", "n_real", "n_fake", "failed"),
            *(column for name in names for column in (name, f"{name}_low", f"{name}_high")),
        ]
    )
    for one in ({"perturbation": CLEAN, "severity": None, **result["clean"]}, *result["perturbations"]):
        cells = [one[name][part] if name in one else None for name in names for part in _PARTS]
        severity = "" if one["severity"] is None else f"{one['severity']:g}"
        sizes = one["n_real"], one["n_fake"], one["failed"]
        writer.writerow([one["perturbation"], severity, *sizes, *("" if cell is None else f"{cell:.6f}" for cell in cells)])
    return text.getvalue()
