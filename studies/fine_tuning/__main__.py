"""Fine-tuning against a head on the frozen CLIP, when tower and head learn from many photo sources and generators.

    python -m studies.fine_tuning prepare --corpus CORPUS --more MORE     frozen features and trunks of all images, half an hour
    python -m studies.fine_tuning run 0|1 lora|dgs [--epochs N]           train; score the other half, and `test` (restartable)
    python -m studies.fine_tuning table                                   results/table.{json,md}

The images are those of `studies/more_sources`, both collections. The recipe, `fine-tuning.yaml`, adapts the last four blocks. Sources are
dealt out to two halves, by label and name: what is trained on one half is asked about photo sources and generators of the other, none of
which it saw, and about the corpus' `test`. Each tower is read by its own head, and by the one in closed form that ships
(`dgsnet.model.ridge`).
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from rich.console import Console
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import Dataset, Sample, load_dataset
from dgsnet.evaluation import metrics
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods import Method
from dgsnet.model.recipe import Recipe, make_recipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports import tables
from dgsnet.training import extract_features, train
from dgsnet.training.views import FrozenFeatures, Views
from studies.common import paths
from studies.common.ranking import Floats

HERE = Path(__file__).parent
RUNS, RESULTS = paths.RUNS / "fine_tuning", HERE / "results"
IMAGES = RUNS / "images"
"""Both collections, linked, with the manifests `train.csv`, `test.csv`, and one a half."""
METHODS, HALVES, EPOCHS = ("lora", "dgs"), ("0", "1"), (1, 2, 4)
SOURCE = 60
"""Images of a source, at most: more of the same are worth little (`studies/search/results/curves.md`)."""
FROZEN = "frozen CLIP"
NAMES = 3
"""Names in a caption."""
TOGETHER = 16
"""Trunks that pass the adapted blocks together."""
COLUMNS = ("path", "label", "split", "source", "generator", "caption")


def recipe_of(method: str, epochs: int = 2) -> Recipe:
    """Return the recipe of the towers."""
    return make_recipe(method, config=HERE / "fine-tuning.yaml", assignments=(f"finetune.epochs={epochs}",))


def _trained(half: str, epochs: int) -> Path:
    """Below `RUNS` and `RESULTS`, what was trained on a half for so long."""
    return Path(half) / f"{epochs}-epochs"


def prepare(corpus: Path, more: Path) -> None:
    """Write manifests of all images, captions of the new ones, and what the frozen tower says of every image."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, folder in (("corpus", corpus), ("more", more)):
        (IMAGES / name).unlink(missing_ok=True)
        (IMAGES / name).symlink_to(folder.absolute(), target_is_directory=True)
    old = load_dataset(corpus, caption_column="caption_uniform")
    parts = [("corpus", old.with_split("train")), ("more", load_dataset(more))]
    rows = [vars(sample) | {"path": f"{name}/{sample.path}"} for name, dataset in parts for sample in _some(dataset)]
    _write("train", rows)
    _write("test", [vars(sample) | {"path": f"corpus/{sample.path}"} for sample in old.with_split("test")])
    method = methods.create(recipe_of("dgs"), Backbone.load(recipe_of("dgs").backbone))
    with Progress(console=Console(stderr=True)) as progress:
        for split in ("train", "test"):
            frozen, _ = _frozen(method, load_dataset(IMAGES / f"{split}.csv"), progress)
            if split == "train":
                embeddings = frozen[:, : method.backbone.joint_width]
    _caption(rows, embeddings.double().numpy(), {f"corpus/{sample.path}": sample.caption or "" for sample in load_dataset(corpus)})
    _write("train", rows)
    half = _half(rows)
    for name in HALVES:
        _write(name, [row for row in rows if half[row["source"]] == name])


