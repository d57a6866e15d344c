"""How often is a mark seen where there is none?

    python -m studies.watermarks unmarked --data CORPUS --repositories FOLDER [--minutes 30]
    python -m studies.watermarks survival --data CORPUS --repositories FOLDER [--pictures 100]
    python -m studies.watermarks tables

`unmarked` appends the strength of every message in every crop to `runs/watermarks/unmarked.csv`, and goes on where it stopped; `tables` writes
`results/*.json` of both.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from dgsnet.watermarks import dwt_dct, stealth
from studies.common.paths import RUNS
from studies.watermarks.photographs import photographs, unmarked

WORK = RUNS / "watermarks"
UNMARKED = WORK / "unmarked.csv"
MESSAGES = [message.name for message in dwt_dct.MESSAGES]


def read_unmarked(corpus: Path, repositories: Path, minutes: float) -> None:
    """Read crops of one photograph after the other until time is up."""
    WORK.mkdir(parents=True, exist_ok=True)
    begun = UNMARKED.exists()
    done = {row["photograph"] for row in csv.DictReader(UNMARKED.open(encoding="utf-8"))} if begun else set()
    end = time.monotonic() + 60 * minutes
    with UNMARKED.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not begun:
            writer.writerow(["photograph", "source", "done", "width", "height", *MESSAGES, "stealth"])
        for photograph in photographs(corpus, repositories):
            if photograph.name in done:
                continue
            if time.monotonic() > end:
                return
            rows = []
            for what, pixels in unmarked(photograph):
                if readings := dwt_dct.read(pixels):
                    strengths = [f"{reading.strength:.3f}" for reading in readings]
                    rows.append(
                        [photograph.name, photograph.source, what, pixels.shape[1], pixels.shape[0], *strengths, len(stealth.read(pixels))]
                    )
            writer.writerows(rows)
            stream.flush()


def main() -> None:
    """Run a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("unmarked", "survival", "tables"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repositories", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    if given.step == "unmarked":
        read_unmarked(given.data, given.repositories, given.minutes)


if __name__ == "__main__":
    main()
