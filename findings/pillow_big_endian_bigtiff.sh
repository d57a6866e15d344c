#!/usr/bin/env bash
# Pillow opens little-endian BigTIFF and does not know a big-endian one.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3, numpy 2.3.5, Python 3.11.
#
# Behaviour: BigTIFF (64-bit offsets) exists in both byte orders, as classic TIFF does: a file begins with "II" 43 or with "MM" 43. tifffile
# writes and reads both. Pillow's TIFF reader tells BigTIFF by the third byte alone, which is 43 in the little-endian form and 0 in the
# big-endian one; it takes the latter for classic TIFF, reads a directory where there is none, warns of corrupt EXIF and ends with
# UnidentifiedImageError. So a valid picture of a scanner or a microscope counts as "no picture", and code that walks the directory by the
# book sees another one than Pillow does.
#
# Output seen:
#   little-endian BigTIFF: (4, 4)
#   big-endian BigTIFF: UnidentifiedImageError
#   tifffile reads it: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy==2.3.5 2> /dev/null
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
outcomes = {}
for name, order in (("little", "<"), ("big", ">")):
    file = Path(sys.argv[1]) / f"{name}.tif"
    tifffile.imwrite(file, pixels, bigtiff=True, byteorder=order)
    try:
        with Image.open(file) as image:
            outcomes[name] = str(image.size)
    except UnidentifiedImageError:
        outcomes[name] = "UnidentifiedImageError"
    print(f"{name}-endian BigTIFF: {outcomes[name]}")
read = bool((tifffile.imread(file) == pixels).all())
print(f"tifffile reads it: {read}")
assert outcomes == {"little": "(4, 4)", "big": "UnidentifiedImageError"} and read, "the behaviour has changed"
PYTHON
