"""Detectors under the suite `full`, side by side: every figure and plot in `results/`, from the predictions of each run.

python -m studies.robustness
"""

from __future__ import annotations

from pathlib import Path

from dgsnet.evaluation import robustness
from dgsnet.reports import robustness_page, robustness_plots

RESULTS = Path(__file__).parent / "results"
DETECTORS = ("dgsnet-b16", "dgs", "linear", "lora")
"""Runs below `results/`, the baseline last."""


def table() -> None:
    """Evaluate each run and compare them."""
    runs = [RESULTS / name / "predictions.parquet" for name in DETECTORS]
    for run in runs:
        robustness_plots.write(run.parent, robustness.evaluate(run, run.parent))
    compared = robustness.compare(runs, RESULTS, names=DETECTORS, baseline=DETECTORS[-1])
    robustness_page.write_comparison(RESULTS, compared)
    robustness_plots.write_comparison(RESULTS, compared)


if __name__ == "__main__":
    table()
