"""Figures over severity, one panel per kind of perturbation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgsnet.evaluation.robustness.compare_runs import COMPARED
from dgsnet.reports.plotting import error_bars, save_png

SEVERITY_PNG, GENERATORS_PNG = "severity.png", "generators.png"

_ACROSS = 4
_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666")

_State = Mapping[str, Any]  # a result's entry for one perturbation: `perturbation`, `severity` and figures


def write(out: Path, result: Mapping[str, Any]) -> None:
    """Write `out/severity.png` and `out/generators.png` of a result of `robustness.evaluate`."""
    save_png(severity_panels(result), out / SEVERITY_PNG)
    save_png(generator_panels(result), out / GENERATORS_PNG)


def write_comparison(out: Path, result: Mapping[str, Any]) -> None:
    """Write a plot of each of `COMPARED`, such as `out/auroc.png`, of a result of `robustness.compare`."""
    for metric in COMPARED:
        save_png(method_panels(result["perturbations"], result["detectors"], metric), out / f"{metric}.png")


def severity_panels(result: Mapping[str, Any]) -> Figure:
    """Draw AUROC and flip rate over severity with their intervals, of a result of `robustness.evaluate`."""
    picture, panels = _panels(result["perturbations"])
    for axes, members in panels:
        for name, colour, label in (("auroc", _COLOURS[0], "AUROC"), ("flip_rate", _COLOURS[1], "flip rate")):
            _line(axes, [result["perturbations"][at][name] for at in members], colour, label)
        if (clean := result["clean"]["auroc"]["value"]) is not None:
            axes.axhline(clean, color=_COLOURS[0], linewidth=0.8, linestyle=":", label="AUROC, clean")
        axes.set_ylim(-0.03, 1.03)
    return _with_legend(picture)


def generator_panels(result: Mapping[str, Any]) -> Figure:
    """Draw AUROC of each generator over severity, the clean images at the left of every panel, of a result of `robustness.evaluate`."""
    generators = result["by_generator"]
    picture, panels = _panels(result["perturbations"], clean=True)
    shades = colormaps["tab20"]
    for axes, members in panels:
        for number, (name, one) in enumerate(generators.items()):
            known = [one["clean"], *(one["auroc"][at] for at in members)]
            values = np.array([each["value"] for each in known], dtype=float)
            label = f"{name} ({one['n_fake']})"
            axes.plot(range(len(values)), values, "o-", color=shades(number % 20), markersize=3, linewidth=1, label=label)
        axes.set_ylim(-0.03, 1.03)
    return _with_legend(picture)


def method_panels(states: Sequence[_State], detectors: Mapping[str, Mapping[str, Any]], metric: str) -> Figure:
    """Draw one line per detector: a figure over severity with its interval, the clean images at the left of every panel.

    Args:
        states: perturbations, each with `perturbation` and `severity`.
        detectors: of each by name `clean` and, in the order of `states`, `perturbations`, both with the figure.
        metric: name of the figure.
    """
    picture, panels = _panels(states, clean=True)
    for axes, members in panels:
        for number, (name, one) in enumerate(detectors.items()):
            figures = [one["clean"], *(one["perturbations"][at] for at in members)]
            shift = 0.08 * (number - (len(detectors) - 1) / 2)  # side by side, so that intervals can be told apart
            _line(axes, [each[metric] for each in figures], _COLOURS[number % len(_COLOURS)], name, shift)
    picture.suptitle(f"{metric} over severity, 95 % intervals", x=0.01, ha="left", fontsize=10)
    return _with_legend(picture)


def _panels(states: Sequence[_State], clean: bool = False) -> tuple[Figure, Iterator[tuple[Axes, list[int]]]]:
    """Return a figure, and for each kind its axes and the places of its states; with `clean`, panels begin with the images as they are."""
    kinds: dict[str, list[int]] = {}
    for at, one in enumerate(states):
        kinds.setdefault(one["perturbation"], []).append(at)
    columns = min(_ACROSS, len(kinds))
    rows = -(-len(kinds) // columns)
    picture = Figure(figsize=(1.2 + 2.9 * columns, 1 + 2.4 * rows), layout="constrained")
    grid = list(picture.subplots(rows, columns, sharey=True, squeeze=False).flat)

    def prepared() -> Iterator[tuple[Axes, list[int]]]:
        for axes, (kind, members) in zip(grid, kinds.items(), strict=False):
            severities = [states[at]["severity"] for at in members]
            ticks = [*(["clean"] if clean else []), *("" if one is None else f"{one:g}" for one in severities)]
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set_xlim(-0.5, len(ticks) - 0.5)
            axes.set_title(kind, loc="left", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
            yield axes, members
        for axes in grid[len(kinds) :]:
            axes.set_axis_off()

    return picture, prepared()


def _line(axes: Axes, figures: Sequence[Mapping[str, float | None]], colour: str, label: str, shift: float = 0.0) -> None:
    value, reach = error_bars(figures)
    places = np.arange(len(value)) + shift
    axes.errorbar(places, value, yerr=reach, fmt="o-", color=colour, capsize=3, markersize=4, linewidth=1, label=label)


def _with_legend(picture: Figure) -> Figure:
    handles, labels = picture.axes[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))), frameon=False, fontsize=8)
    return picture
