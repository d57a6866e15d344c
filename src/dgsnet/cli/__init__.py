"""The command line, one module a command. Heavy imports happen inside the command that needs them, so that `--help` is instant."""

from __future__ import annotations

import sys

import typer

from dgsnet import __version__
from dgsnet.cli import demo, detect, evaluate, train, weights
from dgsnet.errors import DgsnetError

app = typer.Typer(
    name="dgsnet",
    help="Tell photographs from AI-generated images with a CLIP fine-tuned by gradient surgery. A score is a signal, not proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("detect")(detect.detect)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("demo")(demo.demo)
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dgsnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit.")) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line. Exit codes: 0 done; 1 some inputs could not be scored; 2 wrong usage, or nothing could be done."""
    try:
        app()
    except DgsnetError as error:
        typer.echo(f"dgsnet: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("dgsnet: interrupted", err=True)
        sys.exit(130)
