"""Images that are kept for testing: nothing is trained on them, chosen by them or looked at among them.

    python -m studies.common.kept_for_testing LIST.csv     columns sha256 and repo, either may be missing
    python -m studies.common.kept_for_testing FOLDER       the files below it, by content

Names what is kept and ends with 1 where anything is. `kept_for_testing.txt` holds sha256 sums of files and of repositories (OWNER/NAME in
lower case), so that it tells of a file whether it is kept, and does not tell which files are.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from dgsnet.core.files import sha256_bytes, sha256_file

SUMS = Path(__file__).with_suffix(".txt")


@cache
def sums() -> frozenset[str]:
    """Return the sums of all that is kept."""
    return frozenset(line for line in SUMS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))


def kept_rows(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Return which rows of a list are kept: their path and repository, whether the file or the whole repository is."""
    return [
        f"{row.get('repo', '')}: {row.get('path', '')}"
        for row in rows
        if row.get("sha256") in sums() or (row.get("repo") and sha256_bytes(row["repo"].lower().encode()) in sums())
    ]


def kept_files(folder: Path) -> list[str]:
    """Return which files below a folder are kept, by content."""
    return [str(file) for file in sorted(folder.rglob("*")) if file.is_file() and sha256_file(file) in sums()]


def main(given: Path) -> None:
    """Say what is kept; SystemExit with 1 where anything is."""
    if given.is_dir():
        found = kept_files(given)
    else:
        with given.open(encoding="utf-8", newline="") as stream:
            found = kept_rows(csv.DictReader(stream))
    print("\n".join([f"{len(found)} of {given} are kept for testing", *found]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
