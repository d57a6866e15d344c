"""Training augmentation that takes away the container as a cue.

Photographs mostly arrive as JPEG, generated images mostly as PNG or WebP, in the sizes their model makes. A detector learns that first,
unless each training view is cropped, scaled and compressed anew by one lottery that never sees the label.

The order is crop, resize, flip, re-encode. Crop comes first because it then acts on the pixels the camera or model made, and scaling costs
only what remains. Compression comes last, as on the web: cropping, scaling or mirroring a compressed picture would move, smear or mirror
the block grid, and the container a view was last in must be one drawn here, whatever the file came in.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dgsnet.images.decode import DecodePolicy

_MIN_SIDE = 224  # what the backbones see and patch selection needs
ENLARGED = DecodePolicy(max_pixels=50_000_000)
"""How far a picture may be enlarged: a bound of memory, and of what recorded runs saw, whatever may be decoded."""
_WEBP_MAX_SIDE = 16_383
_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}

Pixels = NDArray[np.uint8]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _RangeStep(_Step):
    """A step with a range `low`..`high`, which must not be empty."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Crop(_Step):
    """With `probability`, cut out a rectangle of the picture's aspect ratio and of `low`..1 of its area, drawn uniformly.

    A side is never cut below 224 pixels, and a picture that small already is left whole.
    """

    probability: Probability = 0.5
    low: float = Field(default=0.25, gt=0, le=1)

    def _apply(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chance, area, down, right = rng.uniform(size=4)
        height, width = pixels.shape[:2]
        scale = max(math.sqrt(self.low + (1 - self.low) * area), _MIN_SIDE / min(height, width))
        if chance >= self.probability or scale >= 1:
            return pixels
        rows, columns = round(height * scale), round(width * scale)
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        return pixels[top : top + rows, left : left + columns]


class Resize(_RangeStep):
    """With `probability`, scale both sides by a factor of `low`..`high`, log-uniform so that halving is as likely as doubling.

    One of `filters` is drawn. A side is never scaled down below 224 pixels, nor a picture up beyond what decoding accepts by default.
    """

    probability: Probability = 0.5
    low: float = Field(default=0.5, gt=0, le=4)
    high: float = Field(default=1.5, gt=0, le=4)
    filters: tuple[Literal["lanczos", "bicubic", "bilinear"], ...] = Field(default=("lanczos", "bicubic", "bilinear"), min_length=1)

    def _apply(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chance, factor, kind = rng.uniform(size=3)
        height, width = pixels.shape[:2]
        scale = self.low * (self.high / self.low) ** factor
        scale = max(scale, min(1, _MIN_SIDE / min(height, width)))
        scale = min(scale, max(1, ENLARGED.max_scale(height, width)))
        size = scaled_size(pixels, scale)
        if chance >= self.probability or size == (width, height):
            return pixels
        return resized(pixels, size, _pick(self.filters, kind))


class ReEncode(_RangeStep):
    """With `probability`, compress to one of `formats` at an integer quality of `low`..`high` (1..100) and decode again.

    JPEG's chroma subsampling (4:4:4, 4:2:2, 4:2:0) is drawn too, since encoders of cameras, phones and sites differ in it.
    """

    probability: Probability = 0.5
    formats: tuple[Literal["jpeg", "webp"], ...] = Field(default=("jpeg", "webp"), min_length=1)
    low: int = Field(default=60, ge=1, le=100)
    high: int = Field(default=98, ge=1, le=100)

    def _apply(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chance, kind, level, chroma = rng.uniform(size=4)
        if chance >= self.probability:
            return pixels
        quality = self.low + int(level * (self.high - self.low + 1))
        if _pick(self.formats, kind) == "webp" and max(pixels.shape) <= _WEBP_MAX_SIDE:
            compressed = webp(pixels, quality)
        else:
            compressed = jpeg(pixels, quality, subsampling=int(chroma * 3))
        with Image.open(BytesIO(compressed), formats=("JPEG", "WEBP")) as image:
            return np.array(image.convert("RGB"))


class Augmentation(_Step):
    """Steps that a training view goes through. Each is off by default; `flip` mirrors left and right half of the time."""

    crop: Crop | None = None
    resize: Resize | None = None
    flip: bool = False
    reencode: ReEncode | None = None

    def apply(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Make one view of `pixels` (H, W, 3) uint8, as (H', W', 3) uint8, C-contiguous; the input itself when no step applies.

        Takes four draws from `rng`, one per step, on or off: each step has its own generator, so switching one off leaves the others' draws
        as they were. The label is no argument, hence no draw can depend on it.
        """
        crop, resize, flip, reencode = (np.random.default_rng(seed) for seed in rng.integers(2**63, size=4))
        if self.crop:
            pixels = self.crop._apply(pixels, crop)
        if self.resize:
            pixels = self.resize._apply(pixels, resize)
        if self.flip and flip.uniform() < 0.5:
            pixels = pixels[:, ::-1]
        pixels = np.ascontiguousarray(pixels)
        return self.reencode._apply(pixels, reencode) if self.reencode else pixels


def scaled_size(pixels: Pixels, scale: float) -> tuple[int, int]:
    """Return (width, height) of (H, W, 3) pixels with both sides times `scale`, rounded, at least 1."""
    height, width = pixels.shape[:2]
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized(pixels: Pixels, size: tuple[int, int], kind: str = "lanczos") -> Pixels:
    """Scale (H, W, 3) pixels to `size` (width, height), with the filter `lanczos`, `bicubic`, `bilinear` or `nearest`."""
    return np.array(Image.fromarray(pixels).resize(size, _FILTERS[kind]))


def jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> bytes:
    """Encode (H, W, 3) pixels as a JPEG of `quality` 1..100; `subsampling` 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0."""
    return encoded(pixels, "JPEG", quality=quality, subsampling=subsampling)


def webp(pixels: Pixels, quality: int) -> bytes:
    """Encode (H, W, 3) pixels as a lossy WebP of `quality` 1..100; Pillow's ValueError where a side is longer than 16383."""
    return encoded(pixels, "WEBP", quality=quality)


def encoded(pixels: Pixels, kind: str, **options: int) -> bytes:
    """Encode (H, W, 3) pixels in one of Pillow's formats, with its options."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _pick(names: tuple[str, ...], draw: float) -> str:
    """Return the name at place `draw` (0..1, exclusive) of the row."""
    return names[int(draw * len(names))]
