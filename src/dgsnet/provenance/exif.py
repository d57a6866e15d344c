"""The few EXIF fields that tell of origin."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

from dgsnet.images import tiff

MAKE, MODEL, FILE_SOURCE, USER_COMMENT = 0x010F, 0x0110, 0xA300, 0x9286
XMP, IPTC, C2PA = 0x02BC, 0x83BB, 0xCD41  # of a TIFF file

NAMES = {
    MAKE: "Make",
    MODEL: "Model",
    0x0131: "Software",
    0x9003: "DateTimeOriginal",
    0x010E: "ImageDescription",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x013C: "HostComputer",
    0x010D: "DocumentName",
    0x927C: "MakerNote",
    0xA436: "ImageTitle",  # this and what follows: EXIF 3.0
    0xA43A: "RAWDevelopingSoftware",
    0xA43B: "ImageEditingSoftware",
}
"""Fields that hold text, in the order in which they are shown."""
WINDOWS_NAMES = {0x9C9B: "XPTitle", 0x9C9C: "XPComment", 0x9C9D: "XPAuthor", 0x9C9E: "XPKeywords", 0x9C9F: "XPSubject"}
"""Fields of Windows' Explorer, in UTF-16."""

_SUB_DIRECTORY = 0x8769
_WANTED = {*NAMES, *WINDOWS_NAMES, USER_COMMENT, FILE_SOURCE, XMP, IPTC, C2PA, _SUB_DIRECTORY}
_CODES = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8, b" " * 8)


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
    """Decode a field of type ASCII, which is UTF-8 or Latin-1 in practice, or of type UTF-8 (EXIF 3.0, 4.6.2)."""
    value = value.split(b"\0", 1)[0]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def comment(value: bytes) -> str:
    """Decode a user comment: eight bytes name the character code (EXIF 3.0, 4.6.6.8), which some programs leave out."""
    code, rest = value[:8], value[8:]
    if code not in _CODES:
        return text(value)
    return utf16(rest) if code == b"UNICODE\0" else text(rest.lstrip(b"\0"))


def texts(tags: dict[int, bytes]) -> Iterator[tuple[str, str]]:
    """Yield names and values of the fields that hold text, those that are empty left out."""
    for tag, name in NAMES.items():
        if tag in tags and (value := text(tags[tag]).strip()):
            yield name, value
    if value := comment(tags.get(USER_COMMENT, b"")).strip():
        yield "UserComment", value
    for tag, name in WINDOWS_NAMES.items():
        if value := utf16(tags.get(tag, b"")).strip():
            yield name, value


def utf16(value: bytes) -> str:
    """Decode UTF-16 of either byte order, told by where the zeros of common letters stand: programs do not keep to that of the block."""
    if value.startswith((b"\xfe\xff", b"\xff\xfe")):
        return value.decode("utf-16", "ignore").rstrip("\0")
    big = value[::2].count(0) > value[1::2].count(0)
    return value.decode("utf-16-be" if big else "utf-16-le", "ignore").rstrip("\0")
