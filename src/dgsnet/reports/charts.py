"""Charts as SVG, which stands inside a page and stays sharp at any size."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import roc_curve

from dgsnet.evaluation.reliability import Labels, Reliability
from dgsnet.reports.plotting import Floats, bounds, error_bars

_FAKE, _REAL, _GREY = "#d95f02", "#1f77b4", "0.55"
_POINTS = 400  # of a curve: more cannot be seen, and a large set would fill the page
_LEAST = 10  # generated images of a generator with a curve of its own


def intervals(figures: Mapping[str, Mapping[str, float | None]], title: str, reference: float | None = None) -> str:
    """Draw one bar per entry: the interval of a share 0..1 and a point at its value, by rising value; undefined ones are left out."""
    known = {name: one for name, one in figures.items() if one["value"] is not None}
    names = sorted(known, key=lambda name: (known[name]["value"], name))
    picture = Figure(figsize=(6.4, 0.9 + 0.24 * len(names)), layout="constrained")
    axes = picture.subplots()
    value, low, high = bounds([known[name] for name in names])
    places = np.arange(len(names))
    axes.hlines(places, low, high, color=_REAL, linewidth=5, alpha=0.35)
    axes.plot(value, places, "o", color=_REAL, markersize=4)
    if reference is not None:
        axes.axvline(reference, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(places, [_short(name) for name in names])
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(min(0.0 if low.size and low.min() < 0.4 else 0.4, 0.4), 1.01)
    axes.set_title(title, loc="left", fontsize=10)
    return svg(picture, title)


def roc_and_det(labels: Labels, scores: Floats, generators: list[str]) -> str:
    """Draw ROC and DET (normal deviates), side by side where there is room: pooled, and in grey each generator with at least ten images
    against all photographs."""
    roc, det = (Figure(figsize=(4.3, 4.2), layout="constrained") for _ in range(2))
    left, right = roc.subplots(), det.subplots()
    groups = np.array(generators)
    for name in sorted({str(one) for one in groups[labels == 1]}):
        chosen = (labels == 0) | (groups == name)
        if int(((groups == name) & (labels == 1)).sum()) >= _LEAST:
            _curves(left, right, labels[chosen], scores[chosen], color=_GREY, linewidth=0.6, alpha=0.7)
    _curves(left, right, labels, scores, color=_FAKE, linewidth=1.8, label="all images")
    left.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle=":")
    left.set(xlabel="photographs called generated", ylabel="generated images found", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    left.legend(frameon=False, loc="lower right")
    ticks = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
    for axis in (right.xaxis, right.yaxis):
        axis.set_ticks(norm.ppf(ticks), [f"{tick:.0%}" for tick in ticks])
    bounds = norm.ppf([0.005, 0.9])
    right.set(xlabel="photographs called generated", ylabel="generated images missed", xlim=bounds, ylim=bounds)
    left.set_title("ROC", loc="left", fontsize=10)
    right.set_title("DET", loc="left", fontsize=10)
    return f'<div class="figures">{svg(roc, "ROC curves", "half")}{svg(det, "DET curves", "half")}</div>'


def _curves(left: Any, right: Any, labels: Labels, scores: Floats, **style: Any) -> None:
    false_alarms, found, _ = roc_curve(labels, scores)
    if len(found) > _POINTS:
        kept = np.unique(np.linspace(0, len(found) - 1, _POINTS).round().astype(int))
        false_alarms, found = false_alarms[kept], found[kept]
    left.plot(false_alarms, found, **style)
    tiny = 1e-4  # a normal deviate of 0 or 1 is infinite
    right.plot(*(norm.ppf(np.clip(share, tiny, 1 - tiny)) for share in (false_alarms, 1 - found)), **style)


def reliability(labels: Labels, scores: Floats, resamples: int = 200) -> str:
    """Draw the fraction of generated images at equal priors against score, with 95 % bootstrap intervals; below, the scores' histogram."""
    picture = Figure(figsize=(5.2, 5.4), layout="constrained")
    top, bottom = picture.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    bins = [one for one in Reliability(labels, scores, resamples).bins() if one.images]
    means, (values, reach) = np.array([one.mean for one in bins]), error_bars([one.fraction.as_dict() for one in bins])
    top.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle=":")
    top.errorbar(means, values, yerr=reach, fmt="o-", color=_FAKE, capsize=3, markersize=4, linewidth=1)
    top.set(ylabel="fraction generated, equal priors", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    edges = np.linspace(0, 1, 21)
    for label, colour, name in ((0, _REAL, "photographs"), (1, _FAKE, "generated")):
        bottom.hist(scores[labels == label], edges, color=colour, alpha=0.55, label=name)
    bottom.set(xlabel="score", ylabel="images")
    bottom.legend(frameon=False, fontsize=8)
    top.set_title("Reliability", loc="left", fontsize=10)
    return svg(picture, "Reliability diagram", "half")


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"


def svg(picture: Figure, alt: str, width: str = "wide") -> str:
    """Return a figure as an element of a page: deterministic, without the prologue of a file, and named for those who cannot see it.
    `width` is ``wide``, or ``half`` of a desktop page."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": alt, "text.parse_math": False}):  # a name may hold a dollar
        picture.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    body = stream.getvalue()
    body = body[body.index("<svg") :]
    # Comments repeat every text as it is, names from outside among them.
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    named = body.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
    return f'<figure class="chart{" half" if width == "half" else ""}">{named}</figure>'
