"""Figures on what was left out, by which the head was chosen, and on `test`, by which nothing was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.evaluation import calibration_fit, metrics
from dgsnet.evaluation.predictions import PREDICTIONS, read_predictions
from dgsnet.reports import tables
from dgsnet.training import refit_head
from studies.common.collection import Collection
from studies.common.copies import SHIPPED_COPIES, Copy, Listed
from studies.common.heads import FIRST_EDITION, MODEL, SHIPPED, TRIED, Candidate
from studies.common.ranking import found_at_5_percent

RESULTS = Path(__file__).parent / "results"
RESAMPLES = 100
NAMES: dict[Copy, str] = {"made": "as made", "any": "travelled", "web": "web pipeline"}
Floats = NDArray[np.float64]


def sigmoid(logits: Floats) -> Floats:
    """Return the plain sigmoid of logits, for figures that ask for scores in 0..1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float64)


def choose(given: list[Listed]) -> None:
    """Ask every head that was tried about photo sources and generator families that it learnt nothing of, as made and travelled."""
    collection = Collection.load(given)
    rows = collection.of("made", "any")
    dataset, features, copies = collection.only(rows), collection.features[rows], collection.copies[rows]
    labels, sources = dataset.labels(), [sample.source for sample in dataset]
    scores: dict[str, Floats] = {}
    found, lines = [], []
    for tried in track(TRIED, "heads"):
        logits = refit_head.out_of_fold_logits(features, dataset, tried.fit(), np.isin(copies, tried.learns))
        if logits is None:
            raise SystemExit("both labels need two sources at least")
        scores[str(tried)] = sigmoid(logits)
        figures: dict[str, Any] = {"head": str(tried)}
        line = [str(tried)]
        for copy in ("made", "any"):
            asked = copies == copy
            names = [source for source, one in zip(sources, asked, strict=True) if one]
            of_copy = (labels[asked], scores[str(tried)][asked])
            auroc = metrics.macro_average(*of_copy, names, resamples=RESAMPLES)["auroc"]
            base = scores[str(FIRST_EDITION)][asked]
            minus = metrics.paired_macro_difference(of_copy[0], of_copy[1], base, names, resamples=RESAMPLES)["auroc"]
            figures[copy] = {"auroc": vars(auroc), "minus_first": vars(minus), "found_at_5_percent": found_at_5_percent(*of_copy)}
            line += [interval(vars(auroc), 3), interval(vars(minus), 3, sign=True), f"{figures[copy]['found_at_5_percent']:.3f}"]
        found.append(figures)
        lines.append(line)
    header = {
        "data": dataset.fingerprint(),
        "copies": {str(k): int(v) for k, v in zip(*np.unique(copies, return_counts=True), strict=True)},
    }
    write_json(RESULTS / "choices.json", header | {"seed": 0, "resamples": RESAMPLES, "dgsnet": __version__, "heads": found})
    kinds = ("AUROC", "minus the first edition's", "found at 5 %")
    titles = ["head", *(f"{name}: {kind}" for name in ("as made", "travelled") for kind in kinds)]
    write_text(RESULTS / "choices.md", tables.markdown(titles, lines))


def test(given: list[Listed]) -> None:
    """Ask the shipped head, and its like, about `test`; and what its thresholds trade, on what was left out."""
    collection = Collection.load(given)
    calibration = model_folder.load_config(MODEL).calibration
    like = [FIRST_EDITION, TRIED[1], TRIED[3], Candidate("all tokens", "mlp", SHIPPED_COPIES, size=SHIPPED.mlp)]
    logits = {str(one): _taught(collection, one) for one in like}
    shipped = str(like[-1])
    found: dict[str, Any] = {}
    lines = []
    for copy, images in NAMES.items():
        rows = collection.of(copy, test=True)
        dataset = collection.only(rows)
        labels, sources = dataset.labels(), np.array([sample.source for sample in dataset])
        base = sigmoid(logits[str(FIRST_EDITION)][rows])
        for name, of_all in logits.items():
            scores = sigmoid(of_all[rows])
            auroc = metrics.macro_average(labels, scores, sources.tolist())["auroc"]
            minus = metrics.paired_macro_difference(labels, scores, base, sources.tolist())["auroc"]
            by_source = metrics.by_generator(labels, scores, sources.tolist(), resamples=1)
            worst, lowest = min(((source, _value(report, "auroc")) for source, report in by_source.items()), key=lambda pair: pair[1])
            found[f"{images}: {name}"] = {"auroc": vars(auroc), "minus_first": vars(minus), "worst": [worst, lowest]}
            cells = (interval(vars(auroc), 3), interval(vars(minus), 3, sign=True), f"{worst} {lowest:.2f}")
            lines.append([images, name, *cells, f"{found_at_5_percent(labels, scores):.3f}"])
        found[f"{images}: verdicts"] = _verdicts(calibration, labels, logits[shipped][rows], sources)
    header = {"data": collection.only(collection.of(*NAMES, test=True)).fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "test.json", header | {"test": found})
    titles = [
        "images",
        "head",
        "AUROC, mean over 14 generators",
        "minus the first edition's head, paired",
        "worst generator",
        "found at 5 %",
    ]
    verdicts = [
        [images, point, *(f"{found[f'{images}: verdicts'][point][key]:.3f}" for key in _SHARES)]
        for images in NAMES.values()
        for point in ("cautious", "balanced", "sensitive")
    ]
    text = tables.markdown(titles, lines) + "\n" + tables.markdown(["images", "operating point", *_SHARES.values()], verdicts)
    write_text(RESULTS / "test.md", text)
    _curve(calibration)


