"""Verdicts: the answers of dgsnet to single images. Plain data, no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dgsnet.artifacts.calibration import Answer

if TYPE_CHECKING:
    from dgsnet.provenance import Provenance

OTHER_BUILD = "other_backbone_build"
"""Warning of a row that another build of the backbone scored than the model was trained on."""

PROVENANCE = "provenance"
"""The optional column, last of a row."""


@dataclass(frozen=True)
class Verdict:
    """The answer to one image. An image that could not be scored has `error`, and null where a figure would stand."""

    path: str | None
    """As given; None for images handed over in memory."""
    sha256: str | None = None
    """Hash of the encoded bytes."""
    score: float | None = None
    """Probability that the image is AI-generated, 0..1."""
    logit: float | None = None
    verdict: Answer | None = None
    warnings: list[str] = field(default_factory=list)
    """Names of what makes the score less reliable, see `PLAIN`: those of size, then of content, then of the model."""
    width: int | None = None
    """Pixels, after the EXIF turn."""
    height: int | None = None
    format: str | None = None
    model: str | None = None
    error: str | None = None
    provenance: Provenance | None = None
    """Claims of the file on its own origin; None where nobody asked for them, and where there is no picture."""

    def as_dict(self, *, provenance: bool = False) -> dict[str, Any]:
        """Return the row of `dgsnet detect`; `provenance` adds the column of that name."""
        row = asdict(self)
        if not provenance:
            del row[PROVENANCE]
        return row


PLAIN: dict[str, str] = {
    "low_resolution": "The image is smaller than what the model looks at, so parts of it were shown more than once.",
    "heavy_compression": "The image was strongly compressed as a JPEG, which wipes out much of what tells a generated image.",
    "text_or_screenshot": "The image looks like text, a screenshot, a chart or a flat drawing; the model judges photographs.",
    "out_of_domain": "The image is unlike the photographs the model was trained on.",
    OTHER_BUILD: "The model runs on another build of its backbone than it was trained on, so scores differ a little.",
}
"""Each warning in one sentence."""

COLUMNS: tuple[str, ...] = tuple(name for name in Verdict.__dataclass_fields__ if name != PROVENANCE)
"""Columns of a row, in order, without `PROVENANCE`."""
