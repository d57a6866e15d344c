"""The two copies of a picture by which a verdict's steadiness is asked: compressed as JPEG 85, and scaled to 0.75 of its sides.

They stand for what any site does. Only the middle of a picture is changed where only the middle is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dgsnet.images.augment import Pixels, jpeg, resized, scaled_size
from dgsnet.images.decode import decode

QUALITY, SCALE = 85, 0.75
COPIES = 2

_MCU = 16  # pixels: a JPEG of 4:2:0 is coded in blocks of this size, so a part that begins at a multiple of it is coded as in the whole


def everyday_copies(pixels: Pixels, side: int | None = None) -> Iterator[Pixels]:
    """Yield the copies of a picture, (H, W, 3) uint8: JPEG 85, then 0.75 of the size.

    Args:
        pixels: the picture.
        side: pixels; where given, only so much of the middle of each copy is right as a square of this side needs. None: all of it.
    """
    yield decode(jpeg(_middle(pixels, side), QUALITY)).pixels
    part = _middle(pixels, None if side is None else round(side / SCALE))
    yield resized(part, scaled_size(part, SCALE))


def _middle(pixels: Pixels, side: int | None) -> Pixels:
    """Cut a part out whose middle is that of the picture, with a margin, beginning at multiples of `_MCU`."""
    if side is None:
        return pixels
    starts = [max(0, (length - side) // 2 // _MCU * _MCU - _MCU) for length in pixels.shape[:2]]
    top, left = starts
    # As much is left out behind as before, so that the middle stays where it is.
    return np.ascontiguousarray(pixels[top : pixels.shape[0] - top, left : pixels.shape[1] - left])
