"""Learning curves: how the linear probe on frozen CLIP fares on `test` with more images, more generators, more photo sources.

    python -m studies.search.blocks features --data CORPUS                    runs/search/features.npz (once)
    python -m studies.search.blocks features --data CORPUS --split test       runs/search/features-test.npz (once)
    python -m studies.search.curves --data CORPUS                             results/curves.{json,md,png}

The probe is the one of `blocks.py`, on block 5's mean patch token and CLIP's class token of the native centre crop, fitted to a part of
`train`; drawn `DRAWS` times. It is not the shipped model, but costs a second instead of an hour, so that a curve has points. Nothing was
chosen by these figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.data.dataset import load_dataset
from dgsnet.reports.tables import markdown
from studies.common.ranking import mean_auroc
from studies.search.blocks import FEATURES, RESULTS, ridge, stored_features

SIZES = (100, 200, 400, 800, 1400, 2100)
DRAWS = 8
TARGET = 0.85


def curves(data: Path) -> None:
    """Draw all three curves."""
    train, test = (load_dataset(data).with_split(split) for split in ("train", "test"))
    states, backbone = stored_features(FEATURES, data, ("train", "val"))
    with_val = load_dataset(data).with_split("train", "val")
    kept = np.array([sample.split == "train" for sample in with_val])
    read, unseen = _read(states[kept]), _read(stored_features(FEATURES.with_stem("features-test"), data, ("test",))[0])
    labels, sources = train.labels(), np.array([sample.source for sample in train])
    truth, generators = test.labels(), np.array([sample.generator for sample in test])
    found: dict[str, list[dict[str, Any]]] = {}
    for name, count, chosen in track(list(_choices(labels, sources)), "probes"):
        probe = ridge(read[chosen], labels[chosen].astype(np.float64))
        figure = mean_auroc(truth, probe(unseen), generators)
        points = found.setdefault(name, [])
        if not points or points[-1]["count"] != count:
            points.append({"count": count, "images": [], "auroc": []})
        points[-1]["images"].append(int(chosen.sum()))
        points[-1]["auroc"].append(round(figure, 4))
    header = {"data": [train.fingerprint(), test.fingerprint()], "backbone": backbone, "draws": DRAWS, "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "curves.json", header | {"curves": found})
    rows = [
        [name, str(point["count"]), f"{np.mean(point['images']):.0f}", f"{np.mean(point['auroc']):.3f}", f"{np.std(point['auroc']):.3f}"]
        for name, points in found.items()
        for point in points
    ]
    write_text(RESULTS / "curves.md", markdown(["more of", "count", "images", "mean AUROC on test", "spread over draws"], rows))
    _plot(found)


def _read(states: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.concatenate([states[:, 5, 1], states[:, 12, 0]], axis=1).astype(np.float64)


def _choices(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    """Yield (curve, count, which training images), each point `DRAWS` times; one stream of random numbers for all makes it reproducible."""
    draws = np.random.default_rng(0)
    photographs, generators = (sorted(set(sources[labels == label])) for label in (0, 1))
    for size in SIZES:
        for _ in range(DRAWS if size < len(labels) else 1):
            yield "images", size, np.isin(np.arange(len(labels)), draws.permutation(len(labels))[:size])
    for count in range(1, len(generators) + 1):
        for _ in range(DRAWS if count < len(generators) else 1):
            some = draws.permutation(generators)[:count]
            yield "generators", count, (labels == 0) | np.isin(sources, some)
    for count in range(1, len(photographs) + 1):
        for _ in range(DRAWS if count < len(photographs) else 1):
            some = draws.permutation(photographs)[:count]
            yield "photo sources", count, (labels == 1) | np.isin(sources, some)


def _plot(found: dict[str, list[dict[str, Any]]]) -> None:
    picture = Figure(figsize=(10, 3.4), layout="constrained")
    panels = picture.subplots(1, len(found), sharey=True)
    for axes, (name, points) in zip(panels, found.items(), strict=True):
        counts, means = [point["count"] for point in points], [np.mean(point["auroc"]) for point in points]
        axes.errorbar(counts, means, yerr=[np.std(point["auroc"]) for point in points], fmt="o-", capsize=3, markersize=4, linewidth=1)
        axes.axhline(TARGET, color="0.5", linewidth=0.8, linestyle=":")
        axes.set_title(f"training {name}", loc="left", fontsize=10)
        if name == "images":
            axes.set_xscale("log")
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
    panels[0].set_ylabel("mean AUROC on test")
    with replacing(RESULTS / "curves.png") as aside:
        picture.savefig(aside, format="png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    curves(parser.parse_args().data)
