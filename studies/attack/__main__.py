"""A white-box attack on a detector whose weights are public: Auto-PGD within a few grey levels, on images of a test split.

    python -m studies.attack --data CORPUS --out studies/attack/results/NAME.json MODEL [--images 40] [--epsilon 1 --epsilon 2] [--steps 10]

As many photographs as generated images, evenly over sources. Figures are of the rounded pictures scored by the whole pipeline. Beside each
epsilon stands its control: as many random grey levels added, which is what a change of that size does without an attacker.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import write_json
from dgsnet.core.format import figure
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import metrics
from dgsnet.evaluation.attack import auto_pgd
from dgsnet.images.decode import decode
from dgsnet.inference.detector import Detector


def main(model: str, data: Path, out: Path, images: int, epsilons: list[float], steps: int) -> None:
    """Score every image clean, with random changes and attacked, at each epsilon."""
    detector = Detector.from_pretrained(model, provider="torch")
    dataset = load_dataset(data).with_split("test").balanced_subset(images, seed=0)
    scores: dict[str, list[float]] = {}
    for sample in track(dataset.samples, "attacks"):
        pixels = decode(dataset.read(sample)).pixels
        scores.setdefault("clean", []).append(_score(detector, pixels))
        for epsilon in epsilons:
            noise = np.random.default_rng(0).choice([-epsilon, epsilon], size=pixels.shape)
            changed = np.clip(pixels + noise, 0, 255).astype(np.uint8)
            scores.setdefault(f"random {epsilon:g}", []).append(_score(detector, changed))
            attacked = auto_pgd(detector, pixels, int(sample.label or 0), epsilon, steps).pixels
            scores.setdefault(f"attack {epsilon:g}", []).append(_score(detector, attacked))
    labels = dataset.labels()
    threshold = detector.config.calibration.generated
    figures: dict[str, Any] = {
        name: {key: one for key, one in metrics.estimate(labels, found, threshold=threshold).as_dict().items() if key in _SHOWN}
        for name, found in scores.items()
    }
    facts = {"model": detector.fingerprint, "data": dataset.fingerprint(), "images": len(dataset), "steps": steps, "threshold": threshold}
    write_json(out, facts | {"dgsnet": __version__, "unit": "epsilon in grey levels of 0..255", "figures": figures})
    for name, one in figures.items():
        auroc, photographs, found = (figure(one[key]["value"]) for key in ("auroc", "real_acc", "fake_acc"))
        print(f"{name:12} AUROC {auroc}  photographs right {photographs}  generated found {found}")


_SHOWN = ("auroc", "balanced_acc", "real_acc", "fake_acc", "n_real", "n_fake")


def _score(detector: Detector, pixels: Any) -> float:
    verdict = detector.detect(pixels)
    if verdict.score is None:
        raise SystemExit(verdict.error)
    return verdict.score


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--epsilon", type=float, action="append", help="grey levels; may be given several times (default: 1 and 2)")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    main(arguments.model, arguments.data, arguments.out, arguments.images, arguments.epsilon or [1.0, 2.0], arguments.steps)
