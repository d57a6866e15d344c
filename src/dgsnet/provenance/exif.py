"""The few EXIF fields that tell of origin."""

from __future__ import annotations

import struct
from contextlib import suppress

from dgsnet.images import tiff

IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST, HOST_COMPUTER, COPYRIGHT = 0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x013C, 0x8298
DATE_TIME_ORIGINAL, USER_COMMENT, XP_COMMENT = 0x9003, 0x9286, 0x9C9C
XMP, IPTC, C2PA = 0x02BC, 0x83BB, 0xCD41  # of a TIFF file

_SUB_DIRECTORY = 0x8769
_WANTED = {
    IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST, HOST_COMPUTER, COPYRIGHT, DATE_TIME_ORIGINAL, USER_COMMENT, XP_COMMENT,
    XMP, IPTC, C2PA, _SUB_DIRECTORY,
}  # fmt: skip


def tags(block: bytes) -> dict[int, bytes]:
    """Return the wanted tags of the first directory and its EXIF directory, as raw bytes; what is damaged is left out.

    Args:
        block: a TIFF structure, which a TIFF file is as a whole.
    """
    found: dict[int, bytes] = {}
    with suppress(struct.error):  # the block ends early
        directory = tiff.first_directory(block)
        for tag, value in directory.values(_WANTED):
            found.setdefault(tag, value)
        if len(below := found.pop(_SUB_DIRECTORY, b"")) >= 4:
            for tag, value in directory.below(below).values(_WANTED):
                found.setdefault(tag, value)
    found.pop(_SUB_DIRECTORY, None)
    return found


def text(value: bytes) -> str:
    """Decode an ASCII field, which is UTF-8 or Latin-1 in practice."""
    value = value.split(b"\0", 1)[0]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def comment(value: bytes) -> str:
    """Decode a user comment: eight bytes name the character code."""
    code, value = value[:8], value[8:]
    return utf16(value) if code == b"UNICODE\0" else text(value)


def utf16(value: bytes) -> str:
    """Decode UTF-16 of either byte order, told by where the zeros of common letters stand: programs do not keep to that of the block."""
    big = value[::2].count(0) > value[1::2].count(0)
    return value.decode("utf-16-be" if big else "utf-16-le", "ignore").rstrip("\0")
