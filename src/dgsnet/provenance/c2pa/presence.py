"""The manifest store of a TIFF of several pages, and the addresses of stores that lie elsewhere; told without the library."""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterable

from dgsnet.images import tiff
from dgsnet.provenance import exif

_MOST_PAGES, _MOST_ENTRIES = 1024, 100_000
_ADDRESS = re.compile(
    r"(?<=[:<\s])provenance(?:\s{0,8}=\s{0,8}[\"']|[^<>]{0,100}?\bresource\s{0,8}=\s{0,8}[\"']|\s{0,8}>)\s{0,8}(https?://[^\"'<>\s]{1,2000})"
)
_MOST_ADDRESSES = 4


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
