"""Recognition of files that cost far more than their bytes, before a reader works on them.

Pillow's readers say the size of a picture before they decode it, but for three things: a WebP's canvas is allocated when the file is
opened, a TIFF's tiles may be larger than the picture, and a JPEG may go over all of the picture thousands of times. And a directory of TIFF
or EXIF may have as many entries as fit, each of which Pillow complains about when it is damaged.
"""

from __future__ import annotations

import re
import struct

from PIL import TiffImagePlugin

from dgsnet.images import tiff

_SCAN, _END = 0xDA, 0xD9
_ALONE = {0x01, 0xD8}  # markers without a segment
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in data of a scan \xff stands before \x00 or a restart marker only
_TILE_WIDTH, _TILE_LENGTH = 322, 323


def webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height of a WebP's canvas as announced; (1, 1) where there is no header, which the reader will say.

    Args:
        data: of a file that begins as a WebP does.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 1, 1
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 1, 1


def jpeg_scans(data: bytes, most: int) -> int:
    """Count the scans of a JPEG, up to one more than `most`. Thumbnails and what follows the picture do not count."""
    scans = data.count(b"\xff\xda")
    if scans <= most:  # of nearly every file, and quicker than to look which of them begin scans
        return scans
    place = scans = 0
    while scans <= most and (marker := _MARKER.search(data, place)):
        place, code = marker.end(), data[marker.end() - 1]
        if code == _END:
            break
        scans += code == _SCAN
        if code not in _ALONE:
            place += max(2, int.from_bytes(data[place : place + 2]))
    return scans


def tiff_tile(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the pixels of a tile of a TIFF, of which one is decoded at a time; 0 where it has none."""
    sides = [image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    return int(sides[0]) * int(sides[1]) if all(isinstance(side, int | float) for side in sides) else 0


def directory_entries(block: bytes) -> int:
    """Return the number of entries that the first directory of a TIFF structure announces; 0 where it has none.

    Pillow takes a big-endian BigTIFF for a plain TIFF, so of a big-endian structure the larger number of both readings is returned.

    Args:
        block: a TIFF file, or an EXIF block with or without its name.
    """
    name = b"Exif\0\0"  # which stands twice in some files
    structure = block.removeprefix(name).removeprefix(name)
    return max(_entries(structure), _entries(structure, plain=True) if structure.startswith(b"MM") else 0)


def _entries(structure: bytes, *, plain: bool = False) -> int:
    try:
        return tiff.first_directory(structure, plain=plain).entries()
    except struct.error:  # it is none, or ends early
        return 0
