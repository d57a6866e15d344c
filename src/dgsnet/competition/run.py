"""Run a competition: every entry with every seed is trained and scores the test images. Each part is kept; a second call goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.competition import figures
from dgsnet.competition.protocol import DGS_PRESETS, Protocol, entries
from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.evaluation.predictions import PREDICTIONS, predict, read_predictions
from dgsnet.inference.detector import Detector
from dgsnet.model import methods
from dgsnet.training import train

COMPETITION = "competition.json"
OURS, PAPER_MARGIN = "dgs", 0.066
"""What margins are of; the paper's, mean over its 50 subsets against the best rival (accuracy, not AUROC)."""


def compete(
    data: Path,
    out: Path,
    *,
    chosen: tuple[str, ...] | None = None,
    seeds: int = 3,
    device: str = "cpu",
    settings: tuple[str, ...] = (),
    protocol: Protocol | None = None,
    resamples: int = figures.RESAMPLES,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train and test every entry, and write `out/competition.json`; or go on where an earlier call stopped.

    Args:
        data: manifest or folder with splits `train` and `test`, and captions where there are any.
        out: models go to `out/models/ENTRY/SEED`, predictions to `out/test/PIPELINE/ENTRY/SEED`.
        chosen: entries; None: all methods there are, and the surgery of the presets `released` and `paper`.
        seeds: of each entry: 0, 1, ...
        device: that scores; training takes an accelerator where there is one.
        settings: ``a.b=c``, over the protocol's recipe: another backbone, say. Figures then are not the protocol's, and the result says so.
        protocol: None: the current one.
        resamples: of the intervals.
        console: where messages and progress go; stderr by default.

    Returns:
        The content of `competition.json`. `conforms` is false, and `shortfalls` says why, where images or seeds are fewer than the protocol
        asks for: a figure is a figure, but not of this protocol.

    Raises:
        RecipeError: an entry is unknown. DatasetError: a split is missing. TrainingError, ModelFolderError: as `dgsnet.training.train`.
    """
    protocol, console = protocol or Protocol(), console or Console(stderr=True)
    names = entries(methods.available(), chosen)
    dataset = load_dataset(data)
    training, test = dataset.with_split("train"), dataset.with_split("test")
    spent: dict[str, dict[int, dict[str, float]]] = {name: {} for name in names}
    for seed in range(seeds):
        for name in names:
            console.print(f"[bold]{name}[/], seed {seed}")
            spent[name][seed] = _train(data, out, protocol, name, seed, settings, console)
            _test(out, protocol, name, seed, test, device, console)
    result = _result(out, protocol, names, seeds, test, spent, resamples)
    result |= {"shortfalls": [*protocol.shortfalls(training, test, seeds), *(f"setting {one}" for one in settings)]}
    result |= {"conforms": not result["shortfalls"], "data": dataset.fingerprint(), "dgsnet": __version__}
    write_json(out / COMPETITION, result)
    return result


def _model(out: Path, name: str, seed: int) -> Path:
    return out / "models" / name / str(seed)


def _train(
    data: Path, out: Path, protocol: Protocol, name: str, seed: int, settings: tuple[str, ...], console: Console
) -> dict[str, float]:
    """Train an entry; return seconds and the number of weights that are saved, as they were when it was trained."""
    folder = _model(out, name, seed)
    note = folder.with_name(f"{seed}.json")
    if not note.exists():
        began = time.monotonic()
        train(data, folder, protocol.recipe_of(name, seed, settings), resume=True, console=console)
        write_json(note, {"seconds": round(time.monotonic() - began, 1)})
    return dict(json.loads(note.read_text(encoding="utf-8")))


def _test(out: Path, protocol: Protocol, name: str, seed: int, test: Dataset, device: str, console: Console) -> None:
    folders = {pipeline: out / "test" / pipeline / name / str(seed) for pipeline in protocol.pipelines}
    if all((folder / PREDICTIONS).exists() for folder in folders.values()):
        return
    detector = Detector.from_pretrained(_model(out, name, seed), device=device)
    with Progress(console=console, transient=True) as progress:
        for pipeline, folder in folders.items():
            predict(detector, test, folder, progress, protocol.pipeline(pipeline))


def _result(
    out: Path,
    protocol: Protocol,
    names: Sequence[str],
    seeds: int,
    test: Dataset,
    spent: dict[str, dict[int, dict[str, float]]],
    resamples: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": protocol.name, "version": protocol.version, **protocol.record(), "methods": {}, "pipelines": {}}
    for pipeline in protocol.pipelines:
        field, scores = _scores(out, pipeline, names, seeds, test)
        drawn = figures.draw(field, scores, resamples)
        of_methods = {
            name: {
                "auroc": drawn.interval(name).as_dict(),
                "by_generator": figures.by_generator(field, scores[name]),
                "seeds": [float(np.mean([table.mean() for table in figures.wins(field, row)])) for row in scores[name]],
                "balanced_acc": figures.balanced_accuracy(field, scores[name]),
                "tpr_at_fpr_5": figures.found_at_5_percent(field, scores[name]),
                "seconds": [spent[name][seed]["seconds"] for seed in range(seeds)],
            }
            for name in names
        }
        counts = {"photographs": int((field.labels == 0).sum()), "generated": int((field.labels == 1).sum())}
        found["pipelines"][pipeline] = {
            "methods": of_methods,
            "margin": _margin(drawn),
            "images": counts | {"generators": len(field.names)},
        }
    first = found["pipelines"][protocol.pipelines[0]]
    return found | {"methods": first["methods"], "margin": first["margin"], "images": first["images"]}


def _margin(drawn: figures.Draws) -> dict[str, Any]:
    """Return how far surgery is ahead of the best rival and of their mean; empty where it, or a rival, did not take part."""
    rivals = [name for name in drawn.entries if name != OURS and name not in DGS_PRESETS]
    if OURS not in drawn.entries or not rivals:
        return {}
    best = max(rivals, key=lambda name: float(drawn.values[drawn.entries.index(name)]))
    return {
        "of": OURS,
        "best_rival": best,
        "over_best_rival": drawn.difference(OURS, [best]).as_dict(),
        "over_mean_of_rivals": drawn.difference(OURS, rivals).as_dict(),
        "paper": PAPER_MARGIN,
    }


def _scores(out: Path, pipeline: str, names: Sequence[str], seeds: int, test: Dataset) -> tuple[figures.Field, dict[str, figures.Floats]]:
    """Read the scores of all entries of the images that every one of them could score."""
    tables = {
        (name, seed): {
            row["path"]: row["score"]
            for row in read_predictions(out / "test" / pipeline / name / str(seed) / PREDICTIONS, ["path", "score"]).to_pylist()
            if row["score"] is not None
        }
        for name in names
        for seed in range(seeds)
    }
    kept = [sample for sample in test if all(sample.path in table for table in tables.values())]
    labels = np.array([sample.label for sample in kept])
    if len(set(labels.tolist())) < 2:
        raise DatasetError("the test needs photographs and generated images that can be read")
    field = figures.Field(labels, tuple(sample.generator if sample.label else "" for sample in kept))
    return field, {name: np.array([[tables[name, seed][one.path] for one in kept] for seed in range(seeds)]) for name in names}