def _some(dataset: Dataset) -> list[Sample]:
    """At most `SOURCE` images of a source, the first by name, which is a hash."""
    taken: Counter[str] = Counter()
    kept = []
    for sample in sorted(dataset, key=lambda one: one.path):
        taken[sample.source] += 1
        if taken[sample.source] <= SOURCE:
            kept.append(sample)
    return kept


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    with replacing(IMAGES / f"{name}.csv") as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _half(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The half of every source: every second one of a label, by name."""
    names = [sorted({row["source"] for row in rows if row["label"] == label}) for label in (0, 1)]
    return {source: HALVES[place % 2] for of_label in names for place, source in enumerate(of_label)}


def _caption(rows: list[dict[str, Any]], embeddings: Floats, classes: dict[str, str]) -> None:
    """Caption the new images as the corpus is: by the names of the nearest ImageNet pictures, without the mean difference of the labels."""
    labels = np.array([row["label"] for row in rows])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    away = unit[labels == 1].mean(axis=0) - unit[labels == 0].mean(axis=0)
    away /= np.linalg.norm(away)
    unit -= np.outer(unit @ away, away)
    known = [at for at, row in enumerate(rows) if row["source"] == "imagenet_sample"]
    nearest = np.argsort(-(unit @ unit[known].T), axis=1, kind="stable")
    for row, order in zip(rows, nearest, strict=True):
        if not row["caption"]:
            row["caption"] = "a picture of " + ", ".join(classes[rows[known[at]]["path"]] for at in order[:NAMES])


def _frozen(method: Method, dataset: Dataset, progress: Progress) -> tuple[torch.Tensor, FrozenFeatures]:
    """(N, D) features of the frozen tower, and where their trunks are."""
    frozen = FrozenFeatures.cached(Views(dataset, method.recipe), method.backbone)
    views = [(index, 0) for index in range(len(dataset))]
    frozen.prepare(views, progress)
    if frozen.failed:
        raise SystemExit(f"cannot be shown: {'; '.join(frozen.failed.values())}")
    return frozen[views], frozen


@torch.inference_mode()
def _read(method: Method, dataset: Dataset, progress: Progress) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, D) twice: what the head reads of the frozen tower, and of the tuned one."""
    features, frozen = _frozen(method, dataset, progress)
    tuned = []
    for first in progress.track(range(0, len(dataset), TOGETHER), description="tuned features"):
        views = [(index, 0) for index in range(first, min(first + TOGETHER, len(dataset)))]
        tuned.append(method.backbone.from_trunk(frozen.trunk(views), frozen[views]))
    return method.head_input(features), method.head_input(torch.cat(tuned))


def run(half: str, name: str, epochs: int) -> None:
    """Train on a half; score the other one and `test` into `results/HALF/N-epochs/METHOD-ASKED.parquet`."""
    extract_features.MAX_PHOTOGRAPHS = (
        2  # nobody asks these models what is out of their domain, and each photograph is a pass through the whole tower
    )
    learnt, console, results = IMAGES / f"{half}.csv", Console(stderr=True), RESULTS / _trained(half, epochs)
    model = RUNS / _trained(half, epochs) / name
    train(learnt, model, recipe_of(name, epochs), resume=True, console=console)
    method, _ = model_folder.load(model)
    method.eval()
    with Progress(console=console) as progress:
        known = load_dataset(learnt)
        frozen, tuned = _read(method, known, progress)
        heads = [ridge_probe(read.double().numpy(), known.labels(), method.recipe.probe.penalty) for read in (frozen, tuned)]
        for split in (_other(half), "test"):
            dataset = load_dataset(IMAGES / f"{split}.csv")
            (was, now), (of_frozen, of_tuned) = _read(method, dataset, progress), heads
            with torch.inference_mode():
                own = method.logits(now).double().numpy()
            _store(
                results / f"{name}-{split}.parquet",
                dataset,
                {
                    "frozen": was.double().numpy() @ of_frozen[0] + of_frozen[1],
                    "own": own,
                    "ridge": now.double().numpy() @ of_tuned[0] + of_tuned[1],
                },
            )
    shutil.copyfile(model / "training" / "log.jsonl", results / f"{name}-log.jsonl")


def _other(half: str) -> str:
    return HALVES[1 - HALVES.index(half)]


def _store(file: Path, dataset: Dataset, logits: dict[str, Floats]) -> None:
    columns: dict[str, Any] = {key: [getattr(sample, key) for sample in dataset] for key in ("path", "label", "source", "generator")}
    table = pa.table(columns | logits).replace_schema_metadata({"data": dataset.fingerprint(), "dgsnet": __version__})
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as aside:
        parquet.write_table(table, aside)


def table() -> None:
    """Write the figures of every head on every set of images that was asked."""
    found, rows = [], []
    for half in HALVES:
        for asked in (_other(half), "test"):
            given: dict[tuple[str, int], Floats] = {}
            for epochs in EPOCHS:
                for name in METHODS:
                    file = RESULTS / _trained(half, epochs) / f"{name}-{asked}.parquet"
                    if not file.exists():
                        continue
                    scored = parquet.read_table(file)
                    given[(FROZEN, 0)] = _scores(scored, "frozen")
                    given[(f"{name}, its own head", epochs)] = _scores(scored, "own")
                    given[(f"{name}, ridge", epochs)] = _scores(scored, "ridge")
            if not given:
                continue
            labels, sources = scored["label"].to_pylist(), scored["source"].to_pylist()
            origins = [source if label else "" for source, label in zip(sources, labels, strict=True)]
            for (title, epochs), scores in given.items():
                mean = metrics.macro_average(labels, scores, origins)
                rivals = {base: given[base] for base in _rivals(title, epochs) if base in given}
                differences = {base[0]: metrics.paired_macro_difference(labels, scores, other, origins) for base, other in rivals.items()}
                minus = {base: vars(one["auroc"]) for base, one in differences.items()}
                found.append(
                    {"trained on": half, "asked": asked, "model": title, "epochs": epochs, "auroc": vars(mean["auroc"]), "minus": minus}
                )
                cells = [interval(one, sign=True) for one in minus.values()] + [""] * (2 - len(minus))
                rows.append([half, asked, title, str(epochs), interval(vars(mean["auroc"])), *cells])
    recipe = recipe_of("dgs").model_dump(mode="json")
    del recipe["finetune"]["epochs"]
    write_json(RESULTS / "table.json", {"seed": 0, "dgsnet": __version__, "recipe": recipe, "rows": found})
    titles = [
        "trained on half",
        "asked about",
        "model",
        "epochs",
        "AUROC, mean over generators",
        "minus frozen CLIP",
        "minus lora, same head",
    ]
    write_text(RESULTS / "table.md", tables.markdown(titles, rows))


def _scores(scored: pa.Table, head: str) -> Floats:
    """Uncalibrated: only the order counts here."""
    return np.asarray(1 / (1 + np.exp(-scored[head].to_numpy())))


def _rivals(title: str, epochs: int) -> list[tuple[str, int]]:
    """Return the rivals of a model: the head on the frozen tower, and for surgery LoRA with the same kind of head, trained as long."""
    if title == FROZEN:
        return []
    return [(FROZEN, 0), *([(title.replace("dgs", "lora"), epochs)] if title.startswith("dgs") else [])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare_parser = commands.add_parser("prepare")
    prepare_parser.add_argument("--corpus", type=Path, required=True)
    prepare_parser.add_argument("--more", type=Path, required=True)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("half", choices=HALVES)
    run_parser.add_argument("method", choices=METHODS)
    run_parser.add_argument("--epochs", type=int, choices=EPOCHS, default=2)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.corpus, arguments.more)
    elif arguments.command == "run":
        run(arguments.half, arguments.method, arguments.epochs)
    else:
        table()
