"""The list of images beyond the corpus, `studies/more_sources/more_sources.csv`, and the files it names."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from dgsnet.images.decode import DecodePolicy

LISTED = Path(__file__).parents[1] / "more_sources" / "more_sources.csv"
SOURCE = 40
"""Images of a source, at most."""
BATCHES = ("1", "12", "123", "1234", "12345", "123456", "1234567")
"""As the list has grown."""
POLICY = DecodePolicy(formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO"))


def listed() -> list[dict[str, str]]:
    """Return the rows of the list, at most `SOURCE` of a source, chosen by the hash of their content."""
    with LISTED.open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: (row["label"], row["source"], row["sha256"]))
    taken: dict[str, int] = {}
    kept = []
    for row in rows:
        taken[row["source"]] = taken.get(row["source"], 0) + 1
        if taken[row["source"]] <= SOURCE:
            kept.append(row)
    return kept


def crop_path(row: dict[str, str]) -> str:
    """Return the path of the crop of a listed file, below the folder of all crops; it names the content."""
    return f"{row['source']}/{row['sha256'][:12]}.jpg"


def content(repository: Path, commit: str, path: str) -> bytes:
    """Return a file of a repository, as it was at a commit."""
    return subprocess.run(["git", "-C", str(repository), "show", f"{commit}:{path}"], check=True, capture_output=True).stdout


def require_repositories(folder: Path, rows: Iterable[dict[str, str]]) -> None:
    """End with a message that says which repositories a folder OWNER/NAME lacks, or has without the commit that is listed."""
    wanted = sorted({(row["repo"], row["commit"]) for row in rows})
    missing = [repo for repo, commit in wanted if not has_commit(folder / repo, commit)]
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise SystemExit(
            f"{folder} lacks {len(missing)} of {len(wanted)} repositories at the commits that are listed: {some}\n"
            f"python -m tools.clone_sources {folder} brings them"
        )


def has_commit(repository: Path, commit: str) -> bool:
    """Return whether this folder is a git repository that holds the commit."""
    if not repository.is_dir():
        return False
    asked = ["git", "-C", str(repository), "cat-file", "-e", f"{commit}^{{commit}}"]
    # The ceiling keeps git from answering for a repository that this folder lies in.
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(repository.absolute().parent)}
    return subprocess.run(asked, capture_output=True, check=False, env=alone).returncode == 0
