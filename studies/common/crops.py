"""The one pipeline that makes a 256x256 training image of a file, whatever its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgsnet.core.errors import DecodeError
from dgsnet.core.files import replacing

SIDE, SMALLEST, QUALITY = 256, 224, 95
"""Of a crop, pixels; a picture less wide or high than `SMALLEST` is left out, one between the two keeps its size; JPEG quality."""
LOOK_TWICE = 320
"""Short side, pixels, from which half of the pictures are scaled down before they are cropped."""
LOWEST = 0.15
"""Of the factor they are scaled by."""


def crop(pixels: NDArray[np.uint8], digest: str) -> NDArray[np.uint8]:
    """Return a random 256x256 part, half of the larger pictures scaled down before; a function of the picture's content alone.

    Raises DecodeError for a picture that is too small.
    """
    draw, image = np.random.default_rng(int(digest[:12], 16)), Image.fromarray(pixels)
    short = min(image.size)
    if short < SMALLEST:
        raise DecodeError(f"{image.width}x{image.height} pixels are too few")
    side = min(short, SIDE)
    if short > LOOK_TWICE and draw.random() < 0.5:
        factor = draw.uniform(max(side / short, LOWEST), 1.0)
        image = image.resize((max(side, round(image.width * factor)), max(side, round(image.height * factor))), Image.Resampling.LANCZOS)
    left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def write_crop(pixels: NDArray[np.uint8], target: Path) -> None:
    """Write a crop as JPEG, as all of them are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as aside:
        Image.fromarray(pixels).save(aside, "JPEG", quality=QUALITY, subsampling=0)
