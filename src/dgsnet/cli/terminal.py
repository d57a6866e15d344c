"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.table import Table
from rich.text import Text

from dgsnet.inference.writers import printable, table_console


def show(columns: Sequence[str], rows: Iterable[Sequence[str]], outside: Collection[int] = (0,)) -> None:
    """Print a table.

    Args:
        columns: titles.
        rows: cells; a row may be shorter than the table.
        outside: numbers of the columns with text from outside. It is broken over lines where there is no room, and never read as markup:
            brackets are legal in the name of a generator.
    """
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(columns):
        table.add_column(title, overflow="fold" if number in outside else "ellipsis", no_wrap=number not in outside)
    for row in rows:
        table.add_row(*(Text(printable(cell)) if number in outside else cell for number, cell in enumerate(row)))
    table_console().print(table)
