"""Memory of a whole `dgsnet score` run, from its first rows to its last, with a tiny exported model. Linux only.

    python benchmarks/score_memory.py --out benchmarks/results/score_memory.json

The pictures are small, lie in tar shards and all have other bytes, so that each of them passes the model. Resident memory is that of the
process, sampled while it runs; compared are the means while the first and the last tenth of the rows were written.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

import tiny_model
from dgsnet import Detector, export
from dgsnet.core.files import write_json
from kill_test import command, rows_on_disk
from process_memory import resident

REQUIRED = 0.1
"""Share by which the last tenth may differ from the first."""

_SHARD, _POOL, _EVERY = 10_000, 100, 0.25


def write_shards(folder: Path, images: int) -> None:
    """PNGs of 64 x 64 pixels; what comes after a PNG's end makes the bytes of each different."""
    folder.mkdir()
    pool = []
    for number in range(_POOL):
        tiny_model.save(folder.parent / "pool.png", number, 64)
        pool.append((folder.parent / "pool.png").read_bytes())
    for start in range(0, images, _SHARD):
        with tarfile.open(folder / f"{start // _SHARD:04d}.tar", "w") as tar:
            for number in range(start, min(start + _SHARD, images)):
                data = pool[number % _POOL] + number.to_bytes(8, "big")
                entry = tarfile.TarInfo(f"{number:07d}.png")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def sampled(arguments: list[str], out: Path) -> list[tuple[int, float]]:
    """(rows on disk, MB) while a run goes on.

    Raises:
        CalledProcessError: it failed.
    """
    samples = []
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            rows = rows_on_disk(out)
            if rows:
                samples.append((rows, resident(process.pid)))
            time.sleep(_EVERY)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return samples


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export.export(Detector.from_pretrained(tiny_model.make(folder)), folder / "exported")
        write_shards(folder / "data", options.images)
        begun = time.perf_counter()
        samples = sampled(command(folder / "data", folder / "out", model, part_rows=max(300, options.images // 20)), folder / "out")
        seconds = time.perf_counter() - begun
        rows = sum(pq.read_metadata(part).num_rows for part in (folder / "out").glob("part-*.parquet"))
    tenths = [[memory for done, memory in samples if tenth <= 10 * done / options.images <= tenth + 1] for tenth in range(10)]
    means = [round(statistics.fmean(tenth), 1) if tenth else None for tenth in tenths]
    first, last = means[0], means[-1]
    if first is None or last is None:
        raise SystemExit("the run was too short to sample: give more --images")
    figures = {
        "command": "python " + " ".join(["benchmarks/score_memory.py", *sys.argv[1:]]),
        "images": options.images,
        "rows": rows,
        "images_a_second": round(options.images / seconds, 1),
        "resident_mb_by_tenth": means,
        "last_against_first": round(last / first - 1, 4),
        "required": REQUIRED,
        "met": abs(last / first - 1) <= REQUIRED and rows == options.images,
    }
    write_json(options.out, figures)
    print(figures)


if __name__ == "__main__":
    main()
