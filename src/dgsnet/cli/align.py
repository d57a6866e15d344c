"""`dgsnet align`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dgsnet.cli import options, splits, terminal


def align(
    data: options.DataArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the aligned images, manifest.csv, skipped.csv and align.json.")],
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the crop, pixels. Smaller images are skipped.")] = 256,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="JPEG quality, at 4:4:4.")] = 95,
    format: Annotated[Literal["jpeg", "png"], typer.Option("--format", help="jpeg or png.")] = "jpeg",  # noqa: A002 - names the option
    downscale: Annotated[
        float, typer.Option("--downscale", help="Scale each image down by a random factor from this to 0.9; 1 scales none.")
    ] = 0.5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of factors and crops.")] = 0,
    split: Annotated[str | None, typer.Option("--split", help="Split to align. Default: all.")] = None,
) -> None:
    """An aligned copy: one pipeline of size, crop and compression for both labels. After a kill the same call goes on where it stopped.

    Exit code 1 when some images could not be read; each of them is a row of skipped.csv.
    """
    from dgsnet.data import align as align_images
    from dgsnet.inference.writers import printable

    settings = align_images.Settings(size=size, format=format, quality=quality, downscale=downscale, seed=seed)
    dataset = splits.load(data, split)
    with terminal.progress() as progress:
        result = align_images.align(dataset, out, settings, progress)
    with (out / align_images.SKIPPED).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["kind"] == align_images.UNREADABLE:
                typer.echo(f"not read: {printable(row['original'])}: {printable(row['reason'])}", err=True)
    _show(result)
    typer.echo(f"aligned: {out / align_images.MANIFEST}; left out: {out / align_images.SKIPPED}", err=True)
    if dataset.left_out.lost or any(result[name]["skipped"][align_images.UNREADABLE] for name in ("real", "fake")):
        raise typer.Exit(1)


def _show(result: dict[str, Any]) -> None:
    for name, label in (("photographs", "real"), ("generated images", "fake")):
        found = result[label]
        left_out = ", ".join(f"{count} {kind}" for kind, count in found["skipped"].items() if count) or "none"
        factor = "" if found["median_factor"] is None else f", median factor {found['median_factor']:.2f}"
        typer.echo(f"{name}: {found['kept']} aligned{factor}; left out: {left_out}")
        if not found["kept"]:
            typer.echo(f"* none of the {name} is left: choose a smaller --size", err=True)
        elif result["factors"] and found["unscaled"] > 0.1 * found["kept"]:
            typer.echo(
                f"* {found['unscaled']} {name} are too small to scale and keep the trace of their past: try a smaller --size", err=True
            )
    for kind, words in (("exact", "the same bytes"), ("near", "the same picture")):
        found = result["duplicates"][kind]
        for across in ("labels", "splits"):
            if found[f"across_{across}"]:
                typer.echo(f"* {found[f'across_{across}']} times {words} across {across}; align.json names them", err=True)
