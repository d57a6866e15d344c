"""`dgsnet calibrate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsnet.cli import options, splits, terminal
from dgsnet.core.errors import CalibrationError
from dgsnet.core.format import interval

if TYPE_CHECKING:
    from dgsnet.artifacts.calibration import Calibration
    from dgsnet.data.dataset import Dataset


class _Method(StrEnum):
    platt = "platt"
    temperature = "temperature"


def calibrate(
    model: Annotated[Path, typer.Option("--model", help="Model folder; the calibration is written into it.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder or manifest of labelled images, none of which the model was trained on.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Calibrate from predictions this model made; no image is scored.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Split to use. Default: `val` where the data names one.")] = None,
    target_fpr: Annotated[float, typer.Option("--target-fpr", help="Share of photographs that may be called ai-generated.")] = 0.02,
    target_fnr: Annotated[float, typer.Option("--target-fnr", help="Share of generated images that may be called real.")] = 0.05,
    every_source: Annotated[
        bool, typer.Option("--every-source", help="Hold --target-fpr for the photographs of each source, not only for all together.")
    ] = False,
    out_of_fold: Annotated[
        bool,
        typer.Option(
            "--out-of-fold",
            "--stand-ins",
            help="With --predictions: they are those of models trained as this one was, on other images than they scored.",
        ),
    ] = False,
    method: Annotated[_Method, typer.Option("--method", help="Fit slope and offset, or only the slope.")] = _Method.platt,
    resamples: options.Resamples = 1000,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
) -> None:
    """Make the score a probability (photographs and generated images equally likely) and set the thresholds of the verdicts."""
    from dgsnet.artifacts import model_folder, names
    from dgsnet.evaluation import calibrate
    from dgsnet.evaluation.predictions import failures
    from dgsnet.reports import reliability_diagram

    if (predictions is None) == (data is None):
        raise CalibrationError("calibrate needs either --data or --predictions")
    if out_of_fold and data is not None:
        raise CalibrationError("--out-of-fold says whose --predictions are; with --data the model scores for itself")
    lost = False
    model_folder.load_config(model)  # before anything is scored: a model on the hub cannot be written to, nor one that is not there
    if data is not None:
        dataset = _chosen(data, split)
        lost, split = dataset.left_out.lost > 0, None
        with terminal.progress() as progress:
            predictions = calibrate.predict_uncalibrated(
                model, dataset, device=device, provider=provider, threads=threads, progress=progress
            )
    assert predictions is not None  # noqa: S101 - one of the two was given
    failed = failures(predictions)
    terminal.name_failures("not scored", failed)
    calibration = calibrate.calibrate(
        model,
        predictions,
        method=method.value,
        target_fpr=target_fpr,
        target_fnr=target_fnr,
        split=split,
        every_source=every_source,
        out_of_fold=out_of_fold,
        resamples=resamples,
    )
    reliability_diagram.write(model, calibration, predictions)
    _show(calibration)
    typer.echo(f"written to {model}: {names.CONFIG}, {names.CARD}, {names.DIAGRAM}", err=True)
    if failed or lost:
        raise typer.Exit(1)


def _chosen(data: Path, split: str | None) -> Dataset:
    """Load the split asked for; otherwise `val`, or all of data that is of one piece."""
    from dgsnet.data.dataset import load_dataset

    dataset = load_dataset(data)
    terminal.name_left_out(dataset.left_out)
    known = splits.names(dataset)
    if split is None and "val" not in known and len(known) > 1:
        raise CalibrationError(
            f"the data has the splits {', '.join(known)} and no `val`: name one with --split, "
            "neither the one the model was trained on nor the one it is to be tested on"
        )
    return splits.chosen(dataset, split, "val")


def _show(calibration: Calibration) -> None:
    from rich.table import Table
    from rich.text import Text

    from dgsnet.inference.writers import printable, table_console

    fitted = calibration.fitted or {}
    console = table_console()
    table = Table("", "before", "after", box=None, pad_edge=False)
    for name, title in (("ece", "ECE (95 %)"), ("log_loss", "log loss (95 %)")):
        table.add_row(title, *(interval(fitted[when][name], 3) for when in ("before", "after")))
    table.add_row("temperature", "1", f"{calibration.temperature:.4g}")
    table.add_row("offset", "0", f"{calibration.offset:.4g}")
    table.add_row("ai-generated from", "0.5", f"{calibration.generated:.4f}")
    table.add_row("real below", "0.5", f"{calibration.real:.4f}")
    console.print(table)
    verdicts = Table("", "images", "ai-generated", "inconclusive", "real", box=None, pad_edge=False)
    for word, title in (("real", "photographs"), ("fake", "generated images")):
        shares = fitted["shares"][word]
        verdicts.add_row(title, str(fitted[f"n_{word}"]), *(f"{shares[said]:.1%}" for said in ("ai-generated", "inconclusive", "real")))
    for name, one in fitted["shares"]["fpr_by_source"].items():
        # Text, not str: a str is read as markup, and brackets are legal in a source's name
        verdicts.add_row(Text(f"  {printable(name)}"), str(one["n"]), f"{one['fpr']:.1%}", "", "")
    console.print()
    console.print(verdicts)
    terminal.name_failures("warning", fitted["warnings"])
