"""The figures of `engine.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_LINES = {
    "bare": ("forward pass alone", "--", "0.5"),
    "crop": ("end to end, view crop", "o-", "tab:green"),
    "patches": ("end to end, view patches", "s-", "tab:blue"),
    "literal": ("literal: loop over patches, torch", "^-", "tab:red"),
}


def show_sizes(rows: list[dict[str, Any]], file: Path) -> None:
    """Images a second over megapixels."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, (label, style, colour) in _LINES.items():
        axes.loglog([row["megapixels"] for row in rows], [row["images_a_second"][name] for row in rows], style, color=colour, label=label)
    axes.set(xlabel="megapixels", ylabel="images a second")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def show_numbers(rows: list[dict[str, Any]], file: Path) -> None:
    """Seconds and memory over the number of images."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained", height_ratios=(2, 1))
    counts, seconds = [row["images"] for row in rows], [row["seconds"] for row in rows]
    above.loglog(counts, seconds, "o-", color="tab:blue", label="measured")
    pace = seconds[-1] / counts[-1]
    above.loglog(counts, [pace * count for count in counts], "--", color="0.5", label=f"{1 / pace:.0f} images a second")
    above.set(ylabel="seconds")
    above.grid(which="both", alpha=0.3)
    above.legend()
    memory = [row["resident_mb"] for row in rows]
    below.semilogx(counts, memory, "o-", color="tab:blue")
    below.set(xlabel="images", ylabel="resident memory, MB", ylim=(0, 1.2 * max(memory)))
    below.grid(which="both", alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)
