"""`dgsnet demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dgsnet.cli import terminal


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for all that is made; a second call goes on where one stopped.")] = Path(
        "dgsnet-demo"
    ),
    backbone: Annotated[str, typer.Option("--backbone", help="Name or folder of the backbone.")] = "clip-vit-b16",
    images: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture for the shipped model to score besides; may be given several times.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few crops and steps: shows that everything runs, and nothing else.")] = False,
) -> None:
    """Score packaged photographs with the shipped model; then train on photographs and their reconstructions, test on others.

    Prints tables and saves a plot.
    """
    from dgsnet.demo import QUICK, Settings, run

    run(out, QUICK if quick else Settings(), backbone=backbone, images=images or (), console=terminal.console())
