"""`dgsnet import-official`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_official(
    checkpoint: Annotated[Path, typer.Argument(help="model_epoch_step2.pth of the research code.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
) -> None:
    """Turn a checkpoint of the research code into a model folder. Nothing in the pickle is executed."""
    from dgsnet.artifacts.official import import_official as convert

    typer.echo(f"model folder: {convert(checkpoint, out)}", err=True)
