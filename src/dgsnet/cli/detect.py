"""`dgsnet detect`."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from dgsnet.errors import DgsnetError


def detect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Images, folders, globs, or - for paths on standard input.")],
    model: Annotated[str, typer.Option("--model", help="Model folder or hub id.")] = "dgsnet-b16",
    out: Annotated[Path | None, typer.Option("--out", help="Write rows to F.jsonl, F.csv or F.parquet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output instead of a table.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images a GPU gets at once; changes no score on the CPU.")] = 32,
    device: Annotated[str, typer.Option("--device", help="torch device.")] = "cpu",
) -> None:
    """Score images: one row an image. Exit code 1 when some could not be scored; each of them is a row with `error`."""
    from rich.console import Console
    from rich.progress import Progress

    from dgsnet import rows

    images = list(_images(_lines_of_stdin() if paths == ["-"] else paths))
    file = rows.open_sink(out) if out else None

    from dgsnet.detector import Detector

    detector = Detector.from_pretrained(model, device=device)
    failed, console = 0, Console(stderr=True)
    table = rows.TerminalTable()
    with ExitStack() as stack:
        sinks: list[rows.Sink] = [stack.enter_context(file)] if file else []
        if json:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # JSON is UTF-8 whatever the terminal is
            sinks.append(rows.JsonLines(sys.stdout))
        progress = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        verdicts = stack.enter_context(closing(detector.detect_many(images, batch_size)))
        for verdict in progress.track(verdicts, total=len(images), description="scoring"):
            for sink in sinks or [table]:
                sink.write(verdict)
            if verdict.error:
                failed += 1
                console.print(f"not scored: {rows.printable(verdict.error)}", markup=False, highlight=False, soft_wrap=True)
    if not sinks:
        table.show()
    if out:
        typer.echo(f"{len(images)} rows in {out}", err=True)
    if failed == len(images):
        raise DgsnetError(f"none of {len(images)} images could be scored")
    if failed:
        raise typer.Exit(1)


def _lines_of_stdin() -> list[str]:
    lines = [os.fsdecode(line).rstrip("\r\n") for line in sys.stdin.buffer]
    if not any(lines):
        raise DgsnetError("no paths on standard input")
    return [line for line in lines if line]


def _images(paths: Iterable[str]) -> Iterator[str]:
    """Files named, images below folders, matches of globs, in order. A name that matches nothing is passed on: its row will say so."""
    for path in paths:
        if path == "-":
            raise DgsnetError("- stands for paths on standard input: give it alone")
        # os.path answers "no" to names that no file can have, where Path raises
        if os.path.isdir(path):  # noqa: PTH112
            yield from _below(Path(path))
        elif glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
            matches = [match for match in glob.glob(path, recursive=True) if Path(match).is_file()]  # noqa: PTH207 - patterns are strings
            yield from sorted(matches) or [path]
        else:
            yield path


def _below(folder: Path) -> Iterator[str]:
    from dgsnet.dataset import load_dataset

    dataset = load_dataset(folder, labelled=False)
    if dataset.layout == "webdataset":
        raise DgsnetError(f"{folder} holds tar shards: unpack them to detect, or use `dgsnet evaluate`, which reads them")
    for sample in dataset:
        yield str(dataset.root / sample.path)
