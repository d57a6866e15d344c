"""Render the demo's result as a table on the terminal and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dgsnet.reports.plotting import error_bars, save_png

_COLOURS = ("#7f7f7f", "#1f77b4", "#d95f02", "#7570b3")

PLAIN = (
    "What this is: each reconstruction is a photograph's own content, passed once through a toy autoencoder (some ten thousand weights, "
    "fitted in seconds) and saved exactly as the photograph was. So subject, picture size, format and caption carry no label; only the "
    "decoder's trace does. No detector was trained on any of these photographs, nor on a decoder marked unseen.",
    "What this is not: reconstructions are not generated pictures, and a few crops of a few photographs are a small test. The "
    "intervals say how small, and they take crops of one photograph as independent. All these decoders double the resolution once, so an "
    "unseen one is a cousin of the seen: one hand-made number, how unevenly detail is spread over a period of two pixels, finds most of "
    "their reconstructions too. A good figure here is no promise for real generators.",
    "What it cannot say: whether surgery helps. dgs differs from linear in fine-tuning first of all, plain lora is not in the table, and "
    "captions that do not know the label leave suppression little to remove.",
)


def show(console: Console, result: dict[str, Any], decoders: Mapping[str, Sequence[str]]) -> None:
    """Print the table, and what it means and does not mean.

    `result` has `figures` by method and decoder (`dgsnet.demo.run.figures`), with the means as `mean, KIND`, and `psnr` (dB) by decoder;
    `decoders` are names by kind: `seen`, `unseen`.
    """
    table = Table(box=None, pad_edge=False, title="Photograph or reconstruction? On photographs held out, by decoder", title_justify="left")
    for column in ("decoder", "", "PSNR"):
        table.add_column(column, no_wrap=True)
    for method in result["figures"]:
        table.add_column(f"{method}\nAUROC")
        table.add_column("\naccuracy")
    for kind, names in decoders.items():
        for name in names:
            table.add_row(name, kind, f"{result['psnr'][name]:.1f} dB", *_cells(result, name))
        table.add_row(f"mean, {kind}", "", "", *_cells(result, f"mean, {kind}"), style="bold", end_section=True)
    console.print(table)
    for paragraph in PLAIN:
        console.print()
        console.print(paragraph, highlight=False)


def _cells(result: dict[str, Any], name: str) -> list[str]:
    return [_cell(by_name[name][metric]) for by_name in result["figures"].values() for metric in ("auroc", "balanced_acc")]


def _cell(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.2f} [dim]{figure['low']:.2f}-{figure['high']:.2f}[/]"


def plot(target: Path, result: dict[str, Any], decoders: Mapping[str, Sequence[str]]) -> None:
    """Save a PNG: AUROC of each method on each decoder, with its interval. Arguments are those of `show`."""
    kinds = {name: kind for kind, names in decoders.items() for name in names}
    names = list(kinds)
    picture = Figure(figsize=(7.5, 1.6 + 0.55 * len(names)), layout="constrained")
    axes = picture.subplots()
    methods = list(result["figures"])
    for number, (method, by_name) in enumerate(result["figures"].items()):
        places = [place + 0.16 * (number - (len(methods) - 1) / 2) for place in range(len(names))]
        values, reach = error_bars([by_name[name]["auroc"] for name in names])
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar(values, places, xerr=reach, fmt="o", color=colour, capsize=3, label=method)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.axhline(len(decoders["seen"]) - 0.5, color="0.85", linewidth=0.8)
    labels = [f"{name}\n({kind}, {result['psnr'][name]:.1f} dB)" for name, kind in kinds.items()]
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUROC, photograph against reconstruction, 95 % interval; dotted: chance")
    axes.set_title("Photographs held out, by decoder of their reconstructions", loc="left", fontsize=11)
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_png(picture, target)
