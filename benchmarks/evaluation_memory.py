"""Memory of `dgsnet evaluate` by number of images, with made-up rows instead of a model: writing predictions, and metrics from them.

Each step runs in a process of its own, in which everything is imported first; what is reported is how far resident memory rises above that.
`rows in a list` is how predictions were gathered before they were streamed; it is left out at the largest size. Linux only.

    python benchmarks/evaluation_memory.py --out benchmarks/results/evaluation_memory.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.evaluation import evaluate
from dgsnet.evaluation.predictions import PREDICTION_SCHEMA, PREDICTIONS
from dgsnet.inference import resumable_parquet
from dgsnet.inference.parquet_writer import arrow_table
from process_memory import resident, status

SIZES = (2_000, 50_000, 200_000)
IDENTITY = {"model": "made up", "data": "made up", "threshold": "0.5", "dgsnet": "0"}
REQUIRED = {"writing predictions": 40.0}
"""MB by which the largest size may exceed the smallest one."""


def rows(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows as `detect` gives them, with the texts that real ones have."""
    for number in range(start, stop):
        label = number % 2
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        yield {
            "label": label,
            "split": "test",
            "source": f"generator_{number % 20}" if label else "camera",
            "generator": f"generator_{number % 20}" if label else "",
            "group": f"test/{digest}.png",
            "path": f"test/{digest}.png",
            "sha256": digest,
            "score": (int(digest[:8], 16) / 16**8 + label) / 2,
            "logit": 0.0,
            "verdict": "inconclusive",
            "warnings": ["low_resolution"],
            "width": 512,
            "height": 512,
            "format": "PNG",
            "model": "made-up",
            "error": None,
        }


def streamed(folder: Path, count: int) -> None:
    """Predictions as the package writes them."""
    resumable_parquet.write(folder / PREDICTIONS, IDENTITY, PREDICTION_SCHEMA, lambda done: rows(done, count), count)


def gathered(folder: Path, count: int) -> None:
    """All rows in a list, then one table."""
    pq.write_table(arrow_table(list(rows(0, count)), PREDICTION_SCHEMA), folder / "gathered.parquet")


def judged(folder: Path, _: int) -> None:
    """Metrics from the streamed predictions."""
    evaluate.evaluate(folder / PREDICTIONS, folder, resamples=10)


STEPS = {"writing predictions": streamed, "writing predictions, rows in a list": gathered, "metrics": judged}


def measure(step: str, folder: Path, count: int) -> float:
    """MB by which memory rose at its highest during one step, in this process."""
    pq.write_table(pa.table({"warm": [1]}), folder / "warm.parquet")  # what Arrow allocates once
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    before = resident()
    STEPS[step](folder, count)
    return status("VmHWM") - before


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--measure", nargs=3, metavar=("STEP", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        step, folder, count = arguments.measure
        print(measure(step, Path(folder), int(count)))
        return

    risen: dict[str, dict[str, float]] = {step: {} for step in STEPS}
    for count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for step, function in STEPS.items():
                if function is gathered and count == SIZES[-1]:
                    continue
                command = [sys.executable, __file__, "--measure", step, folder, str(count)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                risen[step][str(count)] = round(float(done.stdout), 1)
    small, large = str(SIZES[0]), str(SIZES[-1])
    text = json.dumps(
        {
            "benchmark": "MB by which resident memory rises in a process that has imported everything, by number of images; made-up rows",
            "risen_mb": risen,
            "required_mb": REQUIRED,
            "met": {step: risen[step][large] - risen[step][small] <= allowed for step, allowed in REQUIRED.items()},
            "versions": {"python": platform.python_version(), "pyarrow": pa.__version__},
        },
        indent=2,
    )
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
