"""A verdict: what dgsnet says of one image. Plain data, no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Answer = Literal["ai-generated", "real", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one image. An image that could not be scored has `error`, and null where a figure would stand."""

    path: str | None
    """As given; None for images handed over in memory."""
    sha256: str | None = None
    """Of the encoded bytes."""
    score: float | None = None
    """Probability that the image is AI-generated, 0..1."""
    logit: float | None = None
    verdict: Answer | None = None
    warnings: list[str] = field(default_factory=list)
    width: int | None = None
    """Pixels, after the EXIF turn."""
    height: int | None = None
    format: str | None = None
    model: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row of `dgsnet detect`."""
        return asdict(self)


COLUMNS: tuple[str, ...] = tuple(Verdict.__dataclass_fields__)
"""Columns of a row, in order."""
