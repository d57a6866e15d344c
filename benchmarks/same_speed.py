"""Compares start-up, throughput and memory of two checkouts, in alternating runs on one machine.

    python benchmarks/same_speed.py PICTURES --old OLD --new NEW --out FILE.json [--rounds 9]

OLD and NEW are folders with `.venv` (after `make test`). The ratio new / old of a command is the median over rounds of the ratios within a
round, in which the two take turns at going first; its quartiles stand beside it. CPU seconds count too: other work on the machine disturbs
them less than wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from processor import processor_name

MEASURES = ("wall_s", "cpu_s", "peak_mb")


def run(checkout: Path, arguments: list[str]) -> dict[str, float]:
    """Run a command of one checkout to its end; return wall and CPU seconds, and the largest memory of its process in MB."""
    command = [str(checkout / ".venv/bin/dgsnet"), *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ""})
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def compare(commands: dict[str, list[str]], old: Path, new: Path, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return of each command and measure the medians of both checkouts, and the ratio with its quartiles."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, arguments in commands.items():
        pairs = []
        for number in range(rounds + 1):
            order = (old, new) if number % 2 else (new, old)
            measured = {checkout: run(checkout, arguments) for checkout in order}
            if number:  # the first round fills the caches
                pairs.append((measured[old], measured[new]))
        found[name] = {}
        for measure in MEASURES:
            ratios = [after[measure] / before[measure] for before, after in pairs]
            low, middle, high = quantiles(ratios, n=4)
            found[name][measure] = {
                "old": median(before[measure] for before, _ in pairs),
                "new": median(after[measure] for _, after in pairs),
                "ratio": middle,
                "low": low,
                "high": high,
            }
    return found


def commit(checkout: Path) -> str:
    """Return the commit that a checkout is at."""
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--new", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    pictures = [str(file) for file in sorted(given.pictures.rglob("*.*"))]
    commands = {
        "help": ["--help"],
        "one picture": ["detect", pictures[0], "--json"],
        "thirty pictures": ["detect", *pictures[:: max(1, len(pictures) // 30)][:30], "--json"],
    }
    found = compare(commands, given.old.resolve(), given.new.resolve(), given.rounds)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    measured = {
        "processor": processor_name(),
        "rounds": given.rounds,
        "old": commit(given.old),
        "new": commit(given.new),
        "commands": found,
    }
    given.out.write_text(json.dumps(measured, indent=1) + "\n")
    table = Table("command", "measure", "old", "new", "new / old (quartiles)")
    for name, measures in found.items():
        for measure, row in measures.items():
            ratio = f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            table.add_row(name, measure, f"{row['old']:.3g}", f"{row['new']:.3g}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
