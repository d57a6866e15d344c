"""The plots of `dgsnet diagnose`: CKA by layer, spectra, and t-SNE of frozen and tuned features side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.progress import Progress

from dgsnet.data.dataset import Sample
from dgsnet.evaluation.diagnose.measure import Diagnosis
from dgsnet.evaluation.diagnose.similarity import effective_rank
from dgsnet.reports.plotting import Floats, bounds, save_png

SHOWN = 1000
"""Images in a t-SNE panel, at most; more are neither readable nor quick."""

_REAL, _FAKE, _GREY = "#1f77b4", "#d95f02", "0.45"
_MODELS = ("#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d")
_MARKERS = "os^vD<>pPX*hd"
_SEED = 0


def write(out: Path, diagnosis: Diagnosis, progress: Progress | None = None) -> None:
    """Write `layers.png`, `spectrum.png` and `tsne.png` into `out`; models of one frozen tower share its curve and its panel."""
    layers(out / "layers.png", diagnosis.figures["models"])
    spectrum(out / "spectrum.png", diagnosis.spectra, len(diagnosis.frozen))
    tsne(out / "tsne.png", diagnosis.frozen | diagnosis.tuned, diagnosis.samples, progress)


def layers(target: Path, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw CKA with the frozen tower after every block and in the joint space, from `models` of a `forgetting.json`."""
    picture = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = picture.subplots()
    depth = 0
    for number, (name, figures) in enumerate(models.items()):
        colour, rows = _MODELS[number % len(_MODELS)], figures["layers"]
        depth = max(depth, len(rows))
        blocks = [row["block"] for row in rows]
        value, low, high = bounds([*(row["class_token"] for row in rows), figures["cka"]])
        axes.plot([*blocks, len(rows) + 1], value, "o-", color=colour, markersize=4, label=f"{name}, class token")
        axes.fill_between([*blocks, len(rows) + 1], low, high, color=colour, alpha=0.2, linewidth=0)
        patches = bounds([row["patch_token"] for row in rows])[0]
        axes.plot(blocks, patches, "--", color=colour, linewidth=1, label=f"{name}, mean patch token")
        read = [block for block in figures["read_blocks"] if block <= len(rows)]
        if read:
            axes.plot(read, [patches[block - 1] for block in read], "s", color=colour, markersize=7, label=f"{name}, read by its head")
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(1, depth + 2), [*map(str, range(1, depth + 1)), "joint\nspace"])
    axes.set_xlabel("after block")
    axes.set_ylabel("CKA with the frozen CLIP, debiased")
    axes.set_title("What of each layer survives, 95 % intervals", loc="left", fontsize=11)
    _finish(picture, axes, target)


def spectrum(target: Path, spectra: Mapping[str, Floats], references: int) -> None:
    """Draw falling singular values, by name, as shares of their sum; the first `references` of them are of frozen towers."""
    picture = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = picture.subplots()
    for number, (name, values) in enumerate(spectra.items()):
        kept = values[values > values.max(initial=0) * 1e-9]
        colour = _GREY if number < references else _MODELS[(number - references) % len(_MODELS)]
        label = f"{name}: effective rank {effective_rank(values):.1f}"
        axes.plot(np.arange(1, len(kept) + 1), kept / max(kept.sum(), 1e-300), color=colour, linewidth=1.4, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("number of singular value")
    axes.set_ylabel("share of the sum")
    axes.set_title("Spectrum of the embeddings", loc="left", fontsize=11)
    _finish(picture, axes, target)


def tsne(target: Path, panels: Mapping[str, Floats], samples: Sequence[Sample], progress: Progress | None = None) -> None:
    """Draw t-SNE of (N, D) embeddings scaled to unit length, one panel per tower; colour is the label, marker the generator.

    Every panel is laid out by itself: only what lies near what can be compared, not where.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415 - slow to import

    rows = np.sort(np.random.default_rng(_SEED).permutation(len(samples))[:SHOWN])
    generators = sorted({samples[row].generator for row in rows if samples[row].label == 1})
    marker = {name: _MARKERS[1 + number % (len(_MARKERS) - 1)] for number, name in enumerate(generators)}
    picture = Figure(figsize=(4.2 * len(panels), 5.4), layout="constrained")
    grid = picture.subplots(1, len(panels), squeeze=False)[0]
    shown = progress.track(panels.items(), description="t-SNE") if progress else panels.items()
    for axes, (name, features) in zip(grid, shown, strict=True):
        chosen = features[rows]
        unit = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        perplexity = min(30.0, (len(rows) - 1) / 3)
        # One job, exact seed and PCA start: the same picture on every run.
        places = TSNE(init="pca", perplexity=perplexity, random_state=_SEED, n_jobs=1).fit_transform(unit)
        real = np.array([samples[row].label == 0 for row in rows])
        axes.scatter(*places[real].T, c=_REAL, marker=_MARKERS[0], s=9, alpha=0.7, linewidths=0)
        for generator in generators:
            mine = np.array([samples[row].label == 1 and samples[row].generator == generator for row in rows])
            axes.scatter(*places[mine].T, c=_FAKE, marker=marker[generator], s=13, alpha=0.7, linewidths=0)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
    style: dict[str, Any] = {"linestyle": "", "markersize": 5}
    handles = [Line2D([], [], color=_REAL, marker=_MARKERS[0], label="photographs", **style)]
    handles += [Line2D([], [], color=_FAKE, marker=marker[name], label=name or "unknown", **style) for name in generators]
    picture.legend(handles=handles, loc="outside lower center", ncols=max(2, 2 * len(panels)), fontsize=7, frameon=False)
    save_png(picture, target)


def _finish(picture: Figure, axes: Any, target: Path) -> None:
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    save_png(picture, target)
