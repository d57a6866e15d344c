"""Bring the repositories that the lists of images name, each at its listed commit, with plain git.

    python -m tools.clone_sources DIR                                both lists: studies/corpus and studies/more_sources
    python -m tools.clone_sources DIR --list studies/corpus/manifest.csv

DIR/OWNER/NAME becomes a bare repository that holds this commit alone. What is there is skipped, so a second call goes on; what cannot be
had is named at the end, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.progress import track

from studies.common.image_list import LISTED, has_commit

LISTS = (LISTED.parents[1] / "corpus" / "manifest.csv", LISTED)
REMOTE = "https://github.com/"


def wanted(lists: Iterable[Path]) -> list[tuple[str, str]]:
    """Return (repository, commit) of all lists, each once."""
    found = set()
    for file in lists:
        with file.open(encoding="utf-8", newline="") as stream:
            found |= {(row["repo"], row["commit"]) for row in csv.DictReader(stream)}
    return sorted(found)


def clone(folder: Path, repository: str, commit: str, remote: str) -> str | None:
    """Fetch one commit into `folder/OWNER/NAME`; return git's last words where it cannot be had."""
    target = folder / repository
    target.mkdir(parents=True, exist_ok=True)
    for command in (["init", "--quiet", "--bare"], ["fetch", "--quiet", "--depth", "1", f"{remote}{repository}", commit]):
        # No prompt: a repository that is gone would be asked a password for.
        alone = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(["git", "-C", str(target), *command], capture_output=True, text=True, check=False, env=alone)
        if done.returncode:
            return done.stderr.strip().rpartition("\n")[2] or f"git {command[0]} ended with {done.returncode}"
    return None


def main() -> None:
    """Bring what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--list", type=Path, action="append", dest="lists", help="CSV with columns repo and commit; may be given twice")
    parser.add_argument("--remote", default=REMOTE, help="what stands before OWNER/NAME")
    given = parser.parse_args()
    repositories = wanted(given.lists or LISTS)
    missing = [one for one in repositories if not has_commit(given.folder / one[0], one[1])]
    print(f"{len(repositories) - len(missing)} of {len(repositories)} repositories are there", file=sys.stderr)
    failed = {}
    for repository, commit in track(missing, "repositories"):
        if reason := clone(given.folder, repository, commit, given.remote):
            failed[repository] = f"{repository} at {commit}: {reason}"
    if failed:
        sys.exit(f"{len(failed)} of {len(missing)} cannot be had:\n" + "\n".join(failed.values()))


if __name__ == "__main__":
    main()
