"""`dgsnet detect`."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from dgsnet.errors import DgsnetError


def detect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Images, folders, globs, or - for paths on standard input.")],
    model: Annotated[str, typer.Option("--model", help="Model folder or hub id.")] = "dgsnet-b16",
    out: Annotated[Path | None, typer.Option("--out", help="Write rows to F.jsonl, F.csv or F.parquet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output instead of a table.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images the device gets at once; never changes a score.")] = 32,
    device: Annotated[str, typer.Option("--device", help="torch device.")] = "cpu",
) -> None:
    """Score images: one row an image. Exit code 1 when some could not be scored; each of them is a row with `error`."""
    from rich.console import Console
    from rich.progress import Progress

    from dgsnet import rows

    if "-" in paths and paths != ["-"]:
        raise DgsnetError("- stands for paths on standard input: give it alone")
    images = list(_images(paths))
    if not images:
        raise DgsnetError(f"no images found in {', '.join(paths)}")

    from dgsnet.detector import Detector

    detector = Detector.from_pretrained(model, device=device)
    failed = 0
    table = None if json or out else rows.TerminalTable()
    with ExitStack() as stack:
        sinks: list[rows.Sink] = [rows.JsonLines(sys.stdout)] if json else []
        if out is not None:
            sinks.append(stack.enter_context(rows.open_sink(out)))
        if table is not None:
            sinks.append(table)
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        for verdict in progress.track(detector.detect_many(images, batch_size), total=len(images), description="scoring"):
            for sink in sinks:
                sink.write(verdict)
            if verdict.error:
                failed += 1
                progress.console.print(f"not scored: {verdict.path}: {verdict.error}", markup=False, highlight=False, soft_wrap=True)
    if table is not None:
        table.show(Console())
    if failed == len(images):
        raise DgsnetError(f"none of {len(images)} images could be scored")
    if failed:
        raise typer.Exit(1)


def _images(paths: list[str]) -> Iterator[str]:
    """Files named, images below folders, matches of globs, in order. A name that matches nothing is passed on: its row will say so."""
    for path in (line.rstrip("\n") for line in sys.stdin) if paths == ["-"] else paths:
        if not path:
            continue
        if Path(path).is_dir():
            yield from _below(Path(path))
        elif not Path(path).exists() and glob.has_magic(path):
            yield from sorted(match for match in glob.glob(path, recursive=True) if Path(match).is_file())  # noqa: PTH207 - patterns are strings
        else:
            yield path


def _below(folder: Path) -> Iterator[str]:
    from dgsnet.dataset import load_dataset

    dataset = load_dataset(folder, labelled=False)
    for sample in dataset:
        yield str(dataset.root / sample.path)
