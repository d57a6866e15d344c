"""The command line, one module per command. Heavy imports happen inside the command that needs them, so that `--help` is instant."""

from __future__ import annotations

import io
import sys
import warnings

import typer

from dgsnet import __version__
from dgsnet.cli import (
    align,
    audit,
    calibrate,
    compete,
    demo,
    detect,
    diagnose,
    evaluate,
    export,
    import_official,
    refit,
    robustness,
    score,
    serve,
    train,
    weights,
)
from dgsnet.core.errors import DgsnetError
from dgsnet.core.extras import missing_packages

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
app.command("calibrate")(calibrate.calibrate)
app.command("compete")(compete.compete)
app.command("refit")(refit.refit)
app.command("robustness")(robustness.robustness)
app.command("diagnose")(diagnose.diagnose)
app.command("serve")(serve.serve)
app.command("import-official")(import_official.import_official)
app.command("export")(export.export)
app.command("demo")(demo.demo)
app.command("score")(score.score)
app.command("audit")(audit.audit)
app.command("align")(align.align)
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dgsnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line. Exit codes: 0 done; 1 some inputs could not be scored; 2 wrong usage, or nothing could be done; 130 Ctrl-C."""
    _settle_terminal()
    try:
        with missing_packages():
            app()
    except (DgsnetError, OSError) as error:  # OSError: a full disk, a folder without permission; its text names the file
        typer.echo(f"dgsnet: {error}", err=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:
            typer.echo("dgsnet: interrupted", err=True)
        raise


def _settle_terminal() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name that the terminal's encoding lacks must not end the run
        sys.stdout.reconfigure(errors="backslashreplace")
    # peft asks transformers for this attribute by its old name whenever it adds an adapter: nothing anybody at the terminal can change.
    # Here and not in the library, since a program that imports dgsnet decides for itself what it warns of.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # Of damaged metadata, hundreds of lines a file: whether a picture could be decoded stands in its row.
    warnings.filterwarnings("ignore", module=r"PIL\.", category=UserWarning)
