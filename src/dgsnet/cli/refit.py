"""`dgsnet refit`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dgsnet.artifacts.shipped import DEFAULT
from dgsnet.cli import options, splits, terminal


def refit(
    data: options.Data,
    out: options.ModelOut,
    model: Annotated[str, typer.Option("--model", help="Shipped model, model folder or hub id; its tower is kept.")] = DEFAULT,
    split: Annotated[str | None, typer.Option("--split", help="Split to use. Default: `train` where the data names one, else all.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=2, help="At most so many images, as many of each label. Default: all.")
    ] = None,
    head: Annotated[
        Literal["linear", "mlp"] | None, typer.Option("--head", help="A linear head, or a small perceptron. Default: as the model has.")
    ] = None,
    journeys: Annotated[
        int, typer.Option("--journeys", min=0, help="Copies of each image, as it is after a way through the web, to learn from as well.")
    ] = 0,
    penalty: Annotated[float, typer.Option("--penalty", help="Of the ridge of a linear head, in units of the features' variance.")] = 0.01,
    device: options.TorchDevice = "cpu",
) -> None:
    """Give a trained model a new head, calibrated on sources left out: for new generators, or after fine-tuning."""
    from dgsnet.artifacts import model_folder
    from dgsnet.evaluation.predictions import PREDICTIONS
    from dgsnet.inference.detector import Detector
    from dgsnet.model.recipe import HeadRecipe
    from dgsnet.reports import reliability_diagram
    from dgsnet.training import refit_head

    dataset = splits.load(data, split, "train")
    if limit is not None:
        dataset = dataset.balanced_subset(limit, seed=0)
    detector = Detector.from_pretrained(model, device=device, provider="torch")
    with terminal.progress() as progress:
        wanted = None if head is None else HeadRecipe(kind=head)
        failed = refit_head.refit(detector, dataset, out, progress, penalty, wanted, journeys)
    terminal.name_failures("left out", failed)
    config = model_folder.load_config(out)
    terminal.name_failures("warning", config.data["refitted"].get("warnings", ()))
    calibration = config.calibration
    if calibration.fitted is not None:
        reliability_diagram.write(out, calibration, out / refit_head.LEFT_OUT / PREDICTIONS)
    else:
        typer.echo("not calibrated: a label has too few sources to leave some out; use `dgsnet calibrate`", err=True)
    typer.echo(f"model folder: {out}", err=True)
    if failed or dataset.left_out.lost:
        raise typer.Exit(1)
