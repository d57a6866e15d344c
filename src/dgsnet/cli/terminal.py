"""Terminal of a command: tables on standard output; progress, and why images were left out, on standard error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from dgsnet.data.left_out import LeftOut


def console() -> Console:
    """Return standard error for messages."""
    from rich.console import Console

    return Console(stderr=True)


def progress() -> Progress:
    """Return bars on standard error."""
    from rich.progress import Progress

    return Progress(console=console())


def name_failures(failure: str, reasons: Iterable[str]) -> None:
    """Print one line per reason, each after the kind of failure, such as ``not scored``."""
    from dgsnet.inference.writers import printable

    for reason in reasons:
        typer.echo(f"{failure}: {printable(reason)}", err=True)


def name_left_out(left_out: LeftOut) -> bool:
    """Print what a listing passed over, a line per reason; tell whether some of it may be pictures."""
    name_failures("left out", left_out.lines())
    return left_out.lost > 0


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], outside: Collection[int] = (0,)) -> None:
    """Print a table.

    Args:
        columns: titles.
        rows: cells; a row may be shorter than the table.
        outside: numbers of the columns with text from outside. It is broken over lines where there is no room, and never read as markup:
            brackets are legal in the name of a generator.
    """
    from rich.table import Table
    from rich.text import Text

    from dgsnet.inference.writers import printable, table_console

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(columns):
        table.add_column(title, overflow="fold" if number in outside else "ellipsis", no_wrap=number not in outside)
    for row in rows:
        table.add_row(*(Text(printable(cell)) if number in outside else cell for number, cell in enumerate(row)))
    table_console().print(table)
