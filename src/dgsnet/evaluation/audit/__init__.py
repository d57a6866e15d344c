"""Audit of a data set: how well its real and generated images can be told apart by what is *not* what they show.

A detector learns the cheapest thing that separates its labels. If photographs are JPEG and generated images PNG, that is the container, and
its test figures, over images of the same make, say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.append_log import ResultStore
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import sha256_bytes, write_json
from dgsnet.data import duplicates
from dgsnet.data.caption_leak import caption_only_auc
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.evaluation.audit import classifier
from dgsnet.evaluation.audit.columns import COLUMNS, VERSION, Column, measure
from dgsnet.provenance import Marks, load_marks

AUDIT_JSON = "audit.json"
STRONG, NOTABLE = 0.75, 0.6
"""AUC from which a shortcut alone would carry a detector, and from which it is worth a look."""

_EXAMPLES = 50
_DIGITS = 4


def audit(dataset: Dataset, out: Path, progress: Progress | None = None, marks: Marks | None = None) -> dict[str, Any]:
    """Measure every image and write `out/audit.json`.

    What was measured is kept in `out`, by content: after a kill, and after images were added, the same call measures the rest only.
    `marks` is the table of generators' marks; None: the package's own.

    Returns:
        The content of `audit.json`. `shortcut_auc`, 0.5..1, is the AUC over random folds of a classifier that sees the columns of
        `dgsnet.evaluation.audit.columns` and nothing else; `shortcut` has its interval, `across_sources` the same for sources never seen,
        `features` the AUC of each column alone (sorted), `captions` that of the captions; `duplicates`, `generator_marks`, `unreadable`,
        `counts` and `advice` speak for themselves.

    Raises:
        DatasetError: an image has no label, or a label has fewer than two readable images.
    """
    dataset.labels()
    measured, unreadable = _measure_all(dataset, out, progress, marks or load_marks())
    labels = np.array([sample.label for sample, _ in measured], np.int64)
    for label, name in enumerate(("photographs", "generated images")):
        if (labels == label).sum() < 2:
            few = int((labels == label).sum())
            raise DatasetError(f"{dataset.root}: an audit compares labels, and {few} {name} could be read; it needs two at least")
    samples, rows = [sample for sample, _ in measured], [row for _, row in measured]
    result: dict[str, Any] = {
        "shortcut_auc": 0.5,
        "shortcut": _rounded(classifier.shortcut(rows, [column for column in COLUMNS if column.counts], labels)),
        "across_sources": _rounded(
            classifier.across_sources(rows, [column for column in COLUMNS if column.counts], labels, [sample.source for sample in samples])
        ),
        "features": sorted((_feature(column, rows, labels) for column in COLUMNS), key=lambda feature: -feature["auc"]),
        "captions": _captions(samples, labels),
        "counts": {
            "images": len(dataset),
            "real": int((labels == 0).sum()),
            "fake": int((labels == 1).sum()),
            "unreadable": len(unreadable),
            "sources": dict(sorted(Counter(f"{('real', 'fake')[sample.label or 0]}: {sample.source}" for sample in samples).items())),
        },
        "duplicates": duplicates.find([_fingerprinted(sample, row) for sample, row in measured]),
        "generator_marks": _marks(samples, rows),
        "unreadable": [{"path": sample.path, "label": sample.label, "error": error} for sample, error in unreadable],
        "computed_from": {"fingerprint": dataset.fingerprint(), "layout": dataset.layout, "columns": VERSION, "dgsnet": __version__},
    }
    result["shortcut_auc"] = result["shortcut"]["value"]
    result["advice"] = _advice(result)
    write_json(out / AUDIT_JSON, result)
    return result


def _measure_all(
    dataset: Dataset, out: Path, progress: Progress | None, marks: Marks
) -> tuple[list[tuple[Sample, dict[str, Any]]], list[tuple[Sample, str]]]:
    """Return each readable sample with its columns, and the others with why not; both in the order of the data set."""
    measured: list[tuple[Sample, dict[str, Any]]] = []
    unreadable: list[tuple[Sample, str]] = []
    samples = progress.track(dataset.samples, description="measuring") if progress else dataset.samples
    version = f"{VERSION}-{marks.fingerprint}"  # another table of marks measures otherwise
    with ResultStore(out / f".columns-{version}.jsonl", {"columns": version}) as store:
        for sample in samples:
            try:
                data = dataset.read(sample)
                key = sha256_bytes(data)
                row = store.get(key)
                if row is None:
                    row = measure(data, marks)
                    store.put(key, row)
                measured.append((sample, row))
            except DatasetError as error:
                unreadable.append((sample, str(error)))
            except DecodeError as error:
                unreadable.append((sample, f"{sample.path}: {str(error).removeprefix('bytes: ')}"))
    return measured, unreadable


def _feature(column: Column, rows: Sequence[dict[str, Any]], labels: np.ndarray[Any, Any]) -> dict[str, Any]:
    values = [row[column.name] for row in rows]
    sides = {
        name: _typical([value for value, of in zip(values, labels, strict=True) if of == label], column)
        for label, name in enumerate(("real", "fake"))
    }
    auc = round(classifier.single_auc(values, column, labels), _DIGITS)
    return {"name": column.name, "auc": auc, "counts": column.counts, **sides, "advice": column.advice if auc >= NOTABLE else ""}


def _typical(values: Sequence[Any], column: Column) -> str:
    """Describe the values of one label in a few words."""
    known = [value for value in values if value is not None]
    none = f", none {1 - len(known) / len(values):.0%}" if len(known) < len(values) else ""
    if not known:
        return "none"
    if column.kind == "flag":
        return f"{np.mean(known):.0%}"
    if column.kind == "category":
        return ", ".join(f"{name} {count / len(values):.0%}" for name, count in Counter(map(str, known)).most_common(3)) + none
    low, middle, high = np.quantile(np.array(known, np.float64), [0.05, 0.5, 0.95])
    return (f"{middle:.4g}" if low == high else f"{middle:.4g} ({low:.4g} to {high:.4g})") + none


def _captions(samples: Sequence[Sample], labels: np.ndarray[Any, Any]) -> dict[str, Any]:
    if not any(sample.caption for sample in samples):
        return {"auc": None, "captioned": 0}
    auc = caption_only_auc([sample.caption for sample in samples], labels, [sample.group for sample in samples])
    captioned = sum(1 for sample in samples if sample.caption)
    return {"auc": None if auc is None else round(max(0.5, auc), _DIGITS), "captioned": captioned}


def _marks(samples: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    marked: list[dict[str, Any]] = [
        {"path": sample.path, "label": sample.label, "mark": row["mark"] or "DALL-E 2 corner"}
        for sample, row in zip(samples, rows, strict=True)
        if row["mark"] or row["corner_mark"]
    ]
    return {
        "real": sum(1 for one in marked if one["label"] == 0),
        "fake": sum(1 for one in marked if one["label"] == 1),
        "examples": sorted(marked, key=lambda one: one["label"])[:_EXAMPLES],  # photographs first: there a mark is a surprise
    }


def _fingerprinted(sample: Sample, row: dict[str, Any]) -> duplicates.Fingerprinted:
    return duplicates.Fingerprinted(sample.path, sample.label, sample.split, row["sha256"], row["perceptual_hash"], row["thumbnail"])


def _advice(result: dict[str, Any]) -> list[str]:
    """Advise what to do, most urgent first."""
    shortcut, across, counts = result["shortcut"], result["across_sources"], result["counts"]
    carriers = [feature for feature in result["features"] if feature["counts"] and feature["auc"] >= NOTABLE]
    names = ", ".join(feature["name"] for feature in carriers[:6])
    advice = []
    if shortcut["value"] >= STRONG:
        advice.append(
            f"Do not train or test on this data as it is: files alone tell the labels apart with AUC {shortcut['value']:.2f}. "
            f"The columns that carry it: {names or 'several together'}. Run `dgsnet align` and audit its output."
        )
    elif shortcut["value"] >= NOTABLE:
        advice.append(f"A part of what a detector learns here may be the files: {names or 'several columns together'}.")
    if across["value"] is not None and across["value"] >= NOTABLE:
        advice.append(f"It holds for sources never seen, too (AUC {across['value']:.2f}): a test on other sources would not show it.")
    for kind, words in (("exact", "the same file"), ("near", "the same picture")):
        found = result["duplicates"][kind]
        if found["across_labels"]:
            advice.append(f"{found['across_labels']} times {words} is under both labels: leave out the wrong one.")
        if found["across_splits"]:
            advice.append(f"{found['across_splits']} times {words} is in two splits: leave it out of one, or give the copies one group.")
    if marked := result["generator_marks"]["real"]:
        advice.append(f"{marked} photographs carry the mark of a generator or editor: check their labels.")
    if (captions := result["captions"]["auc"]) is not None and captions >= STRONG:
        advice.append(
            f"Captions alone tell the labels apart with AUC {captions:.2f}: what a text branch calls harmful is then the label itself. "
            "Caption both labels with one captioner."
        )
    if counts["unreadable"]:
        advice.append(f"{counts['unreadable']} images cannot be read: replace them or leave them out.")
    return advice or ["Nothing here tells the labels apart. What the pictures show still may: photographs against illustrations, say."]


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in figures.items()}
