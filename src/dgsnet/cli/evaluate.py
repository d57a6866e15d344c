"""`dgsnet evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dgsnet.errors import DatasetError, DgsnetError

if TYPE_CHECKING:
    from dgsnet.dataset import Dataset


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions.parquet, metrics.json and metrics.csv.")],
    model: Annotated[str | None, typer.Option("--model", help="Model folder or hub id.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder or manifest of labelled images.")] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Recompute metrics from this file; no image is scored.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Split to score. Default: `test` where the data names one, else all.")] = None,
    group: Annotated[str, typer.Option("--group", help="Column generated images are grouped by.")] = "generator",
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="Bootstrap resamples.")] = 1000,
    device: Annotated[str, typer.Option("--device", help="torch device.")] = "cpu",
) -> None:
    """Metrics per generator with 95 % bootstrap intervals. After a kill the same call goes on where it stopped."""
    from rich.console import Console

    from dgsnet import evaluation

    console = Console(stderr=True)
    if predictions is None:
        if model is None or data is None:
            raise DgsnetError("evaluate needs --model and --data, or --predictions")
        predictions = _predict(model, data, split, out, device, console)
    elif model is not None or data is not None:
        raise DgsnetError("--predictions stands for --model and --data: give the one or the others")
    table = evaluation.read_predictions(predictions)
    threshold = evaluation.recorded_threshold(predictions)
    _show(evaluation.evaluate(predictions, out, group=group, threshold=threshold, resamples=resamples))
    failed = [row for row in table.to_pylist() if row.get("error")]
    for row in failed:
        typer.echo(f"not scored: {row['path']}: {row['error']}", err=True)
    if failed:
        raise typer.Exit(1)


def _predict(model: str, data: Path, split: str | None, out: Path, device: str, console: Any) -> Path:
    from rich.progress import Progress

    from dgsnet import evaluation
    from dgsnet.dataset import load_dataset
    from dgsnet.detector import Detector

    dataset = _chosen(load_dataset(data), split, console)
    detector = Detector.from_pretrained(model, device=device)
    with Progress(console=console) as progress:
        return evaluation.predict(detector, dataset, out, progress)


def _chosen(dataset: Dataset, split: str | None, console: Any) -> Dataset:
    splits = sorted({sample.split for sample in dataset if sample.split})
    if split is None and "test" not in splits:
        return dataset
    wanted = split or "test"
    if wanted not in splits:
        raise DatasetError(f"the data has no split {wanted!r}: it has {', '.join(splits) or 'none'}")
    chosen = dataset.with_split(wanted)
    console.print(f"split {wanted!r}: {len(chosen)} of {len(dataset)} images")
    return chosen


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = ("auroc", "ap", "acc", "fake_acc", "tpr_at_fpr_5")
    table = Table("generator", "images", *shown, box=None, pad_edge=False)
    for name, report in {**result["by_generator"], "overall": result["overall"]}.items():
        cells = [_cell(report[metric]) for metric in shown]
        table.add_row(name, f"{report['n_real']} + {report['n_fake']}", *cells)
    if result["mean_over_generators"]:
        table.add_row("mean over generators", "", *(_cell(result["mean_over_generators"][metric]) for metric in shown))
    Console().print(table)


def _cell(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f} [dim]{figure['low']:.2f}-{figure['high']:.2f}[/]"
