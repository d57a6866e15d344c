"""`dgsnet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[Path, typer.Option("--data", help="Folder or manifest (.csv, .jsonl, .parquet) of labelled images.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
    method: Annotated[str, typer.Option("--method", help="linear, lora or dgs.")] = "dgs",
    preset: Annotated[str, typer.Option("--preset", help="balanced, released or paper.")] = "balanced",
    config: Annotated[Path | None, typer.Option("--config", help="YAML recipe, applied over the preset.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="One setting, a.b=c; repeatable; applied last.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    validate: Annotated[bool, typer.Option("--validate/--no-validate", help="Score the held-out split into OUT/metrics.json.")] = True,
) -> None:
    """Train a detector: a linear probe on frozen CLIP, then LoRA under gradient surgery. Writes a model folder."""
    from rich.console import Console

    from dgsnet.recipe import make_recipe
    from dgsnet.training import train as run
    from dgsnet.training.validation import validate_on_held_out

    console = Console(stderr=True)
    recipe = make_recipe(method, preset, config, tuple(assignments or ()))
    run(data, out, recipe, resume=resume, console=console)
    if validate:
        validate_on_held_out(data, out, recipe, console)
