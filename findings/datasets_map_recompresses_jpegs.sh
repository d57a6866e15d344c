#!/usr/bin/env bash
# `datasets`: a `map` that only looks at an image writes the JPEG or WebP anew, at another quality.
#
# Versions: datasets 5.2.0, Pillow 13.0.0, pyarrow 26.0.1, numpy 2.4.6, Python 3.11.
#
# Behaviour: a column of type `Image` keeps the bytes of the file. `Dataset.map` hands the function a row that decodes the image once it is asked
# for, and every image that was decoded is encoded again when the row is written, also where the function returns another column alone. A
# picture that was a JPEG is saved as one with Pillow's default quality, 75, whatever it had; a WebP likewise. So
# `map(lambda row: {"width": row["image"].width})` turns a JPEG of quality 95 into one of 75, without a word. `filter` with the same function
# leaves the bytes alone, so does a `map` that does not touch the image, and so does one over images that the data set knows by path.
#
# Why it matters: where one label is compressed otherwise than the other, a detector learns that. Add a column of sizes to the photographs before
# the generated images are joined to them, and every photograph is compressed once more. `cast_column("image", Image(decode=False))` before
# `map` keeps the bytes.
#
# Output seen:
#   JPEG, map that returns a constant: same bytes
#   JPEG, filter by width: same bytes
#   JPEG, map that returns the width: other bytes, same pixels: False, quality 75
#   WebP, map that returns the width: other bytes, same pixels: False
#   PNG, map that returns the width: same pixels: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0 pyarrow==26.0.1 numpy==2.4.6 2> /dev/null
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PYTHON'
import io

import numpy as np
from datasets import Dataset, Features, Image
from PIL import Image as Pillow

coarse = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
picture = Pillow.fromarray(coarse).resize((64, 64), Pillow.Resampling.BICUBIC)


def encoded(form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def stored(rows: Dataset) -> bytes:
    return rows.cast_column("image", Image(decode=False))[0]["image"]["bytes"]


def rows_of(file: bytes) -> Dataset:
    return Dataset.from_dict({"image": [{"bytes": file, "path": None}]}, features=Features({"image": Image()}))


def pixels(file: bytes) -> bytes:
    return Pillow.open(io.BytesIO(file)).convert("RGB").tobytes()


jpeg = encoded("JPEG", quality=95)
rows = rows_of(jpeg)
constant = stored(rows.map(lambda row: {"label": 1})) == jpeg
print("JPEG, map that returns a constant:", "same bytes" if constant else "other bytes")
kept = stored(rows.filter(lambda row: row["image"].width > 0)) == jpeg
print("JPEG, filter by width:", "same bytes" if kept else "other bytes")

again = {form: stored(rows_of(file).map(lambda row: {"width": row["image"].width})) for form, file in (
    ("JPEG", jpeg), ("WebP", encoded("WEBP", quality=95)), ("PNG", encoded("PNG")))}
tables = Pillow.open(io.BytesIO(again["JPEG"])).quantization
quality = 75 if tables == Pillow.open(io.BytesIO(encoded("JPEG", quality=75))).quantization else "other"
same = {"JPEG": pixels(again["JPEG"]) == pixels(jpeg), "WebP": pixels(again["WebP"]) == pixels(encoded("WEBP", quality=95)),
        "PNG": pixels(again["PNG"]) == pixels(encoded("PNG"))}
print(f"JPEG, map that returns the width: other bytes, same pixels: {same['JPEG']}, quality {quality}")
print(f"WebP, map that returns the width: other bytes, same pixels: {same['WebP']}")
print(f"PNG, map that returns the width: same pixels: {same['PNG']}")
assert constant and kept and quality == 75 and same == {"JPEG": False, "WebP": False, "PNG": True}, "the behaviour has changed"
PYTHON
