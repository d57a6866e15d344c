"""Validate a trained model on the images it was not trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import evaluate
from dgsnet.evaluation.predictions import predict
from dgsnet.inference.detector import Detector
from dgsnet.model.recipe import Recipe
from dgsnet.training.loop import train_and_validation


def validate_on_held_out(data: str | Path, folder: Path, recipe: Recipe, console: Console) -> None:
    """Score the held-out split with the model in `folder` and write `folder/metrics.json`; nothing where nothing is held out."""
    _, held_out = train_and_validation(load_dataset(data, caption_column=recipe.data.caption_column), recipe)
    if not len(held_out) or (folder / evaluate.METRICS_JSON).exists():
        return
    workspace = folder / "training" / "validation"
    with Progress(console=console) as progress:
        predictions = predict(Detector.from_pretrained(folder, backbone=recipe.backbone), held_out, workspace, progress)
    result = evaluate.evaluate(predictions, workspace)
    shutil.copyfile(workspace / evaluate.METRICS_JSON, folder / evaluate.METRICS_JSON)
    auroc = result["overall"]["auroc"]["value"]
    console.print(f"held-out split, {len(held_out)} images: AUROC {'-' if auroc is None else f'{auroc:.3f}'}")
    for warning in result["warnings"]:
        console.print(f"[yellow]warning:[/] {warning}")
