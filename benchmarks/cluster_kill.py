"""`dgsnet score --engine ray`, workers and drivers killed at random: is any row lost or doubled, does any byte differ from one process?

    python benchmarks/cluster_kill.py --out benchmarks/results/cluster_kill.json

The model is tiny and random: how often something is killed matters here, not what it says. Each call of the driver starts a cluster of two
workers on this machine. Of each driver some workers are killed while they score; all drivers but the last are killed too.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

import tiny_model
from dgsnet.core.files import write_json
from dgsnet.export import export
from dgsnet.inference.detector import Detector
from kill_test import command, rows_on_disk

WORKER = "ray::MapWorker(MapBatches(Worker))"
"""How Ray names the processes of workers; while they score, `.submit` follows."""


def workers(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes of a driver's cluster that score at this moment."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(f"{WORKER}.submit"):
                found.append(process)
        except psutil.Error:  # it has ended since
            continue
    return found


def run(arguments: list[str], out: Path, moments: list[int], stop_at: int | None, rng: random.Random) -> dict[str, Any]:
    """One driver; a worker is killed when so many rows are on disk, the driver when `stop_at` are."""
    killed, begun = 0, time.monotonic()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        while driver.poll() is None:
            rows = rows_on_disk(out) if out.exists() else 0
            if stop_at is not None and rows >= stop_at:
                driver.kill()
                break
            if moments and rows >= moments[0] and (at_work := workers(driver)):
                rng.choice(at_work).kill()
                moments, killed = moments[1:], killed + 1
            time.sleep(0.01)
        ended = driver.wait()
    return {"workers_killed": killed, "driver_ended_with": ended, "rows_on_disk": rows_on_disk(out), "seconds": time.monotonic() - begun}


def main() -> None:
    """One process, a cluster under fire, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--drivers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3, help="workers killed under each driver")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # noqa: S311 - moments of kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export(Detector.from_pretrained(tiny_model.make(folder)), folder / "exported")
        for number in range(options.images):
            tiny_model.save(folder / "data" / f"{number:05d}.png", number, 64)
        for number in range(0, options.images, 100):  # copies far apart
            shutil.copy(folder / "data" / "00000.png", folder / "data" / f"{number:05d}-copy.png")
        total = len(list((folder / "data").iterdir()))
        whole, killed = folder / "whole", folder / "killed"
        subprocess.run(command(folder / "data", whole, model), check=True, capture_output=True)
        on_cluster = [*command(folder / "data", killed, model), "--engine", "ray", "--ray-workers", "2"]
        drivers: list[dict[str, Any]] = []
        for left in reversed(range(options.drivers)):
            first = drivers[-1]["rows_on_disk"] if drivers else 0
            last = first + (total - first) // (left + 1)
            moments = sorted(rng.randrange(first, last) for _ in range(options.kills))
            drivers.append(run(on_cluster, killed, moments, last if left else None, rng))
            print(drivers[-1], flush=True)
        parts = sorted(part.name for part in whole.glob("part-*.parquet"))
        keys = Counter(key for part in parts for key in pq.read_table(killed / part, columns=["key"]).column("key").to_pylist())
        expected = {file.name for file in (folder / "data").iterdir()}
        figures = {
            "command": "python " + " ".join(["benchmarks/cluster_kill.py", *sys.argv[1:]]),
            "images": total,
            "workers": 2,
            "workers_killed": sum(driver["workers_killed"] for driver in drivers),
            "drivers_killed": sum(driver["driver_ended_with"] == -9 for driver in drivers),
            "rows": sum(keys.values()),
            "lost": len(expected - keys.keys()),
            "doubled": sum(count - 1 for count in keys.values()),
            "parts_that_differ_from_one_process": sum((whole / part).read_bytes() != (killed / part).read_bytes() for part in parts),
            "summaries_differ": (whole / "summary.json").read_bytes() != (killed / "summary.json").read_bytes(),
            "each": drivers,
        }
    write_json(options.out, figures)
    print({name: value for name, value in figures.items() if name != "each"})


if __name__ == "__main__":
    main()
