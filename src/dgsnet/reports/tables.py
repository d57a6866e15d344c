"""Tables of text as Markdown and as LaTeX (booktabs). Cells come from outside: names of models, generators, folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown that ends in a newline; bars in cells are escaped, line breaks become blanks."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", r"\|").split())


def latex(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, label: str) -> str:
    """Return a `table` environment for the package `booktabs`: the first column left, the others right; all text escaped but `label`."""
    body = "".join(f"{_latex_row(row)}\n" for row in rows)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escape_latex(caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n\\toprule\n{_latex_row(header)}\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"


def escape_latex(text: str) -> str:
    """Return text as LaTeX prints it: special characters escaped, line breaks as blanks."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
