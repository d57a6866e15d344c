"""Asking steadiness under everyday perturbations of the head: its price."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import write_json, write_text
from dgsnet.evaluation import calibration_fit
from dgsnet.reports import tables
from studies.common.left_out import FOLDS, PENALTY, Shifts, folds, left_out, steady_probe
from studies.common.training_images import TrainingImages, stored_features, training_images

RESULTS = Path(__file__).parent / "results"
STEADINESS = (0, 1, 3, 10, 30, 100, 300)
"""How much more than training on the changed copies would."""


def steady(corpus: Path, more: Path) -> None:
    """Ask more and more steadiness of the head; measure sources and generators left out, and verdicts of their changed copies."""
    images = training_images(corpus, more)
    shifts, labels, found, rows = shifts_of(images), images.labels, [], []
    fold = folds(images)
    for asked in track(STEADINESS, "steadiness"):
        given = shifts.times(asked) if asked else None
        logits, moved = np.empty(len(labels)), np.empty(len(shifts.of))
        for number in range(FOLDS):
            new = fold == number
            weight, bias = steady_probe(images.read[~new], labels[~new], PENALTY, given.among(~new) if given else None)
            logits[new] = images.read[new] @ weight + bias
            copies = new[shifts.of]
            moved[copies] = logits[shifts.of[copies]] + shifts.by[copies] @ weight
        fitted = calibration_fit.fit(logits, labels, sources=images.sources.tolist())
        scores, after = (np.array([fitted.score(one) for one in each.tolist()]) for each in (logits, moved))
        cut = calibration_fit.thresholds(scores, labels, equal_sources=images.sources.tolist())
        before, then = (np.digitize(each, [cut.real, cut.generated]) for each in (scores[shifts.of], after))
        figures = {
            "auroc": left_out(images, None, PENALTY, given)["auroc"],
            "changed_verdicts": float(np.mean(before != then)),
            "opposite_verdicts": float(np.mean(abs(before - then) == 2)),
            "found": float(np.mean(scores[labels == 1] >= cut.generated)),
            "inconclusive": float(np.mean((scores >= cut.real) & (scores < cut.generated))),
        }
        found.append({"steadiness": asked} | figures)
        rows.append([f"{asked:g}", *(f"{figure:.3f}" for figure in figures.values())])
    header = {"data": images.dataset.fingerprint(), "seed": 0, "folds": FOLDS, "copies": len(shifts.of), "dgsnet": __version__}
    write_json(RESULTS / "steady.json", header | {"steadiness": found})
    titles = ["steadiness", "AUROC, mean over generators", "verdicts that change", "to the opposite", "found", "inconclusive"]
    write_text(RESULTS / "steady.md", tables.markdown(titles, rows))


def shifts_of(images: TrainingImages) -> Shifts:
    """Return by how much the features that `features --of changed` wrote moved, copy by copy."""
    place = {sample.path: number for number, sample in enumerate(images.dataset)}
    of, by = [], []
    for name in ("corpus", "more"):
        for path, read in stored_features(name, "changed"):
            number = place[f"{name}/{path}"]
            of += [number] * len(read)
            by.append(read - images.read[number])
    return Shifts(np.array(of), np.concatenate(by))
