"""The demo's table and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dgsnet.demo.settings import Settings
from dgsnet.evaluation import metrics
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.predictions import read_predictions
from dgsnet.reports.plotting import save_png

_SEEN, _UNSEEN = "mean, seen", "mean, unseen"
_COLOURS = ("#7f7f7f", "#1f77b4", "#d95f02", "#7570b3")

PLAIN = (
    "What this is: each twin is a photograph's own content, passed once through a toy autoencoder (some ten thousand weights, fitted in "
    "seconds) and saved exactly as the photograph was. So subject, picture size, format and caption carry no label; only the decoder's "
    "trace does. No detector was trained on any of these photographs, nor on a decoder marked unseen.",
    "What this is not: the twins are reconstructions, not generated pictures, and a few crops of a few photographs are a small test. The "
    "intervals say how small, and they take crops of one photograph as independent. All these decoders double the resolution once, so an "
    "unseen one is a cousin of the seen: one hand-made number, how unevenly detail is spread over a period of two pixels, finds most of "
    "their twins too. A good figure here is no promise for real generators.",
    "What it cannot say: whether surgery helps. dgs differs from linear in fine-tuning first of all, plain lora is not in the table, and "
    "captions that do not know the label leave suppression little to remove.",
)


def figures(predictions: Path, settings: Settings) -> dict[str, Any]:
    """AUROC and balanced accuracy (at score 0.5) with 95 % intervals, by decoder and as means over seen and unseen decoders.

    A decoder's figures pool its twins with all photographs of the test split.
    """
    rows = [row for row in read_predictions(predictions).to_pylist() if row["score"] is not None]
    found: dict[str, Any] = {}
    for names, mean in ((settings.seen, _SEEN), (settings.unseen, _UNSEEN)):
        kept = [row for row in rows if row["label"] == 0 or row["generator"] in names]
        columns = [row["label"] for row in kept], [row["score"] for row in kept], [row["generator"] for row in kept]
        for name, figure in metrics.by_generator(*columns, resamples=settings.resamples).items():
            found[name] = _chosen(figure.figures)
        found[mean] = _chosen(metrics.macro_average(*columns, resamples=settings.resamples))
    return found


def _chosen(estimates: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: estimates[name].as_dict() for name in ("auroc", "balanced_acc")}


def show(console: Console, result: dict[str, Any], settings: Settings) -> None:
    """Print the table, and what it means and does not mean."""
    table = Table(box=None, pad_edge=False, title="Photograph or twin? On photographs held out, by decoder", title_justify="left")
    for column in ("decoder", "", "PSNR"):
        table.add_column(column, no_wrap=True)
    for method in result["figures"]:
        table.add_column(f"{method}\nAUROC")
        table.add_column("\naccuracy")
    for name in (*settings.seen, _SEEN, *settings.unseen, _UNSEEN):
        cells = [_cell(by_name[name][metric]) for by_name in result["figures"].values() for metric in ("auroc", "balanced_acc")]
        quality = f"{result['psnr'][name]:.1f} dB" if name in result["psnr"] else ""
        kind = "" if name in (_SEEN, _UNSEEN) else "seen" if name in settings.seen else "unseen"
        table.add_row(name, kind, quality, *cells, style="bold" if not kind else None, end_section=not kind)
    console.print(table)
    for paragraph in PLAIN:
        console.print()
        console.print(paragraph, highlight=False)


def _cell(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.2f} [dim]{figure['low']:.2f}-{figure['high']:.2f}[/]"


def plot(target: Path, result: dict[str, Any], settings: Settings) -> None:
    """Save a PNG: AUROC of each method on each decoder, with its interval."""
    names = [*settings.seen, *settings.unseen]
    picture = Figure(figsize=(7.5, 1.6 + 0.55 * len(names)), layout="constrained")
    axes = picture.subplots()
    methods = list(result["figures"])
    for number, (method, by_name) in enumerate(result["figures"].items()):
        places = [place + 0.16 * (number - (len(methods) - 1) / 2) for place in range(len(names))]
        values = [by_name[name]["auroc"] for name in names]
        reach = [[v["value"] - v["low"] for v in values], [v["high"] - v["value"] for v in values]]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar([v["value"] for v in values], places, xerr=reach, fmt="o", color=colour, capsize=3, label=method)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.axhline(len(settings.seen) - 0.5, color="0.85", linewidth=0.8)
    labels = [f"{name}\n({'seen' if name in settings.seen else 'unseen'}, {result['psnr'][name]:.1f} dB)" for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUROC, photograph against twin, 95 % interval; dotted: chance")
    axes.set_title("Photographs held out, by decoder that made the twins", loc="left", fontsize=11)
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_png(picture, target)