_SHARES = {
    "photographs_called_generated": "photographs called generated",
    "worst_source": "of the worst source",
    "photographs_inconclusive": "photographs inconclusive",
    "found": "generated found",
    "generated_called_real": "generated called real",
    "ece": "ECE",
}


def _verdicts(
    calibration: Calibration, labels: NDArray[np.int64], logits: Floats, sources: NDArray[np.str_]
) -> dict[str, dict[str, float]]:
    scores = np.array([calibration.score(logit) for logit in logits.tolist()])
    real = labels == 0
    found = {}
    for point in ("cautious", "balanced", "sensitive"):
        bands = calibration.at(point)
        called, passed = scores >= bands.generated, scores < bands.real
        by_source = [float(np.mean(called[real & (sources == source)])) for source in np.unique(sources[real])]
        found[point] = {
            "photographs_called_generated": float(np.mean(by_source)),
            "worst_source": max(by_source),
            "photographs_inconclusive": float(np.mean(~called[real] & ~passed[real])),
            "found": float(np.mean(called[~real])),
            "generated_called_real": float(np.mean(passed[~real])),
            "ece": _value(metrics.estimate(labels, scores, resamples=1), "ece"),
        }
    return found


def _taught(collection: Collection, one: Candidate) -> Floats:
    rows = collection.of(*one.learns)
    logits = one.fit()(collection.features[rows], collection.only(rows).labels())
    return np.concatenate([logits(part) for part in np.array_split(collection.features, 8)])


def _curve(calibration: Calibration) -> None:
    """Draw what thresholds trade, on sources and families left out: which share of photographs stays without an answer at which errors."""
    rows = read_predictions(MODEL / refit_head.LEFT_OUT / PREDICTIONS).to_pylist()
    travelled = np.array(["#" in row["path"] for row in rows])
    labels, sources = np.array([row["label"] for row in rows]), np.array([row["source"] for row in rows])
    scores = np.array([calibration.score(row["logit"]) for row in rows])
    shares = (0.01, 0.02, 0.03, 0.05, 0.08)
    found = []
    for title, asked in (("as made", ~travelled), ("travelled", travelled)):
        for fnr in (0.05, 0.1, 0.15):
            for fpr in shares:
                equal = sources[asked].tolist()
                cut = calibration_fit.thresholds(scores[asked], labels[asked], target_fpr=fpr, target_fnr=fnr, equal_sources=equal)
                photographs, fakes = scores[asked & (labels == 0)], scores[asked & (labels == 1)]
                inconclusive = float(np.mean((photographs >= cut.real) & (photographs < cut.generated)))
                one = {"images": title, "called_generated": fpr, "called_real": fnr, "photographs_inconclusive": inconclusive}
                found.append(one | {"found": float(np.mean(fakes >= cut.generated))})
    write_json(RESULTS / "curve.json", {"dgsnet": __version__, "curve": found})
    titles = ["images", "photographs called generated, at most", "generated called real, at most", "photographs inconclusive", "found"]
    write_text(RESULTS / "curve.md", tables.markdown(titles, [[_cell(value) for value in one.values()] for one in found]))
    picture = Figure(figsize=(7, 3.2), layout="constrained")
    for axes, title in zip(picture.subplots(1, 2, sharey=True), ("as made", "travelled"), strict=True):
        for fnr in (0.05, 0.1, 0.15):
            points = [one for one in found if one["images"] == title and one["called_real"] == fnr]
            axes.plot(shares, [one["photographs_inconclusive"] for one in points], "o-", label=f"{fnr:.0%} of generated called real")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("photographs called generated")
    picture.axes[0].set_ylabel("photographs inconclusive")
    picture.axes[0].legend(fontsize=8)
    with replacing(RESULTS / "curve.png") as aside:
        picture.savefig(aside, format="png", dpi=150)


def _value(report: metrics.Report, name: str) -> float:
    """Return a figure, which images of both labels have."""
    value = report.figures[name].value
    assert value is not None  # noqa: S101
    return value


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
