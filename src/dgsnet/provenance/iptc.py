"""IPTC IIM datasets of a Photoshop block (JPEG APP13)."""

from __future__ import annotations

import re

_NAMES = {
    5: "ObjectName", 25: "Keywords", 40: "SpecialInstructions", 65: "OriginatingProgram", 80: "By-line", 105: "Headline", 110: "Credit",
    115: "Source", 116: "CopyrightNotice", 120: "Caption",
}  # fmt: skip
_RECORD = b"8BIM\x04\x04"
_DATASET = re.compile(rb"\x1c\x02(.)(..)", re.DOTALL)
_MOST, _LONGEST = 64, 2000


def datasets(block: bytes) -> list[tuple[str, str]]:
    """Return names and values of the wanted datasets, from a Photoshop block or bare IIM; what is damaged is left out."""
    found: list[tuple[str, str]] = []
    place = max(0, block.find(_RECORD))
    while len(found) < _MOST and (match := _DATASET.search(block, place)):
        number, size = match[1][0], int.from_bytes(match[2])
        if number in _NAMES and match.end() + size <= len(block):
            found.append((_NAMES[number], block[match.end() : match.end() + min(size, _LONGEST)].decode("utf-8", "replace")))
        place = match.end() + (size if number in _NAMES and match.end() + size <= len(block) else 0)
    return found
