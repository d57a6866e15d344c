"""`dgsnet compete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dgsnet.cli import terminal


def compete(
    out: Annotated[Path, typer.Option("--out", help="Folder for models, predictions, competition.json and competition.md.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Data with splits train and test. Default: a small embedded set, to see how it works.")
    ] = None,
    methods: Annotated[
        list[str] | None, typer.Option("--methods", help="An entry, or several with commas; repeatable. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each entry.")] = 3,
    gpu: Annotated[bool, typer.Option("--gpu", help="Score on the GPU; training takes one where there is one.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="One setting over the protocol's, a.b=c; repeatable. The result says so.")
    ] = None,
) -> None:
    """Train and test methods against each other under one versioned protocol. After a kill the same call goes on."""
    from dgsnet.competition import COMPETITION
    from dgsnet.competition import compete as run
    from dgsnet.core.files import write_text
    from dgsnet.reports import competition_table

    console = terminal.console()
    chosen = tuple(name for one in methods or () for name in one.split(",") if name) or None
    if data is None:
        from rich.progress import Progress

        from dgsnet.demo.make_pairs import make_pairs
        from dgsnet.demo.photographs import photographs
        from dgsnet.demo.settings import Settings

        with Progress(console=console, transient=True) as progress:
            data = make_pairs(out / "embedded", photographs(), Settings(), progress)
    result = run(data, out, chosen=chosen, seeds=seeds, device="cuda" if gpu else "cpu", settings=tuple(assignments or ()), console=console)
    text = competition_table.markdown(result)
    write_text(out / "competition.md", text)
    typer.echo(text)
    console.print(f"{out / COMPETITION}")
