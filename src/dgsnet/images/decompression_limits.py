"""Recognition of files that cost far more than their bytes, before a reader works on them.

Pillow's readers say the size of a picture before they decode it, but for three things: a WebP's canvas is allocated when the file is
opened, a TIFF's tiles may be larger than the picture, and a JPEG may go over all of the picture thousands of times. And a directory of TIFF
or EXIF may have as many entries as fit, each of which Pillow complains about when it is damaged. Texts of a PNG it unfolds, and gives up
the picture where one is long. What HEIC, AVIF and JPEG XL announce stands in `heif_limits` and `coded_size`.
"""

from __future__ import annotations

import re
import struct
import zlib

from PIL import TiffImagePlugin

from dgsnet.images import tiff

_SCAN, _END = 0xDA, 0xD9
_ALONE = {0x01, 0xD8}  # markers without a segment
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in data of a scan \xff stands before \x00 or a restart marker only
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
_TURNS = {b"Raw profile type exif", b"XML:com.adobe.xmp"}  # keys of texts that may say how a picture is to be turned
_LONGEST_TEXT = 2**20
_MOST_TEXTS = 16


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


def without_png_texts(data: bytes) -> bytes:
    """Return a PNG without its colour profile and its texts, but for the few and short ones that may say how it is to be turned.

    None of the others changes a pixel, and Pillow's reader gives up a picture whose texts or profile unfold to more than a megabyte.

    Args:
        data: of a file that begins as a PNG does. What stands behind a damaged chunk is left as it is.
    """
    if not any(kind in data for kind in _TEXTS):  # of most files, and quicker than to walk
        return data
    parts, place, start, texts = [], 0, 8, 0
    while start + 12 <= len(data):
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data) or kind == b"IEND":
            break
        if kind in _TEXTS:
            if texts < _MOST_TEXTS and _may_turn(kind, data[start + 8 : end - 4]):
                texts += 1
            else:
                parts.append(data[place:start])
                place = end
        start = end
    return b"".join([*parts, data[place:]]) if parts else data


def _may_turn(kind: bytes, body: bytes) -> bool:
    key, _, rest = body.partition(b"\0")
    if key not in _TURNS or kind == b"iCCP":
        return False
    if kind == b"zTXt":
        return rest[:1] == b"\0" and _is_short(rest[1:])
    if kind == b"iTXt" and rest[:1] == b"\1":
        _, _, compressed = rest[2:].partition(b"\0")
        return rest[1:2] == b"\0" and _is_short(compressed.partition(b"\0")[2])
    return len(rest) <= _LONGEST_TEXT


def _is_short(compressed: bytes) -> bool:
    unfolding = zlib.decompressobj()
    try:
        unfolding.decompress(compressed, _LONGEST_TEXT)
    except zlib.error:
        return True  # Pillow takes it for empty
    return not unfolding.unconsumed_tail
