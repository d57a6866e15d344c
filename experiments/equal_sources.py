"""Should images or sources weigh the same where stand-ins calibrate a model? Fitted to half of the sources, judged on the others.

    python experiments/equal_sources.py        results/dgsnet-b16/equal_sources.{json,md}

The logits are those of `more/dgs`, of sources that the head which gave them had not seen; each half has half of all sources, drawn anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dgsnet import __version__, calibration, evaluation, refitting, tables
from dgsnet.files import write_json, write_text

RESULTS = Path(__file__).parent.parent / "results" / "dgsnet-b16"
DRAWS, BINS = 40, 15


def main() -> None:
    """Calibration error and log loss, every source of the other half weighing the same, mean over the draws."""
    rows = evaluation.read_predictions(RESULTS / "more" / "dgs" / refitting.LEFT_OUT / evaluation.PREDICTIONS).to_pylist()
    logits, labels = np.array([row["logit"] for row in rows]), np.array([row["label"] for row in rows])
    sources = np.array([row["source"] for row in rows])
    names, draws = np.unique(sources), np.random.default_rng(0)
    found: dict[str, list[list[float]]] = {"images": [], "sources": []}
    for _ in range(DRAWS):
        given = np.isin(sources, draws.permutation(names)[: len(names) // 2])
        weights = _weights(labels[~given], sources[~given])
        for unit, kept in found.items():
            fitted = calibration.fit(logits[given], labels[given], sources=sources[given].tolist() if unit == "sources" else None)
            scores = np.array([fitted.score(one) for one in logits[~given].tolist()])
            kept.append([_error(scores, labels[~given], weights), _log_loss(scores, labels[~given], weights)])
    means = {unit: np.mean(kept, axis=0).tolist() for unit, kept in found.items()}
    better = float(np.mean([by_source[0] < by_image[0] for by_image, by_source in zip(found["images"], found["sources"], strict=True)]))
    write_json(
        RESULTS / "equal_sources.json", {"ece_and_log_loss": means, "draws": DRAWS, "better_in": better, "seed": 0, "dgsnet": __version__}
    )
    table = tables.markdown(
        ["what weighs the same in the fit", "ECE", "log loss"], [[unit, *(f"{x:.3f}" for x in it)] for unit, it in means.items()]
    )
    write_text(RESULTS / "equal_sources.md", table)


def _weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    weights = np.array([1 / np.sum((labels == label) & (sources == source)) for label, source in zip(labels, sources, strict=True)])
    return np.where(labels == 1, 0.5 / weights[labels == 1].sum(), 0.5 / weights[labels == 0].sum()) * weights


def _error(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return float(sum(abs(np.sum((weights * (scores - labels))[bins == number])) for number in range(BINS)))


def _log_loss(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(-weights @ np.log(np.where(labels == 1, scores, 1 - scores)))


if __name__ == "__main__":
    main()
