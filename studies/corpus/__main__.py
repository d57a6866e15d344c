"""Rebuild the corpus from the repositories that its manifest names.

    python -m tools.clone_sources DIR
    python -m studies.corpus --repositories DIR --out CORPUS

Restartable: images that are there are kept, and `CORPUS/manifest.csv` is written last. The crops that the committed results are of were
drawn at random, and their places were not kept; those made here are drawn by the sha1 of each original. So the images show the same
pictures, but other parts of them; `sha256` in the committed manifest is that of the image the results are of.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dgsnet.core.errors import DecodeError
from dgsnet.core.files import write_text
from dgsnet.images.decode import decode
from studies.common.crops import crop, write_crop
from studies.common.image_list import POLICY, content, require_repositories

MANIFEST = Path(__file__).parent / "manifest.csv"
TILE = 512
"""Pixels of a tile of a sheet: `FILE#tileCR` is column C, row R."""


def rebuild(repositories: Path, out: Path) -> None:
    """Make every image of the manifest that is not there, then the manifest itself."""
    with MANIFEST.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    require_repositories(repositories, (row for row in rows if not (out / row["path"]).exists()))
    made = []
    for row in track(rows, "corpus"):
        if not (out / row["path"]).exists():
            try:
                write_crop(crop(_original(repositories, row), row["sha1"]), out / row["path"])
            except DecodeError as error:
                print(f"left out: {row['repo']}: {row['repo_path']}: {error}")
                continue
        made.append({name: value for name, value in row.items() if name != "sha256"})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(made[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    write_text(out / "manifest.csv", text.getvalue())


def _original(repositories: Path, row: dict[str, str]) -> NDArray[np.uint8]:
    """Return the pixels of a listed file, or of its tile."""
    path, _, tile = row["repo_path"].partition("#tile")
    data = content(repositories / row["repo"], row["commit"], path)
    if not tile and hashlib.sha1(data, usedforsecurity=False).hexdigest() != row["sha1"]:
        raise SystemExit(f"{row['repo']}: {path} is not the file that was listed: check out {row['commit']}")
    pixels = decode(data, POLICY).pixels
    if not tile:
        return pixels
    left, top = (TILE * int(digit) for digit in tile)
    return pixels[top : top + TILE, left : left + TILE]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rebuild(arguments.repositories, arguments.out)
