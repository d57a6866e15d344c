"""Verdicts: the answers of dgsnet to single images. Plain data, no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dgsnet.artifacts.calibration import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dgsnet.images.decode import DecodedImage
    from dgsnet.provenance import Finding, Provenance

    ReadProvenance = Callable[[bytes], Provenance]
    """From the bytes of a file to its claims: `dgsnet.provenance.read`, with whatever it is to use bound to it."""
    ReadWatermarks = Callable[[DecodedImage], list[Finding]]
    """From a decoded picture to what is hidden in its pixels: a `dgsnet.watermarks.Reader`."""

OTHER_BUILD = "other_backbone_build"
"""Warning of a row that another build of the backbone scored than the model was trained on."""

UNSTEADY = "unsteady"
"""Warning of a row whose verdict an everyday copy of the picture would not have got."""

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
        row = asdict(replace(self, provenance=None))
        del row[PROVENANCE]
        if provenance:
            row[PROVENANCE] = None if self.provenance is None else self.provenance.as_dict() | {"agrees": self.agrees}
        return row

    @property
    def agrees(self) -> bool | None:
        """Return whether the pixels' verdict and what the file says of itself go together; None where one of them says neither
        photograph nor generated. A claim of a part or an edit, ``ai-edited``, goes with either verdict."""
        says = set(self.provenance.says) if self.provenance else set()
        if self.verdict == "real":
            return False if "generated" in says else True if "camera" in says else None
        if self.verdict == "ai-generated":
            if "generated" in says:
                return True
            return False if "camera" in says and "ai-edited" not in says else None
        return None


PLAIN: dict[str, str] = {
    "low_resolution": "The image is smaller than what the model looks at, so parts of it were shown more than once.",
    "heavy_compression": "The image was strongly compressed as a JPEG, which wipes out much of what tells a generated image.",
    "text_or_screenshot": "The image looks like text, a screenshot, a chart or a flat drawing; the model judges photographs.",
    "out_of_domain": "The image is unlike the photographs the model was trained on.",
    UNSTEADY: "The same picture, compressed or scaled as any site does, would get another verdict.",
    OTHER_BUILD: "The model runs on another build of its backbone than it was trained on, so scores differ a little.",
}
"""Each warning in one sentence."""

CONTRADICTION = {
    "real": "The pixels look like a photograph to the model, but the file says that it was AI-generated.",
    "ai-generated": "The pixels look AI-generated to the model, but the file says that it came from a camera.",
}
"""What is said of a row whose verdict and file do not agree, by verdict."""

COLUMNS: tuple[str, ...] = tuple(name for name in Verdict.__dataclass_fields__ if name != PROVENANCE)
"""Columns of a row, in order, without `PROVENANCE`."""
