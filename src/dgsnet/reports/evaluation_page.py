"""`report.html` of an evaluation: figures by generator, curves, reliability, photographs by source, and the worst mistakes to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.errors import DatasetError, DecodeError, DgsnetError
from dgsnet.core.files import write_text
from dgsnet.core.format import figure, interval
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation.predictions import read_predictions, scored_only
from dgsnet.images.decode import DecodedImage, decode
from dgsnet.inference.detector import Detector
from dgsnet.reports import charts, html_shell

REPORT = "report.html"

MISTAKES = 6
"""Images shown of each kind of mistake, and by default how many of them with a heatmap."""

_COLUMNS = ("label", "score", "verdict", "source", "generator", "path", "sha256", "warnings")
_ANSWERS = ("ai-generated", "inconclusive", "real")

_STYLE = """
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 45%), 1fr)); gap: 1rem; }
.mistakes article { min-width: 0; } .mistakes figure { margin-bottom: .4rem; }
"""


def write(
    out: Path,
    result: dict[str, Any],
    predictions: Path,
    dataset: Dataset | None = None,
    detector: Detector | None = None,
    progress: Progress | None = None,
    heatmaps: int = MISTAKES,
) -> Path:
    """Write `out/report.html` of what `evaluate.evaluate` made of the predictions, and return its path.

    Without the data set of the predictions the worst mistakes are named, not shown; without the model they have no heatmaps. `heatmaps` of
    each kind, 0..`MISTAKES`, get one. Each costs, for a view, `heatmap.STEPS` forward and backward passes, or a forward pass a cell where
    there is no gradient: without torch, or of `linear`.

    Raises:
        DatasetError: the predictions cannot be read.
    """
    rows = scored_only(read_predictions(predictions, _COLUMNS)).to_pylist()
    labels, scores = np.array([row["label"] for row in rows], dtype=np.int64), np.array([row["score"] for row in rows])
    generators = [row.get("generator") or "unknown" for row in rows]
    both = 0 < labels.sum() < len(labels)
    sections = [
        _summary(result),
        _by_generator(result),
        _section("Curves", charts.roc_and_det(labels, scores, generators)) if both else "",
        _section("Is the score a probability?", _RELIABLE + charts.reliability(labels, scores)) if both else "",
        _answers(rows),
        _mistakes(rows, result["computed_from"]["threshold"], _Shown(dataset, detector, heatmaps), progress),
        _settings(result),
    ]
    write_text(out / REPORT, html_shell.document("dgsnet evaluation", "".join(sections), _STYLE))
    return out / REPORT


_RELIABLE = (
    '<p class="small">Of the images with a score near 0.8, four in five should be generated, where photographs and generated images are '
    "equally likely. Points below the dotted line: the score claims too much.</p>"
)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _summary(result: dict[str, Any]) -> str:
    overall, mean, known = result["overall"], result["mean_over_generators"], result["computed_from"]
    numbers = {
        "AUROC, mean over generators": interval(mean["auroc"]),
        "AUROC, all images": interval(overall["auroc"]),
        "balanced accuracy": interval(overall["balanced_acc"]),
        "photographs called photographs": interval(overall["real_acc"]),
        "generated images found": interval(overall["fake_acc"]),
        "calibration error (ECE)": interval(overall["ece"], 3),
    }
    failed = f"; {known['failed']} could not be scored" if known["failed"] else ""
    return (
        "<h1>dgsnet evaluation</h1><section>"
        f"<p>{overall['n_real']} photographs, {overall['n_fake']} generated images of {len(result['by_generator'])} generators{failed}. "
        f"In brackets 95 % bootstrap intervals. Accuracies at the threshold {known['threshold']:.4g}.</p>"
        f"{''.join(f'<p><strong>Warning:</strong> {html_shell.text(one)}.</p>' for one in result['warnings'])}"
        f"{html_shell.numbers(numbers)}"
        '<p class="small">Figures hold for these images. On other sources and generators expect others.</p></section>'
    )


def _by_generator(result: dict[str, Any]) -> str:
    reports = result["by_generator"]
    chart = charts.intervals({name: one["auroc"] for name, one in reports.items()}, "AUROC by generator, 95 % intervals", 0.5)
    columns = ("ap", "balanced_acc", "fake_acc", "tpr_at_fpr_5")
    rows = [
        [name, str(one["n_fake"]), interval(one["auroc"]), *(figure(one[column]["value"]) for column in columns)]
        for name, one in sorted(reports.items(), key=lambda item: (item[1]["auroc"]["value"] is not None, item[1]["auroc"]["value"] or 0))
    ]
    header = ["generator", "images", "AUROC", "AP", "balanced accuracy", "found", "found at 5 % false alarms"]
    note = '<p class="small">Each generator against all photographs of the set.</p>'
    return _section("By generator", note + (chart if any(row[2] != "-" for row in rows) else "") + html_shell.table(header, rows))


def _answers(rows: list[dict[str, Any]]) -> str:
    """Count the verdicts that each source got."""
    counts: dict[tuple[int, str], Counter[str]] = {}
    for row in rows:
        name = row.get("source") or row.get("generator") or "unknown"
        counts.setdefault((row["label"], name), Counter())[row.get("verdict") or "unknown"] += 1
    lines = []
    for (label, name), answers in sorted(counts.items()):
        total = answers.total()
        lines.append([name, *(f"{answers[answer] / total:.0%}" for answer in _ANSWERS), str(total), ("photographs", "generated")[label]])
    return _section("Verdicts by source", html_shell.table(["source", *_ANSWERS, "images", "label"], lines))


@dataclass(frozen=True)
class _Shown:
    """The data and the model a mistake is shown with, where it is at hand; of each kind the first `heatmaps` with theirs."""

    dataset: Dataset | None
    detector: Detector | None
    heatmaps: int


def _mistakes(rows: list[dict[str, Any]], threshold: float, shown: _Shown, progress: Progress | None) -> str:
    accused = sorted((row for row in rows if row["label"] == 0 and row["score"] >= threshold), key=lambda row: (-row["score"], row["path"]))
    missed = sorted((row for row in rows if row["label"] == 1 and row["score"] < threshold), key=lambda row: (row["score"], row["path"]))
    places = [(place, row) for kind in (accused, missed) for place, row in enumerate(kind[:MISTAKES])]
    cards = {
        id(row): _card(row, shown, explained=place < shown.heatmaps)
        for place, row in (progress.track(places, description="worst mistakes") if progress else places)
    }

    def part(title: str, chosen: Sequence[dict[str, Any]], total: int) -> str:
        if not chosen:
            return f"<p>{title}: none.</p>"
        return f'<p>{title}: {total}. The worst:</p><div class="mistakes">{"".join(cards[id(row)] for row in chosen)}</div>'

    body = part("Photographs called generated", accused[:MISTAKES], len(accused))
    body += part("Generated images not found", missed[:MISTAKES], len(missed))
    legend = _LEGEND if any('alt="heatmap of ' in card for card in cards.values()) else ""
    return _section("Mistakes", _NOT_FOUND + legend + body)


_NOT_FOUND = '<p class="small">At the threshold above: an image below it counts as not found, also where the verdict is inconclusive.</p>'

_LEGEND = (
    f"<p>In a heatmap, colour marks what the score of this picture rests on.</p>{html_shell.SCALE_OF_HEATMAPS}"
    '<p class="small">Plain grey parts were not shown to the model or moved it little. Each picture has its own scale of colour.</p>'
)


def _card(row: dict[str, Any], shown: _Shown, explained: bool) -> str:
    name = html_shell.text(row["path"] or "image")
    facts = ", ".join(
        html_shell.text(fact)
        for fact in (
            f"score {row['score']:.3f}",
            row.get("verdict") or "",
            row.get("source") or row.get("generator") or "unknown",
            *(warning.replace("_", " ") for warning in row.get("warnings") or ()),
        )
        if fact
    )
    return f'<article>{_pictures(row, name, shown, explained)}<p class="small">{facts}<br>{name}</p></article>'


def _pictures(row: dict[str, Any], name: str, shown: _Shown, explained: bool) -> str:
    sample = None if shown.dataset is None else next((one for one in shown.dataset if one.path == row["path"]), None)
    if shown.dataset is None or sample is None:
        return ""
    try:
        image = decode(shown.dataset.read(sample))
    except (DatasetError, DecodeError) as error:  # it was there when it was scored; the figures stand without it
        return _why_not(error)
    picture = html_shell.figure(Image.fromarray(image.pixels), name, "", side=320)
    if shown.detector is None or not explained:
        return picture
    try:
        return picture + html_shell.figure(_heatmap(shown.detector, image), f"heatmap of {name}", "", side=320)
    except DgsnetError as error:  # a picture too small to judge
        return picture + _why_not(error)


def _heatmap(detector: Detector, image: DecodedImage) -> Image.Image:
    try:
        return detector.explain(image, "gradient").image
    except (ValueError, DgsnetError):  # a method without gradient, or an engine without a method
        return detector.explain(image, "occlusion").image


def _why_not(error: Exception) -> str:
    return f'<p class="small">{html_shell.text(str(error))}</p>'


def _settings(result: dict[str, Any]) -> str:
    known = result["computed_from"]
    settings = {key: str(value) for key, value in known.items() if key != "predictions"}
    prints = {f"fingerprint of the {key}" if key in {"model", "data"} else key: value for key, value in known["predictions"].items()}
    return _section("Settings", html_shell.facts(prints | settings | {"page written by": f"dgsnet {__version__}"}))
