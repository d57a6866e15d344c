"""The few EXIF fields that tell of origin, by a reader that takes bounded time.

Pillow's reader copies what every entry of a directory points at, and thousands of entries of a small block may point at all of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST, HOST_COMPUTER, COPYRIGHT = 0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x013C, 0x8298
DATE_TIME_ORIGINAL, USER_COMMENT, XP_COMMENT = 0x9003, 0x9286, 0x9C9C
XMP, IPTC, C2PA = 0x02BC, 0x83BB, 0xCD41  # of a TIFF file

_SUB_DIRECTORY = 0x8769
_SIZES = {1: 1, 2: 1, 4: 4, 7: 1, 13: 4, 16: 8, 18: 8}  # bytes of a value of each type: bytes, text and pointers, nothing else is wanted
_WANTED = {
    IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST, HOST_COMPUTER, COPYRIGHT, DATE_TIME_ORIGINAL, USER_COMMENT, XP_COMMENT,
    XMP, IPTC, C2PA, _SUB_DIRECTORY,
}  # fmt: skip
_MOST_ENTRIES = 4096
_LONGEST = 2**20  # bytes of a value


def tags(block: bytes) -> dict[int, bytes]:
    """Wanted tags of the first directory and its EXIF directory, as raw bytes; what is damaged is left out.

    Args:
        block: a TIFF structure, which a TIFF file is as a whole.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return {}
    big = struct.unpack(f"{order}H", block[2:4])[0] == 43  # BigTIFF
    pointer = f"{order}{'Q' if big else 'I'}"
    found: dict[int, bytes] = {}
    try:
        (start,) = struct.unpack_from(pointer, block, 8 if big else 4)
        for tag, value in _entries(block, start, order, big):
            found.setdefault(tag, value)
        below = found.pop(_SUB_DIRECTORY, b"")
        if len(below) >= 4:
            (start,) = struct.unpack_from(f"{order}{'Q' if len(below) >= 8 else 'I'}", below)
            for tag, value in _entries(block, start, order, big):
                found.setdefault(tag, value)
    except struct.error:  # the block ends early
        pass
    found.pop(_SUB_DIRECTORY, None)
    return found


def _entries(block: bytes, start: int, order: str, big: bool) -> Iterator[tuple[int, bytes]]:
    if start > len(block):  # struct takes no offset beyond what an index can hold
        return
    number_format, entry_format = (f"{order}Q", f"{order}HHQ") if big else (f"{order}H", f"{order}HHI")
    (number,) = struct.unpack_from(number_format, block, start)
    place, inline = start + struct.calcsize(number_format), 8 if big else 4
    seen: set[int] = set()  # thousands of entries of one tag would else be thousands of copies
    for _ in range(min(number, _MOST_ENTRIES)):
        tag, kind, count = struct.unpack_from(entry_format, block, place)
        place += struct.calcsize(entry_format)
        if tag in _WANTED - seen and kind in _SIZES:
            seen.add(tag)
            size, at = count * _SIZES[kind], place
            if size > inline:
                (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", block, place)
            if at + size <= len(block):
                yield tag, block[at : at + min(size, _LONGEST)]
        place += inline


def text(value: bytes) -> str:
    """An ASCII field, which is UTF-8 or Latin-1 in practice."""
    value = value.split(b"\0", 1)[0]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def comment(value: bytes) -> str:
    """A user comment: eight bytes name the character code."""
    code, value = value[:8], value[8:]
    return utf16(value) if code == b"UNICODE\0" else text(value)


def utf16(value: bytes) -> str:
    """UTF-16 of either byte order, told by where the zeros of common letters stand: programs do not keep to that of the block."""
    big = value[::2].count(0) > value[1::2].count(0)
    return value.decode("utf-16-be" if big else "utf-16-le", "ignore").rstrip("\0")
