"""A competition as a Markdown table."""

from __future__ import annotations

from typing import Any

from dgsnet.core.format import interval
from dgsnet.reports import tables

_TITLES = ("method", "AUROC, mean over generators", "worst generator", "balanced accuracy at 0.5", "found at 5 %", "seconds a run")


def markdown(result: dict[str, Any]) -> str:
    """Render the content of `competition.json`: one table a pipeline, the margins, and where it falls short of the protocol."""
    parts = [f"Protocol `{result['protocol']}`, version {result['version']}, data `{result['data'][:12]}`, dgsnet {result['dgsnet']}.\n"]
    if result["shortfalls"]:
        parts.append("**Not a result of this protocol**: " + "; ".join(result["shortfalls"]) + ".\n")
    for name, pipeline in result["pipelines"].items():
        images = pipeline["images"]
        parts.append(
            f"## {name}\n\n{images['photographs']} photographs, {images['generated']} images of {images['generators']} generators.\n"
        )
        ranked = sorted(pipeline["methods"].items(), key=lambda item: -item[1]["auroc"]["value"])
        parts.append(tables.markdown(_TITLES, [_row(method, figures) for method, figures in ranked]))
        if margin := pipeline["margin"]:
            over, mean = interval(margin["over_best_rival"], 3, sign=True), interval(margin["over_mean_of_rivals"], 3, sign=True)
            parts.append(
                f"`{margin['of']}` minus the best rival, `{margin['best_rival']}`: {over}; minus the mean of the rivals: {mean}. "
                f"The paper says {margin['paper']:+.3f} of accuracy over the best.\n"
            )
    return "\n".join(parts)


def _row(method: str, figures: dict[str, Any]) -> list[str]:
    worst = min(figures["by_generator"], key=lambda name: figures["by_generator"][name])
    seconds = sum(figures["seconds"]) / len(figures["seconds"])
    shares = (f"{figures[key]:.3f}" for key in ("balanced_acc", "tpr_at_fpr_5"))
    return [method, interval(figures["auroc"], 3), f"{worst} {figures['by_generator'][worst]:.2f}", *shares, f"{seconds:.0f}"]
