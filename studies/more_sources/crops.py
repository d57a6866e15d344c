"""Crops of the listed files, as the corpus was made."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.progress import track

from dgsnet.core.errors import DecodeError
from dgsnet.core.files import sha256_bytes, write_text
from dgsnet.images.decode import decode
from studies.common.crops import crop, write_crop
from studies.common.image_list import POLICY, content, crop_path, listed, require_repositories


def crops(repositories: Path, out: Path, batches: str) -> None:
    """Make one crop of every file listed in these batches, and `manifest.csv` of them. A crop that is there is kept."""
    rows, written = [row for row in listed() if row["batch"] in batches], []
    # A crop is named by content: one that is there is whole, and the right one.
    require_repositories(repositories, (row for row in rows if not (out / crop_path(row)).exists()))
    for row in track(rows, "crops"):
        target = crop_path(row)
        if not (out / target).exists():
            data = content(repositories / row["repo"], row["commit"], row["path"])
            if sha256_bytes(data) != row["sha256"]:
                raise SystemExit(f"{row['repo']}: {row['path']} is not the file that was listed: check out {row['commit']}")
            try:
                write_crop(crop(decode(data, POLICY).pixels, row["sha256"]), out / target)
            except DecodeError as error:
                print(f"left out: {row['repo']}: {row['path']}: {error}")
                continue
        written.append({"path": target, "label": row["label"], "split": "train", "source": row["source"], "generator": row["generator"]})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(written[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    write_text(out / "manifest.csv", text.getvalue())
