"""Traces in the pixels of a picture of how it was made and handled: frames, corner marks, an earlier compression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dgsnet.images import jpeg_quality

_WINDOW = 1024  # pixels a side that are searched for an earlier compression
_MILDER = 3  # an earlier compression less than this below the file's own quality cannot be told from it

_EQUAL = 6  # grey levels by which the lines of a frame may stray from its colour
_RINGING = 8  # pixels next to a frame that compression may have mixed with it
_DIFFERS, _MOST = 12, 0.6  # behind a frame, more than this share of a line's pixels differ by more than so many levels

# The five squares in the corner of a DALL-E 2 picture, left to right; a 64th of the picture wide each.
_DALLE = np.array([[255, 255, 102], [66, 255, 255], [81, 218, 76], [255, 110, 60], [60, 70, 255]], np.float32)
_DALLE_ERROR = 40  # levels of a channel, mean over a square
_DALLE_CELL = 4  # pixels of a square, below which nothing is said

Pixels = NDArray[np.uint8]


def earlier_quality(pixels: Pixels, own: int | None) -> int | None:
    """Return the quality 1..100 of a JPEG compression that these pixels went through before the file's own; None if none shows.

    Looks at the middle 1024 x 1024 of (H, W, 3) pixels. One that was milder than the file's `own`, if it is a JPEG, cannot be seen, and
    scaling removes the trace.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 32:
        return None
    top, left = max(0, height - _WINDOW) // 2, max(0, width - _WINDOW) // 2
    part = pixels[top : top + _WINDOW, left : left + _WINDOW]
    found = jpeg_quality.of_pixels(jpeg_quality.luma_of(part)[None])
    return found if found is not None and (own is None or found <= own - _MILDER) else None


def frame(pixels: Pixels) -> float:
    """Return the share of the area, 0..1, in a frame: lines of one colour along an edge that end all at once, as letterboxes and mats do.

    A plain background behind a thing is none: it does not end along a straight line.
    """
    height, width = pixels.shape[:2]
    grey = pixels.astype(np.int16)
    top, bottom = _lines(grey), _lines(grey[::-1])
    left, right = _lines(grey.swapaxes(0, 1)), _lines(grey[:, ::-1].swapaxes(0, 1))
    inside = max(0, height - top - bottom) * max(0, width - left - right)
    share: float = 1 - inside / (height * width)
    return round(share, 4)


def _lines(pixels: NDArray[np.int16]) -> int:
    """Count lines of a frame at the top of (H, W, 3)."""
    length = len(pixels)
    colour = np.median(pixels[0], axis=0)
    strays = np.abs(pixels - colour).max(axis=2)
    uniform = strays.max(axis=1) <= _EQUAL
    number = length if uniform.all() else int(np.argmin(uniform))
    if number in (0, length):
        return 0
    behind = strays[min(number + _RINGING, length - 1)]
    return number if float((behind > _DIFFERS).mean()) > _MOST else 0


def corner_mark(pixels: Pixels) -> bool:
    """Return whether the row of five coloured squares of DALL-E 2 is in the lower right corner of (H, W, 3)."""
    cell = round(pixels.shape[1] / 64)
    if cell < _DALLE_CELL or pixels.shape[0] < cell:
        return False
    corner = pixels[-cell:, -5 * cell :].astype(np.float32)
    colours = corner.reshape(cell, 5, cell, 3).mean(axis=(0, 2))
    return bool(np.abs(colours - _DALLE).max() <= _DALLE_ERROR)
