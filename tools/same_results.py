"""Shows that a change which should not change results does not: one checkout's answers beside another's, to the bit.

    python tools/same_results.py pictures CORPUS PICTURES [--count 200]     a set of pictures, large ones among them
    python tools/same_results.py capture PICTURES OUT --checkout OLD --exported EXPORTED --tiny TINY
    python tools/same_results.py capture PICTURES OUT2 --checkout NEW --exported EXPORTED --tiny TINY
    python tools/same_results.py compare OUT OUT2                           ends with 1 where anything differs

`--checkout` is a folder with `.venv` (after `make test`). EXPORTED (onnx and openvino) and TINY (a model folder with a random backbone) are
made by the first capture and read by the second, so that models of the older version are what both open. Captured are: the shipped model in
torch, as a graph, exported to ONNX and OpenVINO; `score` on both engines; the service; provenance, heatmaps and a report; evaluation,
robustness, diagnosis, audit, alignment, calibration and a new head of the tiny model. Restartable: a step whose folder is there is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

_TIMES = ("time", "seconds", "started", "finished", "versions", "dgsnet")
"""Keys whose values say when or by which version a file was made."""


def pictures(corpus: Path, out: Path, count: int) -> None:
    """Write `count` pictures: nine tenths of them test images of a corpus, evenly over both labels, the others large mosaics of four."""
    files = [sorted((corpus / "test" / label).rglob("*.*")) for label in ("real", "fake")]
    small, large = count - count // 10, count // 10
    chosen = [files[number % 2][(number // 2) * len(files[number % 2]) // (small // 2 + 1)] for number in range(small)]
    for number, file in enumerate(chosen):
        target = out / ("real", "fake")[number % 2] / f"{number:03d}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for number in range(large):
        four = [np.asarray(Image.open(chosen[(8 * number + 2 * at + number % 2) % small]).convert("RGB")) for at in range(4)]
        mosaic = np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])
        Image.fromarray(mosaic).save(out / ("real", "fake")[number % 2] / f"large-{number:03d}.png")


_INTO = "{into}"
"""Stands for the folder of a step in its command."""


def _steps(shown: Path, exported: Path, tiny: Path) -> dict[str, tuple[object, ...]]:
    """Return the commands by the name of their step."""
    model, few, some = tiny / "model", tiny / "pictures", sorted(shown.rglob("*.*"))[::20]
    detect, rows = ("detect", shown, "--json"), ("detect", *some, "--model", model)
    measured = ("--out", _INTO, "--resamples", 50)
    return {
        "shipped-graph": detect,
        "shipped-torch": (*detect, "--provider", "torch"),
        "shipped-openvino": (*detect, "--provider", "openvino"),
        "exported-onnx": (*detect, "--model", exported / "onnx"),
        "exported-openvino": (*detect, "--model", exported / "openvino"),
        "tiny": (*detect, "--model", model),
        "batch-local": ("score", "--data", shown, "--out", f"{_INTO}/run"),
        "batch-ray": ("score", "--data", shown, "--out", f"{_INTO}/run", "--engine", "ray", "--ray-workers", 2),
        **{f"rows-{ending}": (*rows, "--out", f"{_INTO}/rows.{ending}") for ending in ("jsonl", "csv", "parquet")},
        **{f"provenance-{ending}": (*rows, "--provenance", "--out", f"{_INTO}/rows.{ending}") for ending in ("jsonl", "csv", "parquet")},
        "heatmaps": (*rows, "--heatmap", f"{_INTO}/maps", "--report", f"{_INTO}/report.html"),
        "evaluate": ("evaluate", "--model", model, "--data", shown, *measured),
        "robustness": ("robustness", "--model", model, "--data", few, *measured),
        "diagnose": ("diagnose", "--model", model, "--data", few, "--out", _INTO),
        "audit": ("audit", shown, "--out", _INTO),
        "align": ("align", shown, "--out", _INTO, "--size", 64),
        "refit": ("refit", "--model", model, "--data", shown, "--out", f"{_INTO}/new"),
    }


class Capture:
    """Runs the commands of one checkout."""

    def __init__(self, checkout: Path, out: Path) -> None:
        self.python, self.dgsnet, self.checkout, self.out = (
            checkout / ".venv/bin/python",
            checkout / ".venv/bin/dgsnet",
            checkout,
            out,
        )

    def step(self, name: str, run: Callable[[Path], None]) -> None:
        """Run a step into `out/name`, unless it is there."""
        target, aside = self.out / name, self.out / f".{name}"
        if target.exists():
            return
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        begun = time.monotonic()
        run(aside)
        aside.rename(target)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)

    def command(self, *arguments: object, into: Path | None = None, codes: tuple[int, ...] = (0, 1)) -> None:
        """Run `dgsnet`, its standard output into a file."""
        done = subprocess.run([str(self.dgsnet), *map(str, arguments)], capture_output=True, check=False, cwd=self.out, env=_environment())
        if done.returncode not in codes:
            raise SystemExit(f"dgsnet {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr.decode()}")
        if into:
            into.write_bytes(done.stdout)

    def all(self, shown: Path, exported: Path, tiny: Path) -> None:
        """Run every step."""
        if not exported.exists():
            for form in ("onnx", "openvino"):
                self.command("export", "--format", form, "--out", exported / form)
        if not tiny.exists():
            script = (
                f"import sys, pathlib; sys.path.insert(0, 'benchmarks'); import tiny_model; tiny_model.make(pathlib.Path({str(tiny)!r}))"
            )
            subprocess.run([str(self.python), "-c", script], cwd=self.checkout, check=True, env=_environment())
        for name, arguments in _steps(shown, exported, tiny).items():
            self.step(name, partial(self._one, arguments))
        self.step("calibrate", partial(self._calibrate, tiny / "model", shown))
        self.step("service", partial(self._service, shown))

    def _one(self, arguments: tuple[object, ...], to: Path) -> None:
        """Run a command into a folder; its standard output counts too."""
        self.command(*(str(one).replace(_INTO, str(to)) for one in arguments), into=to / "stdout.txt")

    def _calibrate(self, model: Path, data: Path, to: Path) -> None:
        copy = shutil.copytree(model, to / "model")
        self.command("calibrate", "--model", copy, "--data", data, "--resamples", "50", into=to / "said.txt")

    def _service(self, shown: Path, to: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with _running([str(self.dgsnet), "serve", "--port", str(port)]):
            _wait_for(f"http://127.0.0.1:{port}/readyz")
            rows = [_posted(f"http://127.0.0.1:{port}/v1/detect", file) for file in sorted(shown.rglob("*.*"))]
        (to / "rows.json").write_text(json.dumps(rows, indent=1))


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": ""}


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment())
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address) as answer:  # noqa: S310 - of this machine
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{address} does not answer")


def _posted(address: str, file: Path) -> Any:
    mark = "----------same-results"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\nContent-Type: image/png\r\n\r\n'
    body = head.encode() + file.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    request = urllib.request.Request(address, body, {"Content-Type": f"multipart/form-data; boundary={mark}"})  # noqa: S310
    for _ in range(200):
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return json.load(answer)["results"]
        except urllib.error.HTTPError as error:  # more a minute than it allows
            if error.code != 429:
                raise
            time.sleep(float(error.headers.get("Retry-After", "1")))
    raise SystemExit(f"{address} refuses {file}")


def compare(one: Path, other: Path) -> list[str]:
    """Return what differs between two captures, one text each."""
    files = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if path.is_file() and _counts(path, folder)}
    missing = [f"{file}: only in one of them" for file in sorted(files) if not ((one / file).exists() and (other / file).exists())]
    both = [file for file in sorted(files) if (one / file).exists() and (other / file).exists()]
    differ = [f"{file}: differs" for file in both if _content(one / file, one) != _content(other / file, other)]
    print(f"{len(both)} files compared, {len(missing) + len(differ)} differ")
    return missing + differ


def _counts(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.suffix != ".sqlite"


def _content(file: Path, folder: Path) -> object:
    """Return what a file says, without when and where it was made."""
    if file.suffix == ".json":
        return _timeless(json.loads(file.read_text().replace(str(folder.resolve()), "")))
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()
    if file.suffix in {".html", ".txt", ".md", ".csv", ".jsonl"}:
        lines = file.read_text().replace(str(folder.resolve()), "").splitlines()
        return [line for line in lines if "UTC" not in line]
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if not any(word in key for word in _TIMES)}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("pictures")
    made.add_argument("corpus", type=Path)
    made.add_argument("out", type=Path)
    made.add_argument("--count", type=int, default=200)
    captured = commands.add_parser("capture")
    captured.add_argument("shown", type=Path)
    captured.add_argument("out", type=Path)
    for name in ("checkout", "exported", "tiny"):
        captured.add_argument(f"--{name}", type=Path, required=True)
    compared = commands.add_parser("compare")
    compared.add_argument("one", type=Path)
    compared.add_argument("other", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "pictures":
        pictures(chosen.corpus, chosen.out, chosen.count)
    elif chosen.command == "capture":
        chosen.out.mkdir(parents=True, exist_ok=True)
        Capture(chosen.checkout.resolve(), chosen.out.resolve()).all(
            chosen.shown.resolve(), chosen.exported.resolve(), chosen.tiny.resolve()
        )
    elif differences := compare(chosen.one, chosen.other):
        print("\n".join(differences))
        sys.exit(1)


if __name__ == "__main__":
    main()
