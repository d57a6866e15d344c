"""`dgsnet diagnose`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dgsnet.cli import options, splits, terminal
from dgsnet.core.errors import DatasetError, DgsnetError
from dgsnet.core.format import interval

if TYPE_CHECKING:
    from dgsnet.data.dataset import Dataset
    from dgsnet.inference.detector import Detector

LIMIT = 2000


def diagnose(
    model: Annotated[list[str], typer.Option("--model", help="Shipped model, model folder or hub id; repeat it to compare models.")],
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for forgetting.json, forgetting.md, the plots and the features.")],
    split: Annotated[
        str | None, typer.Option("--split", help="Split to compare on. Default: `test` where the data names one, else all.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=8, help="Compare on at most so many images, as many of each label; cost grows with its square.")
    ] = LIMIT,
    task: Annotated[
        list[Path] | None, typer.Option("--task", help="Folder of images whose subfolders are classes: one more task. Repeatable.")
    ] = None,
    caption_column: Annotated[str, typer.Option("--caption-column", help="Manifest column with captions.")] = "caption",
    device: options.TorchDevice = "cpu",
) -> None:
    """Measure how much of the frozen CLIP survives fine-tuning. After a kill the same call goes on where it stopped."""
    dataset = splits.load(data, split, "test", caption_column)
    if len(dataset) > limit:
        dataset = dataset.balanced_subset(limit, seed=0)
    tasks = {name: _task(folder, limit) for name, folder in _named([str(folder) for folder in task or []]).items()}

    from dgsnet.evaluation.diagnose import measure
    from dgsnet.inference.detector import Detector
    from dgsnet.reports import diagnose_page, diagnose_plots

    detectors: dict[str, Detector] = {
        name: Detector.from_pretrained(one, device=device, provider="torch") for name, one in _named(model).items()
    }
    with terminal.progress() as progress:
        diagnosis = measure.diagnose(detectors, dataset, out, tasks=tasks, progress=progress)
        diagnose_plots.write(out, diagnosis, progress)
    result = diagnosis.figures
    page = diagnose_page.write(out, result)
    terminal.name_failures("not used", result["failed"].values())
    _show(result)
    typer.echo(f"all figures: {out / measure.FORGETTING_JSON}, in words: {page}", err=True)
    if result["failed"]:
        raise typer.Exit(1)


def _named(given: list[str]) -> dict[str, str]:
    """Name what was given by its last folder's name, or in full where two would share it."""
    if len(set(given)) < len(given):
        raise DgsnetError(f"expected each model and each task once, but got {', '.join(given)}")
    names = [Path(one).absolute().name for one in given]
    return {name if names.count(name) == 1 else one: one for name, one in zip(names, given, strict=True)}


def _task(folder: str, limit: int) -> Dataset:
    """Return the images of a folder of classes, each with its class as its source, so that a subset is balanced over classes."""
    from dgsnet.data.dataset import load_dataset
    from dgsnet.evaluation.diagnose.retention import class_of

    if not Path(folder).is_dir():
        raise DatasetError(f"{folder}: no such folder; --task takes a folder whose subfolders are classes")
    dataset = load_dataset(folder, labelled=False)
    terminal.name_left_out(dataset.left_out)
    dataset = replace(dataset, samples=tuple(replace(sample, source=class_of(sample)) for sample in dataset))
    return dataset.balanced_subset(limit, seed=0) if len(dataset) > limit else dataset


def _show(result: dict[str, Any]) -> None:
    headlines = ("cka", "knn_overlap", "procrustes", "probe_retention")
    rows = [
        (name, *(interval(figures, 3) for figures in (one["detection"]["auroc"], *(one[headline] for headline in headlines))))
        for name, one in result["models"].items()
    ]
    terminal.show_table(("model", "auroc (95 %)", *headlines), rows)
