"""Damaged pictures through what a decoding process does with an upload: decoding, the model's view, metadata.

``python -m tests.fuzz.decoding`` runs both ways and writes ``tests/fuzz/results/decoding.json``:

* *mutation*: the files of ``tests/support/hostile_files.py``, damaged with their format in mind. A case is a function of seed and number;
  ``--case N`` runs one again and ``--save FILE`` keeps it.
* *containers*: the same with the files in AVIF, HEIC and JPEG XL alone.
* *coverage*: libFuzzer through atheris (extra ``fuzz``), guided by the coverage of Pillow's Python readers and of this package.

A case fails when anything but a typed error comes out, the process dies, or it takes more than 60 seconds. The process has the memory
limit of a decoding process.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import hostile_files

ROOT = Path(__file__).resolve().parents[2]

SEED = 6
LONGEST = 60.0  # seconds a case may take, on a machine that does other things too
MEMORY = 1536 * 2**20
LARGEST = 256 * 1024  # bytes of a file that is damaged: larger ones cost time and hold nothing new
OUT = ROOT / "tests/fuzz/results/decoding.json"


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--containers", type=int, default=20_000, help="mutations of AVIF, HEIC and JPEG XL")
    parser.add_argument("--runs", type=int, default=20_000, help="of the coverage-guided fuzzer")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--case", type=int, help="run one mutation again")
    parser.add_argument("--save", type=Path, help="with --case: write the file here")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--of", choices=["mutation", "containers"], default="mutation", help="with --case: whose")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--atheris", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.atheris:
        return coverage_worker(told.atheris, told.runs, told.seed)
    if told.worker:
        return worker(told.seed, told.of, *told.worker)
    if told.case is not None:
        cases = Cases(told.seed, told.of)
        if told.save:
            told.save.write_bytes(cases.make(told.case)[0])
        print(cases.run(told.case))
        return 0
    result: dict[str, Any] = json.loads(told.out.read_text()) if told.out.exists() else {}
    result["versions"] = result.get("versions", {}) | versions()
    told.out.parent.mkdir(parents=True, exist_ok=True)
    parts = (
        ("mutation", partial(mutation, of="mutation"), told.mutations),
        ("containers", partial(mutation, of="containers"), told.containers),
        ("coverage", coverage, told.runs),
    )
    for name, part, number in parts:
        if number:
            result[name] = part(told.seed, number)
            told.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if any(part.get("crashes") for name, part in result.items() if name != "versions") else 0


def versions() -> dict[str, str]:
    """Return the versions of what was tested, and of what it was tested with."""
    found = {"python": sys.version.split()[0]}
    for name in ("pillow", "pillow-heif", "pillow-jxl-plugin", "numpy", "c2pa-python", "atheris"):
        with suppress(importlib.metadata.PackageNotFoundError):  # mutations need no atheris
            found[name] = importlib.metadata.version(name)
    return found


# --- mutation ---


class Cases:
    """Damaged files by number, and what is done with them."""

    def __init__(self, seed: int, of: str = "mutation") -> None:
        suffixes = ("avif", "heic", "jxl") if of == "containers" else ("",)
        made = [file.make() for file in hostile_files.FILES if file.name.endswith(suffixes)]
        self.seed, self.files = seed, [data for data in made if 0 < len(data) <= LARGEST]

    def make(self, number: int) -> tuple[bytes, Any]:
        """A damaged file, and the policy it is decoded with."""
        import numpy as np

        from dgsnet.images.decode import DecodePolicy
        from dgsnet.service.settings import Settings
        from tests.support.hostile_mutations import mutated

        rng = np.random.default_rng([self.seed, number])
        data = mutated(self.files[int(rng.integers(len(self.files)))], self.files[int(rng.integers(len(self.files)))], rng)
        match int(rng.integers(8)):  # mostly small pictures: pixels cost time, and the readers are the same
            case 0:
                return data, Settings().policy
            case 1 | 2:
                return data, DecodePolicy(max_pixels=250_000, truncated="fill")
            case 3 | 4:
                return data, DecodePolicy(max_pixels=250_000)
        return data, DecodePolicy(max_pixels=250_000, formats=Settings().policy.formats)

    def run(self, number: int) -> str:
        """Return what became of it: ``scored``, or the kind of its refusal. Raises whatever should not happen."""
        return outcome(*self.make(number))


def outcome(data: bytes, policy: Any) -> str:
    """Return what a decoding process says of a file: ``scored``, or the kind of its refusal."""
    from dgsnet.images.preprocess import Preprocessing
    from dgsnet.service.decoder_process import handle_job

    said = [header for header, _ in handle_job({"wants": "views", "path": None}, data, Preprocessing(view="crop"), policy, "model")]
    json.dumps(said)
    if said[0]["stage"] == "failed":
        return str(said[0]["kind"])
    return "scored" if said[1]["shape"] else "too_small"


def worker(seed: int, of: str, first: int, last: int) -> int:
    """Run cases and say after each what became of it."""
    from dgsnet.service.decoder_process import _limit_memory

    warnings.simplefilter("ignore")  # of Pillow, about damaged metadata
    cases = Cases(seed, of)
    _limit_memory(MEMORY)
    for number in range(first, last):
        start = time.process_time()
        try:
            became = cases.run(number)
        except Exception as error:  # what is looked for
            became = f"! {type(error).__name__}: {error}"[:300]
        print(json.dumps([number, became, round(time.process_time() - start, 3)]), flush=True)
    return 0


def mutation(seed: int, number: int, of: str) -> dict[str, Any]:
    """Run cases in processes of their own: one that dies costs a case and is named."""
    became: collections.Counter[str] = collections.Counter()
    crashes: list[dict[str, Any]] = []
    slowest = (0.0, -1)
    following = 0
    while following < number:
        done = following
        for case, what, seconds in _told_by_worker(seed, of, following, number):
            if what.startswith("! "):
                crashes.append({"case": case, "error": what[2:]})
            became["crash" if what.startswith("! ") else what] += 1
            slowest, following = max(slowest, (seconds, case)), case + 1
            if following % 1000 == 0:
                print(f"{following} of {number}: {dict(became)}, slowest {slowest}", file=sys.stderr, flush=True)
        if following < number:
            crashes.append({"case": following, "error": "the process died or took too long"})
            became["crash"] += 1
            following += 1
        assert following > done
    return {
        "cases": number, "seed": seed, "became": dict(became.most_common()), "crashes": crashes,
        "slowest": {"case": slowest[1], "processor_seconds": slowest[0]},
    }  # fmt: skip


def _told_by_worker(seed: int, of: str, first: int, last: int) -> Iterator[tuple[int, str, float]]:
    command = [sys.executable, "-m", "tests.fuzz.decoding", "--seed", str(seed), "--of", of, "--worker", str(first), str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        assert process.stdout
        timer = _Alarm(process)
        for line in process.stdout:
            timer.again()
            yield tuple(json.loads(line))
        timer.end()


class _Alarm:
    """Kills a process from which nothing has been heard for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._over, self._heard = process, threading.Event(), time.monotonic() + LONGEST  # it has to start, too
        threading.Thread(target=self._watch, daemon=True).start()

    def again(self) -> None:
        self._heard = time.monotonic()

    def end(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(1):
            if time.monotonic() > self._heard + LONGEST:
                self._process.kill()
                return


# --- coverage ---


def coverage(seed: int, runs: int) -> dict[str, Any]:
    """libFuzzer in a process of its own, from the hostile files on."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for file in hostile_files.FILES:
            if len(data := file.make()) <= LARGEST // 16:
                (seeds / file.name).write_bytes(data)
        number = len(list(seeds.iterdir()))
        command = [sys.executable, "-m", "tests.fuzz.decoding", "--runs", str(runs), "--seed", str(seed), "--atheris", folder]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False, cwd=ROOT)
        done = re.search(r"Done (\d+) runs", ended.stderr)
        reached = re.findall(r"cov: (\d+) ft: (\d+)", ended.stderr)
        crashes = [] if ended.returncode == 0 and done else [{"error": ended.stderr[-2000:], "files": _kept(Path(folder))}]
        return {
            "runs": int(done[1]) if done else None, "seed": seed, "seed_files": number,
            "edges": int(reached[-1][0]) if reached else None, "features": int(reached[-1][1]) if reached else None, "crashes": crashes,
        }  # fmt: skip


def _kept(folder: Path) -> list[str]:
    """Files that libFuzzer kept of a crash, in hexadecimal digits, as there is no other place they would stay."""
    return [file.read_bytes().hex() for file in folder.iterdir() if file.name.startswith(("crash-", "timeout-", "oom-"))]


def coverage_worker(folder: Path, runs: int, seed: int) -> int:
    """Run libFuzzer; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["PIL", "dgsnet"], enable_loader_override=False):
        from dgsnet.images.decode import DecodePolicy
        from dgsnet.service.decoder_process import handle_job  # noqa: F401 - instrumented here, used by `outcome`

    warnings.simplefilter("ignore")
    policies = [DecodePolicy(max_pixels=250_000), DecodePolicy(max_pixels=250_000, truncated="fill")]

    def one(data: bytes) -> None:
        outcome(data, policies[len(data) % 2])

    limits = [f"-runs={runs}", f"-seed={seed}", f"-timeout={LONGEST:g}", "-rss_limit_mb=3000", f"-max_len={LARGEST // 16}"]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/", f"{folder}/seeds"], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
