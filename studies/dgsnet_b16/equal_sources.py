"""Equal weights for images or for sources where out-of-fold scores calibrate a model: fitted to half of the sources, judged on the others.

    python -m studies.dgsnet_b16.equal_sources        results/equal_sources.{json,md}

The logits are those of `second/dgs`, of sources that the head which gave them had not seen; each half has half of all sources, drawn anew.
Calibration and thresholds are fitted to one and asked about the other, whose figures are means over its sources.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dgsnet import __version__
from dgsnet.core.files import write_json, write_text
from dgsnet.evaluation import calibration_fit
from dgsnet.evaluation.predictions import PREDICTIONS, read_predictions
from dgsnet.reports import tables
from dgsnet.training import refit_head

RESULTS = Path(__file__).parent / "results"
DRAWS, BINS = 200, 15


def main() -> None:
    """Measure on the other half, every source weighing the same: errors of the calibration, and what the thresholds do, over the draws."""
    rows = read_predictions(RESULTS / "second" / "dgs" / refit_head.LEFT_OUT / PREDICTIONS).to_pylist()
    logits, labels = np.array([row["logit"] for row in rows]), np.array([row["label"] for row in rows])
    sources = np.array([row["source"] for row in rows])
    names, draws = np.unique(sources), np.random.default_rng(0)
    drawn: dict[str, list[list[float]]] = {"images": [], "sources": []}
    for _ in range(DRAWS):
        given = np.isin(sources, draws.permutation(names)[: len(names) // 2])
        truth, weights = labels[~given], _weights(labels[~given], sources[~given])
        for unit, kept in drawn.items():
            equal = sources[given].tolist() if unit == "sources" else None
            fitted = calibration_fit.fit(logits[given], labels[given], sources=equal)
            fitted_to, scores = (np.array([fitted.score(one) for one in part.tolist()]) for part in (logits[given], logits[~given]))
            called = scores >= calibration_fit.thresholds(fitted_to, labels[given], equal_sources=equal).generated
            shares = [2 * float(weights[truth == label] @ called[truth == label]) for label in (0, 1)]
            kept.append([_error(scores, truth, weights), _log_loss(scores, truth, weights), *shares])
    columns = ("ece", "log_loss", "photographs_called_generated", "found")
    given_by = {unit: np.array(kept) for unit, kept in drawn.items()}
    found = {
        unit: {name: {"mean": float(it.mean()), "spread": float(it.std())} for name, it in zip(columns, kept.T, strict=True)}
        for unit, kept in given_by.items()
    }
    better = float(np.mean(given_by["sources"][:, 0] < given_by["images"][:, 0]))
    header = {"target_fpr": calibration_fit.TARGET_FPR, "draws": DRAWS, "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "equal_sources.json", header | {"figures": found, "ece_better_in": better})
    cells = [[unit, *(f"{one[name]['mean']:.3f} ± {one[name]['spread']:.3f}" for name in columns)] for unit, one in found.items()]
    titles = ["what weighs the same", "ECE", "log loss", f"photographs called generated (target {calibration_fit.TARGET_FPR:g})", "found"]
    write_text(RESULTS / "equal_sources.md", tables.markdown(titles, cells))


def _weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    weights = np.array([1 / np.sum((labels == label) & (sources == source)) for label, source in zip(labels, sources, strict=True)])
    return np.asarray(np.where(labels == 1, 0.5 / weights[labels == 1].sum(), 0.5 / weights[labels == 0].sum()) * weights)


def _error(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return float(sum(abs(np.sum((weights * (scores - labels))[bins == number])) for number in range(BINS)))


def _log_loss(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(-weights @ np.log(np.where(labels == 1, scores, 1 - scores)))


if __name__ == "__main__":
    main()
