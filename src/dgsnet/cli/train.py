"""`dgsnet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dgsnet.cli import options, terminal


def train(
    data: Annotated[Path, typer.Option("--data", help="Folder or manifest (.csv, .jsonl, .parquet) of labelled images.")],
    out: options.ModelOut,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="dgs or a rival: effort, feature-distillation, full, l2sp, linear, lora, lwf, npr, null-space, ogd, pcgrad, rine. "
            "Applied last. Default: dgs, or the recipe's.",
        ),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="balanced, released or paper.")] = "balanced",
    config: Annotated[Path | None, typer.Option("--config", help="YAML recipe, applied over the preset.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="One setting, a.b=c; repeatable; applied last.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    validate: Annotated[bool, typer.Option("--validate/--no-validate", help="Score the held-out split into OUT/metrics.json.")] = True,
) -> None:
    """Train a detector: a linear probe on frozen CLIP, then LoRA under gradient surgery. Writes a model folder."""
    import dgsnet.training
    from dgsnet.core.errors import RecipeError
    from dgsnet.model import methods
    from dgsnet.model.recipe import make_recipe
    from dgsnet.training.validation import validate_on_held_out

    console = terminal.console()
    named = (f"method={method}",) if method else ()
    recipe = make_recipe(preset=preset, config=config, assignments=(*(assignments or ()), *named))
    if recipe.method not in methods.available():
        raise RecipeError(f"unknown method {recipe.method!r}: expected one of {', '.join(methods.available())}")
    dgsnet.training.train(data, out, recipe, resume=resume, console=console)
    if validate:
        validate_on_held_out(data, out, recipe, console)
