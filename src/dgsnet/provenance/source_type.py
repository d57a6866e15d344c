"""The IPTC's vocabulary of digital source types, http://cv.iptc.org/newscodes/digitalsourcetype (version of 2025), and C2PA's additions."""

from __future__ import annotations

from typing import Literal

Says = Literal["generated", "ai-edited", "edited", "camera", "scanner", "unknown"]
"""The claim of a piece of metadata on a picture, in plain words."""

ORDER: tuple[Says, ...] = ("generated", "ai-edited", "edited", "camera", "scanner")
"""Claims in the order in which they are listed; ``unknown`` is none."""

_SAYS: dict[str, Says] = {
    "trainedalgorithmicmedia": "generated",
    "trainedalgorithmicdata": "generated",
    "compositewithtrainedalgorithmicmedia": "ai-edited",  # "Edited using Generative AI"
    "compositesynthetic": "ai-edited",  # "Composite including generative AI elements"
    "composite": "edited",
    "compositecapture": "edited",
    "humanedits": "edited",
    "minorhumanedits": "edited",  # retired
    "algorithmicallyenhanced": "edited",
    "digitalcapture": "camera",
    "computationalcapture": "camera",
    "multiframecomputationalcapture": "camera",
    "negativefilm": "scanner",
    "positivefilm": "scanner",
    "print": "scanner",
    # Made on a computer, without a camera and without a trained model, or of what cannot be told.
    "algorithmicmedia": "unknown",  # "Pure algorithmic media", a formula's
    "datadrivenmedia": "unknown",
    "digitalcreation": "unknown",
    "digitalart": "unknown",  # retired
    "softwareimage": "unknown",  # retired
    "screencapture": "unknown",
    "virtualrecording": "unknown",
    "empty": "unknown",  # C2PA: a canvas without content
}
TERMS = frozenset(_SAYS)
"""Terms that are known, in lower case."""


def says(value: str) -> Says:
    """Return the claim of a source type: an address, its last part alone, or schema.org's name of it. Other terms are ``unknown``."""
    term = value.strip().rstrip("/").replace(":", "/").replace("#", "/").rsplit("/", 1)[-1].lower()
    return _SAYS.get(term, _SAYS.get(term.removesuffix("digitalsource"), "unknown"))
