"""What sites and people do to a picture between its making and its reading."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def of_pixels(pixels: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Yield each treatment's name and what it leaves of a picture, (H, W, 3) or with an alpha channel (H, W, 4)."""
    yield "PNG", pixels
    for quality in (95, 90):
        yield f"JPEG {quality}, 4:4:4", _stored(pixels, "JPEG", quality=quality, subsampling=0)
    for quality in (95, 90, 85, 75):
        yield f"JPEG {quality}, 4:2:0", _stored(pixels, "JPEG", quality=quality, subsampling=2)
    yield "WebP, lossless", _stored(pixels, "WEBP", lossless=True)
    for quality in (90, 80, 60):
        yield f"WebP {quality}", _stored(pixels, "WEBP", quality=quality)
    for factor in (0.75, 0.5):
        size = (int(pixels.shape[1] * factor), int(pixels.shape[0] * factor))
        yield f"scaled by {factor}", np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    height, width = pixels.shape[:2]
    yield "bottom quarter cropped", np.ascontiguousarray(pixels[: height * 3 // 4])
    yield "right quarter cropped", np.ascontiguousarray(pixels[:, : width * 3 // 4])
    yield "8 pixels cropped all around", np.ascontiguousarray(pixels[8:-8, 8:-8])


def _stored(pixels: Pixels, kind: str, **options: Any) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, :3] if kind == "JPEG" else pixels).save(stream, kind, **options)
    return np.asarray(Image.open(stream))
