"""The worth of more photo sources and more generators: the tables in `results/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import calibration_fit, metrics
from dgsnet.model.recipe import HeadRecipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports import tables
from dgsnet.training import refit_head
from studies.common.image_list import BATCHES
from studies.common.left_out import FOLDS, PENALTY, left_out
from studies.common.model_families import by_family
from studies.common.ranking import found_at_5_percent, mean_auroc
from studies.common.training_images import Kind, features_of, training_images

RESULTS = Path(__file__).parent / "results"
DRAWS, COUNTS = 8, (1, 2, 5, 10, 20, 50, 100)


def choose(corpus: Path, more: Path) -> None:
    """Find which images and which penalty do best on photo sources and model families that were left out: five folds of both."""
    images = training_images(corpus, more)
    old = ~images.new
    parts = {
        "the corpus": old,
        "and new photo sources": old | (images.labels == 0),
        "and new generators": old | (images.labels == 1),
        "and both": np.ones_like(old),
        "and both, without related models": ~images.listed_as("related", "1"),
        **{f"and both, of batches {batches}": old | images.of_batches(batches) for batches in BATCHES[:-1]},
    }
    tried = [(name, used, PENALTY) for name, used in parts.items()] + [("and both", None, each) for each in (0.01, 0.03, 0.3, 1.0)]
    shown = ("auroc", "of_old", "of_new", "tpr_at_fpr_5", "fpr_worst_tenth")
    rows, found = [], []
    for name, used, penalty in track(tried, "left out"):
        figures = left_out(images, used, penalty)
        found.append({"trained on": name, "penalty": penalty} | figures)
        rows.append([name, f"{penalty:g}", *(f"{figures[key]:.3f}" for key in shown)])
    header = {"data": images.dataset.fingerprint(), "seed": 0, "folds": FOLDS, "dgsnet": __version__}
    write_json(RESULTS / "choices.json", header | {"choices": found})
    titles = ["trained on", "penalty", "AUROC, mean over generators", "of the corpus", "of the new ones", "found at 5 % false alarms"]
    titles.append("false alarms then, worst tenth of photo sources")
    write_text(RESULTS / "choices.md", tables.markdown(titles, rows))


def curves(corpus: Path, more: Path) -> None:
    """Ask the head with more and more photo sources, and with more and more generators, on the corpus' `test`. Nothing was chosen by it."""
    images, unseen = training_images(corpus, more), training_images(corpus, more, "test")
    truth, generators = unseen.labels, np.array([sample.generator for sample in unseen.dataset])
    draws, found, rows = np.random.default_rng(0), [], []
    names = {label: np.unique(images.sources[images.labels == label]) for label in (0, 1)}
    for label, title in ((0, "photo sources"), (1, "generators")):
        for count in [each for each in COUNTS if each < len(names[label])] + [len(names[label])]:
            aurocs, shares = [], []
            for _ in range(DRAWS if count < len(names[label]) else 1):
                some = draws.permutation(names[label])[:count]
                taken = (images.labels != label) | np.isin(images.sources, some)
                weight, bias = ridge_probe(images.read[taken], images.labels[taken], PENALTY)
                logits = unseen.read @ weight + bias
                aurocs.append(mean_auroc(truth, logits, generators))
                shares.append(found_at_5_percent(truth, logits))
            found.append({"more of": title, "count": count, "auroc": aurocs, "found_at_5_percent": shares})
            rows.append([title, str(count), *(f"{how(each):.3f}" for each in (aurocs, shares) for how in (np.mean, np.std))])
    header = {"data": [images.dataset.fingerprint(), unseen.dataset.fingerprint()], "seed": 0, "draws": DRAWS, "dgsnet": __version__}
    write_json(RESULTS / "curves.json", header | {"curves": found})
    write_text(
        RESULTS / "curves.md",
        tables.markdown([*("more of", "count", "mean AUROC on test", "spread over draws"), "found at 5 % false alarms", "spread"], rows),
    )
    _plot(found)


def _plot(found: list[dict[str, Any]]) -> None:
    picture = Figure(figsize=(7, 3.4), layout="constrained")
    for axes, title in zip(picture.subplots(1, 2, sharey=True), ("photo sources", "generators"), strict=True):
        points = [point for point in found if point["more of"] == title]
        means, spreads = ([how(point["auroc"]) for point in points] for how in (np.mean, np.std))
        axes.errorbar([point["count"] for point in points], means, yerr=spreads, fmt="o-", capsize=3, markersize=4, linewidth=1)
        axes.set_title(f"training {title}", loc="left", fontsize=10)
        axes.set_xscale("log")
        counts = [point["count"] for point in points]
        axes.set_xticks(counts, [str(count) if count == counts[-1] or count * 1.7 < counts[-1] else "" for count in counts])
        axes.minorticks_off()
    picture.axes[0].set_ylabel("mean AUROC on test")
    with replacing(RESULTS / "curves.png") as aside:
        picture.savefig(aside, format="png", dpi=150)


