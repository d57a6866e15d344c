"""What somebody gets who installs dgsnet and looks at one picture: the built wheel in an empty environment, `dgsnet detect` twice and more.

    python benchmarks/fresh_install.py --out benchmarks/results/fresh_install.json [--rounds 5] [--wheel FILE]

Builds the wheel of this checkout, makes a virtual environment, installs the wheel and nothing else with pip (base, no extra), and runs
`dgsnet detect` on a picture made here, with a cache that is empty before the first run. Checks that it works, that nothing is written into
the package's folder, that neither torch nor transformers is installed, that every run gives the same row, and that torch, where this script
runs, gives the same score.

Times: of a whole call, wall and processor (of the process and its children), beside those of `import numpy, onnxruntime` taken in the same
rounds, since a busy machine makes all of them longer. `until_scoring` is the part of a call before the first picture reaches the model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
TOLERANCE = 1e-5
"""How far the score may lie from torch's."""

_UNTIL = """
import sys, time
from dgsnet.inference.detector import Detector
detector = Detector.from_pretrained("dgsnet-b16")
print(time.clock_gettime(time.CLOCK_MONOTONIC), time.process_time())
assert not {"torch", "transformers", "peft", "onnx", "scipy"} & sys.modules.keys()
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, HERE.parent)
    (wheel,) = folder.glob("dgsnet-*.whl")
    return wheel


def run(*command: object, **environment: str) -> str:
    """Standard output of a command; its own environment carries no path of this checkout.

    Raises:
        RuntimeError: it failed.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS"}}
    done = subprocess.run([*map(str, command)], env=kept | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def timed(*command: object, **environment: str) -> tuple[str, dict[str, float]]:
    """Standard output, and seconds: `wall`, `processor`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    out = run(*command, **environment)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, {"wall": wall, "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, without what Python compiles for itself."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: round(median(one[name] for one in rounds), 3) for name in rounds[0]}


def measure(wheel: Path, work: Path, rounds: int) -> dict[str, Any]:
    """Install, run, compare."""
    place, cache, picture = work / "environment", work / "cache", work / "photo.jpg"
    venv.create(place, with_pip=True)
    python, dgsnet = place / "bin" / "python", place / "bin" / "dgsnet"
    empty = size_of(place)
    started = time.monotonic()
    run(python, "-m", "pip", "install", "--quiet", "--constraint", HERE.parent / "constraints.txt", wheel)
    installing = time.monotonic() - started
    installed = {one["name"]: one["version"] for one in json.loads(run(python, "-m", "pip", "list", "--format=json"))}
    assert not {"torch", "transformers", "peft", "onnx", "scipy"} & installed.keys(), installed

    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(picture, quality=92)
    (package,) = (place / "lib").glob("python*/site-packages/dgsnet")
    before, own = snapshot(package), {"DGSNET_CACHE": str(cache)}
    command = (dgsnet, "detect", "--json", picture)
    out, first = timed(*command, **own)
    rows = [json.loads(out)]
    calls: list[dict[str, float]] = []
    reference: list[dict[str, float]] = []
    until: list[dict[str, float]] = []
    for _ in range(rounds):
        _, took = timed(python, "-c", "import numpy, onnxruntime", ORT_DISABLE_TELEMETRY="1")
        reference.append(took)
        out, took = timed(*command, **own)
        rows.append(json.loads(out))
        calls.append(took)
        start = time.monotonic()
        clock, processor = map(float, run(python, "-c", _UNTIL, **own).split())
        until.append({"wall": clock - start, "processor": processor})
    assert snapshot(package) == before, "something was written into the package's folder"
    assert all(row == rows[0] for row in rows), "the same picture got another row"
    assert rows[0]["error"] is None

    from dgsnet import Detector  # noqa: PLC0415 - of this checkout, after all that is timed

    theirs = Detector.from_pretrained("dgsnet-b16", provider="torch").detect(picture)
    assert theirs.score is not None
    difference = abs(theirs.score - rows[0]["score"])
    assert difference <= TOLERANCE, f"torch gives {theirs.score}, the installation {rows[0]['score']}"
    return {
        "packages": installed,
        "megabytes": {
            "wheel": round(wheel.stat().st_size / 1e6, 1),
            "environment": round((size_of(place) - empty) / 1e6),
            "cache": round(size_of(cache) / 1e6),
        },
        "seconds": {
            "pip_install": round(installing, 1),
            "first_call": {name: round(value, 2) for name, value in first.items()},
            "call": middle(calls),
            "until_scoring": middle(until),
            "import_numpy_onnxruntime": middle(reference),
        },
        "rounds": rounds,
        "score": rows[0]["score"],
        "torch": theirs.score,
        "difference": difference,
    }


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wheel", type=Path, help="default: built here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.wheel or build_wheel(Path(folder) / "wheel"), Path(folder), arguments.rounds)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["seconds"], indent=2))
