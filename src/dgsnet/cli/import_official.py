"""`dgsnet import-official`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dgsnet.cli import options


def import_official(
    checkpoint: Annotated[Path, typer.Argument(help="model_epoch_step2.pth of the research code.")],
    out: options.ModelOut,
) -> None:
    """Turn a checkpoint of the research code into a model folder. Nothing in the pickle is executed."""
    from dgsnet.artifacts import official

    typer.echo(f"model folder: {official.import_official(checkpoint, out)}", err=True)
