"""Every method on the same images, then one table.

    python -m studies.method_comparison run --data CORPUS [NAME ...]     train, validate and test (hours on a laptop; restartable)
    python -m studies.method_comparison table                            results/table.{json,md} from the predictions

All methods share `corpus.yaml`; `RUNS` says what else distinguishes them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from dgsnet.core.files import write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import evaluate, metrics
from dgsnet.evaluation.predictions import PREDICTIONS, predict, read_predictions
from dgsnet.inference.detector import Detector
from dgsnet.model.recipe import make_recipe
from dgsnet.training import train
from dgsnet.training.validation import validate_on_held_out
from studies.common.paths import RUNS as RUNS_FOLDER

HERE = Path(__file__).parent
RESULTS, MODELS = HERE / "results", RUNS_FOLDER / "method_comparison"
BASELINE = "lora"

RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "linear": ("linear", "balanced", ()),
    "lora": ("lora", "balanced", ()),
    "dgs-released": ("dgs", "released", ()),
    "dgs-paper": ("dgs", "paper", ()),
    "dgs-balanced": ("dgs", "balanced", ()),
    "dgs-balanced-no-suppression": ("dgs", "balanced", ("surgery.suppression=none",)),
    "dgs-balanced-no-alignment": ("dgs", "balanced", ("surgery.alignment=none",)),
}
"""Name: (method, preset, settings over `corpus.yaml`)."""


def run(name: str, data: Path) -> None:
    """Train one method, validate it, test it, and keep what the table needs under `results/NAME`."""
    method, preset, assignments = RUNS[name]
    recipe = make_recipe(method, preset, HERE / "corpus.yaml", assignments)
    model, kept, console = MODELS / name, RESULTS / name, Console(stderr=True)
    train(data, model, recipe, resume=True, console=console)
    validate_on_held_out(data, model, recipe, console)
    with Progress(console=console) as progress:
        predictions = predict(Detector.from_pretrained(model), load_dataset(data).with_split("test"), kept, progress)
    result = evaluate.evaluate(predictions, kept)
    for source, target in (("config.json", "config.json"), ("metrics.json", "validation.json"), ("training/log.jsonl", "log.jsonl")):
        shutil.copyfile(model / source, kept / target)
    console.print(f"{name}: mean AUROC over generators {result['mean_over_generators']['auroc']['value']:.3f}")


def table() -> None:
    """Write one table of all finished runs, with paired differences against the baseline."""
    runs = {name: _scores(RESULTS / name / PREDICTIONS) for name in RUNS if (RESULTS / name / PREDICTIONS).exists()}
    labels, generators, paths, base = runs[BASELINE]
    rows: dict[str, Any] = {}
    for name, (_, _, other_paths, scores) in runs.items():
        evaluate.evaluate(RESULTS / name / PREDICTIONS, RESULTS / name)
        if other_paths != paths:
            raise SystemExit(f"{name} was tested on other images than {BASELINE}")
        rows[name] = {
            "overall": metrics.estimate(labels, scores).as_dict(),
            "mean_over_generators": {key: vars(figure) for key, figure in metrics.macro_average(labels, scores, generators).items()},
            "by_generator": {key: report.as_dict() for key, report in metrics.by_generator(labels, scores, generators).items()},
            f"against_{BASELINE}": {
                "overall": {key: vars(figure) for key, figure in metrics.paired_difference(labels, scores, base).items()},
                "mean_over_generators": {
                    key: vars(figure) for key, figure in metrics.paired_macro_difference(labels, scores, base, generators).items()
                },
            },
        }
    write_json(RESULTS / "table.json", rows)
    write_text(RESULTS / "table.md", _markdown(rows))


def _scores(predictions: Path) -> tuple[np.ndarray, list[str], list[str], np.ndarray]:
    table = read_predictions(predictions).to_pydict()
    return np.array(table["label"]), table["generator"], table["path"], np.array(table["score"])


def _markdown(rows: dict[str, Any]) -> str:
    lines = [
        f"| method | AUROC, mean over generators | minus {BASELINE} | pooled AUROC | AP | real acc | fake acc | TPR at 5 % FPR | ECE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        mean, overall = row["mean_over_generators"]["auroc"], row["overall"]
        difference = row[f"against_{BASELINE}"]["mean_over_generators"]["auroc"]
        rest = " | ".join(interval(overall[key]) for key in ("auroc", "ap", "real_acc", "fake_acc", "tpr_at_fpr_5", "ece"))
        lines.append(f"| {name} | {interval(mean)} | {interval(difference, sign=True)} | {rest} |")
    names = list(rows)
    lines += ["", "| AUROC by generator (with all photographs) | images | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for generator, report in rows[BASELINE]["by_generator"].items():
        cells = " | ".join(interval(rows[name]["by_generator"][generator]["auroc"]) for name in names)
        lines.append(f"| {generator} | {report['n_fake']} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("--data", type=Path, required=True)
    run_parser.add_argument("names", nargs="*", choices=[*RUNS, []], help="default: all")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        for chosen in arguments.names or RUNS:
            run(chosen, arguments.data)
    else:
        table()
