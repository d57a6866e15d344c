"""How often the 95 % bootstrap intervals hold the truth, in a simulation where the truth is known.

Photographs and generated images have logits from two normal distributions of unit variance, so that AUROC and accuracies are known exactly;
`acc_difference` is a paired difference of two detectors whose logits correlate. A share of 93 to 97 % is what was asked for.

    python -m studies.bootstrap_coverage --out studies/bootstrap_coverage/results/bootstrap_coverage.json
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.evaluation import metrics
from dgsnet.evaluation.bootstrap import draws
from dgsnet.evaluation.interval import Interval, percentile_interval

WANTED = (0.93, 0.97)
SHIFT, OTHER_SHIFT, CORRELATION = 1.2, 0.9, 0.6
"""Distance of the class means of the detector, and of the one it is compared to; correlation of their logits within a class."""
SIZES = (50, 200)
"""Photographs, and as many generated images."""


def truth() -> dict[str, float]:
    """The figures that infinitely many images would give."""
    normal = NormalDist()
    rate = normal.cdf(SHIFT / 2)
    return {
        "auroc": normal.cdf(SHIFT / math.sqrt(2)),
        "real_acc": rate,
        "fake_acc": rate,
        "balanced_acc": rate,
        "acc_difference": rate - normal.cdf(OTHER_SHIFT / 2),
        "auroc_mean_of_two": (normal.cdf(SHIFT / math.sqrt(2)) + normal.cdf(OTHER_SHIFT / math.sqrt(2))) / 2,
    }


def sample(size: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Labels and the scores of two detectors, each (2 size,)."""
    labels = np.repeat([0, 1], size)
    noise = rng.normal(size=(2, 2 * size))
    other = CORRELATION * noise[0] + math.sqrt(1 - CORRELATION**2) * noise[1]
    sign = labels - 0.5
    return labels, expit(sign * SHIFT + noise[0]), expit(sign * OTHER_SHIFT + other)


def expit(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits as scores."""
    return np.asarray(1 / (1 + np.exp(-logit)))


def intervals(size: int, resamples: int, seed: int) -> Mapping[str, Interval]:
    """The estimates of one simulated test set."""
    rng = np.random.default_rng([seed, size])
    labels, scores, others = sample(size, rng)
    found = dict(metrics.estimate(labels, scores, resamples=resamples, seed=seed).figures)
    found["acc_difference"] = metrics.paired_difference(labels, scores, others, resamples=resamples, seed=seed)["acc"]
    # Two parts with photographs of their own: the second detector's logits, drawn anew, stand for a harder generator.
    more, _, harder = sample(size, rng)
    parts = [np.arange(2 * size), np.arange(2 * size, 4 * size)]
    strata = np.concatenate([labels, more + 2])
    mean = metrics.mean_over_parts(np.concatenate([labels, more]), np.concatenate([scores, harder]), parts)
    ((point, drawn),) = draws([mean], strata, resamples, seed)
    found["auroc_mean_of_two"] = percentile_interval(point["auroc"], drawn["auroc"])
    return found


def coverage(size: int, simulations: int, resamples: int) -> dict[str, float]:
    """By figure the share of simulated test sets whose interval holds the truth."""
    known = truth()
    held = dict.fromkeys(known, 0)
    for seed in range(simulations):
        found = intervals(size, resamples, seed)
        for name, value in known.items():
            low, high = found[name].low, found[name].high
            held[name] += low is not None and high is not None and low <= value <= high
    return {name: count / simulations for name, count in held.items()}


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=600)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    shares = {str(size): coverage(size, arguments.simulations, arguments.resamples) for size in SIZES}
    outside = {
        size: {name: share for name, share in found.items() if not WANTED[0] <= share <= WANTED[1]} for size, found in shares.items()
    }
    result: dict[str, Any] = {
        "experiment": "share of simulated test sets whose 95 % interval holds the truth, by photographs (and as many generated images)",
        "coverage": shares,
        "wanted": WANTED,
        "outside": {size: found for size, found in outside.items() if found},
        "standard_error": round(math.sqrt(0.95 * 0.05 / arguments.simulations), 4),
        "simulations": arguments.simulations,
        "resamples": arguments.resamples,
        "truth": truth(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
