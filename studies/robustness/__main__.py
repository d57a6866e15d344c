"""Detectors under the suite `full`, side by side: every figure and plot in `results/`, from the predictions of each run.

python -m studies.robustness
"""

from __future__ import annotations

from pathlib import Path

from dgsnet.evaluation import robustness

RESULTS = Path(__file__).parent / "results"
DETECTORS = ("dgsnet-b16", "dgs", "linear", "lora")
"""Runs below `results/`, the baseline last."""


def table() -> None:
    """Evaluate each run and compare them."""
    runs = [RESULTS / name / "predictions.parquet" for name in DETECTORS]
    for run in runs:
        robustness.evaluate(run, run.parent)
    robustness.compare(runs, RESULTS, names=DETECTORS, baseline=DETECTORS[-1])


if __name__ == "__main__":
    table()
