"""The deletion test: do heatmaps point at what the model's answer rests on?

    python -m studies.heatmap --model MODEL --data DATA --out FILE.json [--images 40] [--rule occlusion] [--rule gradient]

Cells of a picture's view are blanked one after the other: hottest first, coldest first, and in random orders. The figure of an order is the
area under its deletion curve: the mean, over the share of cells blanked, of the logit minus that of the whole picture. If evidence ranks
cells rightly, hottest first is lowest. As many photographs are drawn as generated images, evenly over sources; the intervals are bootstrap
intervals over images.

The control that a rule must beat is chance, on the same images: read `hottest_minus_random`. The test blanks cells with the colour that
both rules start from; it does not say what other changes to a picture would do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.files import write_json
from dgsnet.data.dataset import load_dataset
from dgsnet.images.decode import decode
from dgsnet.inference import heatmap
from dgsnet.inference.detector import Detector

ORDERS = ("hottest", "coldest", "random")


def areas(detector: Detector, content: bytes, rule: heatmap.Rule, counts: list[int], seeds: int) -> tuple[dict[str, float], float]:
    """Area under the deletion curve of each order, in units of the logit; and the seconds that the evidence took."""
    image = decode(content, detector.policy)
    begun = time.perf_counter()
    evidence = detector.explain(image, rule).evidence
    seconds = time.perf_counter() - begun

    def area(order: NDArray[np.int64]) -> float:
        curve = heatmap.deletion_curve(detector.runtime, detector.config.preprocessing, image, order.tolist(), counts)
        return float(np.trapezoid(curve - curve[0], np.array(counts) / counts[-1]))

    random = [area(np.random.default_rng(seed).permutation(len(evidence))) for seed in range(seeds)]
    return {"hottest": area(np.argsort(-evidence)), "coldest": area(np.argsort(evidence)), "random": float(np.mean(random))}, seconds


def interval(values: NDArray[np.float64], resamples: int = 10_000) -> dict[str, float]:
    """Mean over images, (N,), with its 95 % percentile bootstrap interval."""
    drawn = values[np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": round(float(values.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Figures of each order, their paired differences, and how often the hottest order beats chance."""
    columns = {order: np.array([row[order] for row in rows]) for order in ORDERS}
    gaps = columns["hottest"] - columns["random"]
    return {
        **{order: interval(values) for order, values in columns.items()},
        "hottest_minus_random": interval(gaps),
        "coldest_minus_random": interval(columns["coldest"] - columns["random"]),
        "hottest_below_random": round(float((gaps < 0).mean()), 4),
        "images": len(rows),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", help="default: all images")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3, help="random orders per image")
    parser.add_argument("--points", type=int, default=8, help="points of a curve; each costs a forward pass")
    parser.add_argument("--rule", action="append", choices=["occlusion", "gradient"], help="may be given twice; default: occlusion")
    arguments = parser.parse_args()

    detector = Detector.from_pretrained(arguments.model, provider="torch")
    dataset = load_dataset(arguments.data)
    dataset = (dataset.with_split(arguments.split) if arguments.split else dataset).balanced_subset(arguments.images, seed=0)
    preprocessing = detector.config.preprocessing
    counts = np.unique(np.linspace(0, (-(-preprocessing.size // preprocessing.patch)) ** 2, arguments.points).round().astype(int)).tolist()
    result: dict[str, Any] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for rule in arguments.rule or ["occlusion"]:
            rows: list[dict[str, Any]] = []
            seconds = []
            for sample in progress.track(dataset.samples, description=rule):
                found, took = areas(detector, dataset.read(sample), rule, counts, arguments.seeds)
                rows.append({"path": sample.path, "label": sample.label, **found})
                seconds.append(took)
            parts = {name: [row for row in rows if row["label"] == label] for name, label in (("photographs", 0), ("generated", 1))}
            by_label = {name: summary(part) for name, part in parts.items() if part}
            result[rule] = {"overall": summary(rows), **by_label, "seconds_an_image": round(float(np.median(seconds)), 2), "rows": rows}
    settings = {"counts": counts, "seeds": arguments.seeds, "split": arguments.split, "steps_of_gradient": heatmap.STEPS}
    write_json(
        arguments.out,
        {"model": detector.name, "fingerprint": detector.fingerprint, "dgsnet": __version__, "settings": settings, "rules": result},
    )
    for rule, figures in result.items():
        gap, share = figures["overall"]["hottest_minus_random"], figures["overall"]["hottest_below_random"]
        print(
            f"{rule}: hottest minus random {gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}) of logit on "
            f"{figures['overall']['images']} images, below random on {share:.0%}, {figures['seconds_an_image']} s an image"
        )


if __name__ == "__main__":
    main()