def towers(corpus: Path, more: Path) -> None:
    """Ask a head from the new images alone, which no tower has seen, about `test`: on the fine-tuned tower, and on CLIP as it was."""
    new, test = load_dataset(more).with_split("train"), load_dataset(corpus).with_split("test")
    labels, generators = test.labels(), [sample.generator for sample in test]
    kinds: tuple[Kind, ...] = ("tuned", "frozen")
    scores = {}
    for kind in kinds:
        weight, bias = ridge_probe(features_of("more", new, kind), new.labels(), PENALTY)
        scores[kind] = 1 / (1 + np.exp(-(features_of("corpus", test, kind) @ weight + bias)))
    means = {kind: vars(metrics.macro_average(labels, scores[kind], generators)["auroc"]) for kind in kinds}
    difference = vars(metrics.paired_macro_difference(labels, scores["tuned"], scores["frozen"], generators)["auroc"])
    header = {"trained_on": new.fingerprint(), "images": len(new), "test": test.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "towers.json", header | {"auroc": means, "tuned_minus_frozen": difference})
    rows = [[kind, interval(means[kind], 3)] for kind in kinds] + [["tuned minus frozen, paired", interval(difference, 3, sign=True)]]
    write_text(RESULTS / "towers.md", tables.markdown(["tower", "AUROC, mean over 14 generators of test"], rows))


def parts(corpus: Path, more: Path) -> None:
    """Compare the worth on `test` of each part of the images: heads of the shipped tower, compared in pairs with the one from all."""
    images, test = training_images(corpus, more), load_dataset(corpus).with_split("test")
    read, labels, generators = features_of("corpus", test), test.labels(), [sample.generator for sample in test]
    related, old = images.listed_as("related", "1"), ~images.new
    grown = {f"batches {batches}": old | images.of_batches(batches) for batches in reversed(BATCHES[:-1])}
    used = {"all": np.ones_like(old), "without related models": ~related, **grown, "the corpus": old}
    scores, found, rows = {}, [], []
    for title, taken in used.items():
        weight, bias = ridge_probe(images.read[taken], images.labels[taken], PENALTY)
        scores[title] = 1 / (1 + np.exp(-(read @ weight + bias)))
        sources = [len(np.unique(images.sources[taken & (images.labels == label)])) for label in (0, 1)]
        auroc = vars(metrics.macro_average(labels, scores[title], generators)["auroc"])
        minus = vars(metrics.paired_macro_difference(labels, scores[title], scores["all"], generators)["auroc"])
        found.append({"from": title, "images": int(taken.sum()), "sources": sources, "auroc": auroc, "minus_all": minus})
        rows.append([title, str(taken.sum()), *map(str, sources), interval(auroc, 3), interval(minus, 3, sign=True)])
    header = {"data": images.dataset.fingerprint(), "test": test.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "parts.json", header | {"parts": found})
    titles = ["head from", "images", "photo sources", "generated sources", "AUROC, mean over generators of test", "minus all, paired"]
    write_text(RESULTS / "parts.md", tables.markdown(titles, rows))


def model_families(corpus: Path, more: Path) -> None:
    """Calibrate one head on sources left out one by one, and on whole model families left out; ask about `test`."""
    images, unseen = training_images(corpus, more), training_images(corpus, more, "test")
    weight, bias = ridge_probe(images.read, images.labels, PENALTY)
    logits, real, sources = unseen.read @ weight + bias, unseen.labels == 0, images.sources.tolist()
    found, rows = [], []
    for title, dataset in (("sources one by one", images.dataset), ("whole model families", by_family(images))):
        left = refit_head.out_of_fold_logits(images.read, dataset, refit_head.HeadFit(HeadRecipe(), PENALTY, 512, 768))
        if left is None:
            raise SystemExit("both labels need two sources at least")
        fitted = calibration_fit.fit(left, images.labels, sources=sources)
        cut = calibration_fit.thresholds([fitted.score(one) for one in left.tolist()], images.labels, equal_sources=sources)
        scores = np.array([fitted.score(one) for one in logits.tolist()])
        report = metrics.estimate(unseen.labels, scores, threshold=cut.generated).as_dict()
        figures: dict[str, Any] = {
            "ece": report["ece"],
            "balanced_acc": report["balanced_acc"],
            "found": float(np.mean(scores[~real] >= cut.generated)),
            "photographs_called_generated": float(np.mean(scores[real] >= cut.generated)),
            "generated_called_real": float(np.mean(scores[~real] < cut.real)),
            "photographs_inconclusive": float(np.mean((scores[real] >= cut.real) & (scores[real] < cut.generated))),
        }
        found.append({"left out": title} | figures)
        shares = [f"{figures[key]:.3f}" for key in list(figures)[2:]]
        rows.append([title, interval(figures["ece"], 3), interval(figures["balanced_acc"], 3), *shares])
    header = {"data": images.dataset.fingerprint(), "test": unseen.dataset.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "model_families.json", header | {"calibrated": found})
    titles = ["left out", "ECE on test", "balanced accuracy", "found", "photographs called generated", "generated images called real"]
    write_text(RESULTS / "model_families.md", tables.markdown([*titles, "photographs inconclusive"], rows))
