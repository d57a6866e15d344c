"""Where a manifest store or its address lies, told without the library."""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterable

from dgsnet.images import tiff
from dgsnet.provenance import exif

_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the C2PA's box, specification 2.2, A.5.1
_MOST_BOXES = 4096
_MOST_PAGES, _MOST_ENTRIES = 1024, 100_000
_ADDRESS = re.compile(
    r"(?<=[:<\s])provenance(?:\s{0,8}=\s{0,8}[\"']|[^<>]{0,100}?\bresource\s{0,8}=\s{0,8}[\"']|\s{0,8}>)\s{0,8}(https?://[^\"'<>\s]{1,2000})"
)
_MOST_ADDRESSES = 4


def in_boxes(data: bytes) -> bool:
    """Return whether a file of ISO boxes (AVIF, HEIC) or a JPEG XL holds a manifest store: a box ``uuid`` of the C2PA, or ``jumb``."""
    if data[4:8] not in {b"ftyp", b"JXL "}:
        return False
    place = 0
    for _ in range(_MOST_BOXES):
        if place + 8 > len(data):
            return False
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        head = 8
        if size == 1:  # a 64-bit size follows
            size, head = int.from_bytes(data[place + 8 : place + 16]), 16
        if kind == b"uuid" and data[place + head : place + head + 16] == _UUID:
            return True
        if kind == b"jumb" and b"c2pa" in data[place : place + 256]:
            return True
        if size < head:  # 0: up to the end of the file
            return False
        place += size
    return False


def in_pages(data: bytes) -> bool:
    """Return whether one of the directories of a TIFF file has a manifest store; several pages have it in the last."""
    try:
        left = _MOST_ENTRIES
        for directory, _ in zip(tiff.directories(data), range(_MOST_PAGES), strict=False):
            left -= directory.entries()
            if left < 0:
                return False
            for _, value in directory.values({exif.C2PA}):
                if b"jumb" in value[:256]:
                    return True
    except struct.error:  # the file ends early
        return False
    return False


def addresses(packets: Iterable[str]) -> list[str]:
    """Return the addresses of manifests that XMP packets name in ``dcterms:provenance``; a place in the same file is none."""
    found = [html.unescape(match[1]) for packet in packets for match, _ in zip(_ADDRESS.finditer(packet), range(16), strict=False)]
    return list(dict.fromkeys(found))[:_MOST_ADDRESSES]
