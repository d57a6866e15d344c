#!/usr/bin/env bash
# pillow-jxl-plugin writes the `Exif` box of a JPEG XL file without the offset that the format puts first.
#
# Versions: pillow-jxl-plugin 1.3.8, Pillow 13.0.0, ExifRead 3.5.1, Python 3.11.
#
# Behaviour: ISO/IEC 18181-2 defines the content of the `Exif` box as in HEIF: four bytes that say how far the TIFF header is away, then the
# payload. libjxl's encoder passes a box on as it gets it and leaves the four bytes to the caller. `Image.save(..., "JXL", exif=...)` takes
# Pillow's payload, removes the "Exif" prefix of JPEG and adds nothing, so that the box begins with the TIFF header itself. The plugin's own
# reader takes both forms, so a round trip looks well; Exiv2 0.28.9 takes both too. ExifRead expects the four bytes and raises AssertionError. With
# four zero bytes before the payload the same call writes a box that all of them read.
#
# Why it matters: camera, date and software of such a file are lost to a reader that goes by the standard. One that skips four bytes unseen
# skips the byte order, and the first four bytes taken as an offset point far outside the box. A reader has to accept both forms.
#
# Output seen:
#   as saved:         box begins 4d4d002a00000008, plugin: Example 1, ExifRead: AssertionError
#   with four zeros:  box begins 000000004d4d002a, plugin: Example 1, ExifRead: Example 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow-jxl-plugin==1.3.8 pillow==13.0.0 exifread==3.5.1 2> /dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import io
import struct

import exifread
import pillow_jxl  # noqa: F401
from PIL import ExifTags, Image

exif = Image.Exif()
exif[ExifTags.Base.Model] = "Example 1"
payload = exif.tobytes().removeprefix(b"Exif\0\0")


def written(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 80, 40)).save(buffer, "JXL", exif=payload)
    return buffer.getvalue()


def beginning(file: bytes) -> str:
    """Return the first eight bytes of the `Exif` box in hexadecimal."""
    at = 0
    while at < len(file):
        size, kind = struct.unpack_from(">I4s", file, at)
        if kind == b"Exif":
            return file[at + 8 : at + 16].hex()
        at += size or len(file)
    return ""


def by_plugin(file: bytes) -> str:
    with Image.open(io.BytesIO(file)) as image:
        return image.getexif().get(ExifTags.Base.Model, "")


def by_exifread(file: bytes) -> str:
    try:
        return str(exifread.process_file(io.BytesIO(file)).get("Image Model"))
    except AssertionError:
        return "AssertionError"


seen = []
for name, content in (("as saved:", payload), ("with four zeros:", bytes(4) + payload)):
    file = written(content)
    seen.append((beginning(file), by_plugin(file), by_exifread(file)))
    print(f"{name:<17} box begins {seen[-1][0]}, plugin: {seen[-1][1]}, ExifRead: {seen[-1][2]}")
saved = (payload[:8].hex(), "Example 1", "AssertionError")
padded = ((bytes(4) + payload[:4]).hex(), "Example 1", "Example 1")
assert seen == [saved, padded], "the behaviour has changed"
PYTHON
