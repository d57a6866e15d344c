"""Properties of an XMP packet that tell of origin.

Found by patterns, not by an XML parser: hostile packets then expand no entity, fetch nothing and nest no deeper than a pattern looks, and
packets that are not well-formed, which are common, are read too.
"""

from __future__ import annotations

import html
import re

PROPERTIES = (
    "DigitalSourceType", "CreatorTool", "Credit", "AISystemUsed", "AIPromptInformation", "Make", "Model",
)  # fmt: skip
"""Local names: of IPTC Extension, XMP basic, Photoshop and TIFF schemas; any prefix is taken, as prefixes are free."""

_VALUE = 1000  # characters, longest value
_MOST = 4  # values of a property
_PATTERNS = {
    name: re.compile(
        rf"(?<=[:<\s]){name}(?:\s{{0,8}}=\s{{0,8}}(?:\"([^\"<]{{0,{_VALUE}}})\"|'([^'<]{{0,{_VALUE}}})')"
        rf"|[^<>]{{0,100}}?\bresource\s{{0,8}}=\s{{0,8}}[\"']([^\"'<]{{0,{_VALUE}}})"
        rf"|(?:\s[^<>]{{0,100}})?>([^<]{{1,{_VALUE}}}))"
    )
    for name in PROPERTIES
}


def properties(packet: str) -> list[tuple[str, str]]:
    """Return names and values, in the order of `PROPERTIES`, at most four of each."""
    found = []
    for name, pattern in _PATTERNS.items():
        values = []
        for match, _ in zip(pattern.finditer(packet), range(16), strict=False):
            value = html.unescape(next((group for group in match.groups() if group), "")).strip()
            if value and value not in values:
                values.append(value)
        found += [(name, value) for value in values[:_MOST]]
    return found


def text(packet: bytes) -> str:
    """Decode a packet: UTF-8, or UTF-16 or UTF-32 of Latin letters, which tags and source types are."""
    return packet.replace(b"\0", b"").decode("utf-8", "replace")
