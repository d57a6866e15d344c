"""The IPTC's vocabulary of digital source types, http://cv.iptc.org/newscodes/digitalsourcetype."""

from __future__ import annotations

from typing import Literal

Says = Literal["generated", "ai-edited", "edited", "camera", "scanner", "unknown"]
"""The claim of a piece of metadata on a picture, in plain words."""

_SAYS: dict[str, Says] = {
    "trainedalgorithmicmedia": "generated",
    "compositewithtrainedalgorithmicmedia": "ai-edited",
    "compositesynthetic": "edited",
    "composite": "edited",
    "compositecapture": "edited",
    "humanedits": "edited",
    "minorhumanedits": "edited",
    "algorithmicallyenhanced": "edited",
    "digitalcapture": "camera",
    "computationalcapture": "camera",
    "negativefilm": "scanner",
    "positivefilm": "scanner",
    "print": "scanner",
}


def says(value: str) -> Says:
    """Return the claim of a source type, an address or its last part alone; drawings, screenshots and other terms are ``unknown``."""
    return _SAYS.get(value.strip().rstrip("/").replace(":", "/").rsplit("/", 1)[-1].lower(), "unknown")
