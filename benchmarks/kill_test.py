"""`dgsnet score`, killed at random moments: is any row lost or doubled, and does any byte differ from a run that nothing stopped?

    python benchmarks/kill_test.py --out benchmarks/results/kill_test.json

The model is tiny and random: how often a run is killed matters here, not what it says.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

import tiny_model
from dgsnet.core.files import write_json


def command(data: Path, out: Path, model: Path, part_rows: int = 300) -> list[str]:
    """A run."""
    run = ("--data", str(data), "--out", str(out), "--model", str(model), "--part-rows", str(part_rows))
    return [sys.executable, "-c", "from dgsnet.cli import main; main()", "score", *run]


def rows_on_disk(out: Path) -> int:
    """Of finished parts, and lines of the unfinished one without its header."""
    finished: int = sum(pq.read_metadata(part).num_rows for part in out.glob("part-*.parquet"))
    started = (file for file in out.glob(".part-*.partial.jsonl") if not (out / f"{file.name[1:].split('.')[0]}.parquet").exists())
    return finished + sum(max(0, file.read_bytes().count(b"\n") - 1) for file in started)


def kill_once(arguments: list[str], out: Path, wait: float, rows: int) -> dict[str, float | int]:
    """Start, and kill `wait` seconds after `rows` rows are there."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and rows_on_disk(out) < rows:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        ended = process.wait()
    return {"after_rows": rows, "waited_s": round(wait, 3), "rows_on_disk": rows_on_disk(out), "exit": ended}


def main() -> None:
    """An unbroken run, a killed one, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # noqa: S311 - moments of kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = tiny_model.make(folder)
        for number in range(options.images):
            tiny_model.save(folder / "data" / f"{number:05d}.png", number, 64)
        whole, killed = folder / "whole", folder / "killed"
        subprocess.run(command(folder / "data", whole, model), check=True, capture_output=True)
        moments = sorted(rng.randrange(options.images) for _ in range(options.kills))
        kills = [kill_once(command(folder / "data", killed, model), killed, rng.uniform(0, 0.05), rows) for rows in moments]
        subprocess.run(command(folder / "data", killed, model), check=True, capture_output=True)
        parts = sorted(part.name for part in whole.glob("part-*.parquet"))
        keys = Counter(key for part in parts for key in pq.read_table(killed / part, columns=["key"]).column("key").to_pylist())
        expected = {file.name for file in (folder / "data").iterdir()}
        figures = {
            "command": "python " + " ".join(["benchmarks/kill_test.py", *sys.argv[1:]]),
            "images": options.images,
            "kills": sum(kill["exit"] == -9 for kill in kills),
            "rows": sum(keys.values()),
            "lost": len(expected - keys.keys()),
            "doubled": sum(count - 1 for count in keys.values()),
            "parts_that_differ_from_an_unbroken_run": sum((whole / part).read_bytes() != (killed / part).read_bytes() for part in parts),
            "each": kills,
        }
    write_json(options.out, figures)
    print({name: value for name, value in figures.items() if name != "each"})


if __name__ == "__main__":
    main()
