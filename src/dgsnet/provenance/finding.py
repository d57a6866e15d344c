"""One piece of metadata and its claim."""

from __future__ import annotations

from dataclasses import dataclass

from dgsnet.provenance.source_type import Says

EXCERPT = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Finding:
    """The content of one place of a file's metadata."""

    kind: str
    """The place, such as ``exif.Software``, ``png.parameters``, ``xmp.DigitalSourceType``, ``c2pa.validation``."""
    value: str
    """An excerpt, on one line."""
    says: Says


def finding(kind: str, value: str, says: Says) -> Finding:
    """Return a finding with text from outside cut to an excerpt without control characters and lone surrogates."""
    return Finding(excerpt(kind, 100), excerpt(value, EXCERPT), says)


def excerpt(text: str, longest: int) -> str:
    """Return the beginning of a text from outside, on one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * longest])
    line = " ".join(line.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}\u2026"
