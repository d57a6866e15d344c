"""`dgsnet audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dgsnet.cli import options, splits, terminal
from dgsnet.core.format import interval


def audit(
    data: options.DataArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for audit.json and audit.html.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 when files alone reach an AUC of 0.75.")] = False,
    split: Annotated[str | None, typer.Option("--split", help="Split to audit. Default: all.")] = None,
    marks: options.Marks = None,
) -> None:
    """Measure how well format, size, quality, metadata alone tell real from fake. After a kill the same call goes on where it stopped."""
    from dgsnet.evaluation import audit
    from dgsnet.provenance import load_marks
    from dgsnet.reports import audit_page

    table = load_marks(marks)
    dataset = splits.load(data, split)
    with terminal.progress() as progress:
        result = audit.audit(dataset, out, progress, table)
    page = audit_page.write(out, result)
    terminal.name_failures("not read", (row["error"] for row in result["unreadable"]))
    _show(result)
    typer.echo(f"all figures: {out / audit.AUDIT_JSON}; to read: {page}", err=True)
    if strict and result["shortcut_auc"] >= audit.STRONG:
        typer.echo(f"dgsnet: files alone reach AUC {result['shortcut_auc']:.3f}; --strict allows less than {audit.STRONG}", err=True)
        raise typer.Exit(2)
    if result["unreadable"] or dataset.left_out.lost:
        raise typer.Exit(1)


def _show(result: dict[str, Any]) -> None:
    rows = [
        ("all together (95 %)", interval(result["shortcut"])),
        ("  on unseen sources", interval(result["across_sources"])),
        *(
            (one["name"] + ("" if one["counts"] else " (not counted)"), f"{one['auc']:.3f}", one["real"], one["fake"])
            for one in result["features"]
        ),
    ]
    terminal.show_table(("column", "auc", "real", "fake"), rows, outside=(2, 3))
    for line in result["advice"]:
        typer.echo(f"* {line}")
