"""`dgsnet evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dgsnet.cli import splits
from dgsnet.errors import DgsnetError
from dgsnet.figures import figure, interval


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions.parquet, metrics.json and metrics.csv.")],
    model: Annotated[str | None, typer.Option("--model", help="Shipped model, model folder or hub id.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder or manifest of labelled images.")] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Recompute metrics from this file; no image is scored.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split to score. Default: `test` where the data names one, else all.")
    ] = None,
    group: Annotated[str, typer.Option("--group", help="Column generated images are grouped by.")] = "generator",
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="Bootstrap resamples.")] = 1000,
    device: Annotated[str, typer.Option("--device", help="torch device.")] = "cpu",
) -> None:
    """Metrics per generator with 95 % bootstrap intervals. After a kill the same call goes on where it stopped."""
    from rich.console import Console

    from dgsnet import evaluation
    from dgsnet.rows import printable

    console = Console(stderr=True)
    if predictions is None:
        if model is None or data is None:
            raise DgsnetError("evaluate needs --model and --data, or --predictions")
        predictions = _predict(model, data, split, out, device, console)
    elif model is not None or data is not None:
        raise DgsnetError("--predictions stands for --model and --data: give the one or the others")
    failed = [row["error"] for row in evaluation.read_predictions(predictions).to_pylist() if row.get("error")]
    for error in failed:
        typer.echo(f"not scored: {printable(error)}", err=True)
    threshold = evaluation.recorded_threshold(predictions)
    _show(evaluation.evaluate(predictions, out, group=group, threshold=threshold, resamples=resamples))
    typer.echo(f"all figures: {out / evaluation.METRICS_JSON}", err=True)
    if failed:
        raise typer.Exit(1)


def _predict(model: str, data: Path, split: str | None, out: Path, device: str, console: Any) -> Path:
    from rich.progress import Progress

    from dgsnet import evaluation
    from dgsnet.dataset import load_dataset
    from dgsnet.detector import Detector

    dataset = splits.chosen(load_dataset(data), split, "test", console)
    detector = Detector.from_pretrained(model, device=device)
    with Progress(console=console) as progress:
        return evaluation.predict(detector, dataset, out, progress)


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from dgsnet.rows import printable, table_console

    plain = ("real_acc", "fake_acc", "tpr_at_fpr_5")
    table = Table(box=None, pad_edge=False)
    table.add_column("generator", overflow="fold")
    for column in ("images", "auroc (95 %)", *plain):
        table.add_column(column, no_wrap=True)
    reports = [*result["by_generator"].items(), ("mean of these", result["mean_over_generators"]), ("overall", result["overall"])]
    for name, report in reports:
        images = f"{report['n_real']} + {report['n_fake']}" if "n_real" in report else ""
        # Text, not str: a str is read as markup, and brackets are legal in a generator's name
        table.add_row(Text(printable(name)), images, interval(report["auroc"]), *(figure(report[metric]["value"]) for metric in plain))
    table_console().print(table)
