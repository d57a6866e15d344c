"""Figures and their intervals as text: in tables on the terminal, on model cards and in result files alike."""

from __future__ import annotations

from collections.abc import Mapping


def figure(value: float | None) -> str:
    """Write a figure with three decimals; ``-`` where it is undefined."""
    return "-" if value is None else f"{value:.3f}"


def interval(estimate: Mapping[str, float | None], digits: int = 2, *, sign: bool = False) -> str:
    """Write `{"value", "low", "high"}` as ``0.743 (0.71 to 0.77)``; ``-`` where it is undefined.

    Args:
        estimate: a figure as `metrics.json` holds it.
        digits: decimals of the bounds.
        sign: write the plus of what is a difference.
    """
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None or low is None or high is None:
        return "-"
    plus = "+" if sign else ""
    return f"{value:{plus}.3f} ({low:{plus}.{digits}f} to {high:{plus}.{digits}f})"


def table_cell(text: str) -> str:
    """Return text from outside as a cell of a Markdown table: neither cell nor line ends in it."""
    return " ".join(text.replace("|", "/").split())
