"""Warnings about a picture's content, which stand beside its score: they say where scores are less reliable, and change none.

``heavy_compression``: JPEG compression below quality 50, which wipes out the traces a generator leaves. Told by a JPEG's tables or, in any
container, by pixels (`dgsnet.images.jpeg_quality`). A lossy WebP has neither tables nor an 8x8 grid, so only the JPEG past of one is found.

``text_or_screenshot``: text, user interfaces, slides, charts, flat drawings: pictures of few grey levels whose edges lie sharp between flat
areas. A photograph has flat areas too (sky, a white background, a black frame), but texture and blur around its edges. A page that holds
text and photographs counts by the share of its text. Nothing is said of a picture nearly without edges.

Both look at a bounded number of pixels: at most 64 tiles of 72x72 pixels at native resolution, spread evenly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dgsnet.images import jpeg_quality
from dgsnet.images.decode import DecodedImage

HEAVY = 50
"""JPEG quality below which compression is heavy: luma steps wider than those of the standard's example table."""

_TILE, _TILES = 72, 64  # pixels a side, a multiple of 8; most tiles of a picture

_BLOCK = 16  # pixels a side: about a letter
_CONTRAST = 60  # grey levels from darkest to brightest pixel, from which on a block is judged
_FLAT, _SHARP = 12, 6  # flat: 3x3 pixels differ by at most 1/12 of the block's contrast, as JPEG's ringing does; sharp: by over 1/6
_SOME_SHARP = 0.03  # of a block's pixels, which make it a block with edges
_SOME_FLAT = 0.2  # of a drawn block's pixels at least
_SOFT = 0.75  # neither flat nor sharp, per sharp pixel of a drawn block, at most
_ANY = 0.01  # blocks with edges, of all blocks, below which nothing is said

_EQUAL, _WEAK, _STRONG = 2, 8, 32  # grey levels by which 3x3 pixels differ: up to 2 flat, above 8 texture, above 32 an edge

_DRAWN = 0.45  # of the blocks with edges
_EDGES = 0.5  # edges among edges and texture
_LEVELS, _SPREAD = 4, 2  # the most frequent grey levels, each with its neighbours up to 2 away, which a JPEG of a flat area holds too
_FEW_LEVELS = 0.65  # of the pixels


def warnings(image: DecodedImage) -> list[str]:
    """Return the warnings of a picture, in this order: ``heavy_compression``, ``text_or_screenshot``."""
    tiles = _tiles(image.pixels)
    luma = jpeg_quality.luma_of(tiles)
    drawn = _is_drawn(np.rint(luma).astype(np.uint8))
    # Lines and letters that repeat every 8 pixels have the coefficients of a coarse JPEG, so a drawn picture is judged by tables alone.
    heavy = _is_heavy(image.jpeg_quality) or (not drawn and _is_heavy(jpeg_quality.of_pixels(luma)))
    return ["heavy_compression"] * heavy + ["text_or_screenshot"] * drawn


def _is_heavy(quality: int | None) -> bool:
    return quality is not None and quality < HEAVY


def _tiles(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut (H, W, 3) -> (N, h, w, 3): the whole picture as one, or tiles of it whose corners are at multiples of 8."""
    height, width = pixels.shape[:2]
    if height * width <= _TILES * _TILE * _TILE:
        return pixels[None]
    short = max(1, min(round(_TILES**0.5), min(height, width) // _TILE))
    down, across = (short, _TILES // short) if height <= width else (_TILES // short, short)
    tops, lefts = _starts(height, down), _starts(width, across)
    return np.stack([pixels[top : top + _TILE, left : left + _TILE] for top in tops for left in lefts])


def _starts(side: int, number: int) -> NDArray[np.int64]:
    ends = np.linspace(0, max(0, side - _TILE), max(1, min(number, side // _TILE)))
    return ends.astype(np.int64) // 8 * 8


def _is_drawn(luma: NDArray[np.uint8]) -> bool:
    """Return True if the edges of a picture, (N, H, W), are those of letters, lines and flat areas."""
    if min(luma.shape[1:]) < _BLOCK + 2 or _frequent(luma) < _FEW_LEVELS:
        return False
    brightest, darkest = _window(luma, np.maximum), _window(luma, np.minimum)
    differ = brightest - darkest
    texture, edges = np.count_nonzero((differ > _WEAK) & (differ <= _STRONG)), np.count_nonzero(differ > _STRONG)
    if edges < _EDGES * (edges + texture):
        return False

    contrast = (jpeg_quality.blocks(brightest, _BLOCK).max(axis=1) - jpeg_quality.blocks(darkest, _BLOCK).min(axis=1)).astype(np.int16)
    judged = contrast >= _CONTRAST
    within, contrast = jpeg_quality.blocks(differ, _BLOCK)[judged].astype(np.int16), contrast[judged, None]
    flat = ((within <= _EQUAL) | (within * _FLAT <= contrast)).mean(axis=1)
    sharp = (within * _SHARP > contrast).mean(axis=1)
    with_edges = sharp >= _SOME_SHARP
    number = np.count_nonzero(with_edges)
    if number == 0 or number < _ANY * judged.size:
        return False
    drawn = with_edges & (flat >= _SOME_FLAT) & (1 - flat - sharp <= _SOFT * sharp)
    return bool(np.count_nonzero(drawn) >= _DRAWN * number)


def _window(luma: NDArray[np.uint8], extreme: np.ufunc) -> NDArray[np.uint8]:
    """Return the largest or smallest of each 3x3 pixels, (N, H, W) -> (N, H - 2, W - 2)."""
    rows = extreme(extreme(luma[:, :-2], luma[:, 1:-1]), luma[:, 2:])
    square: NDArray[np.uint8] = extreme(extreme(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
    return square


def _frequent(luma: NDArray[np.uint8]) -> float:
    """Return the share of the pixels at the most frequent grey levels."""
    counts = np.bincount(luma.ravel(), minlength=256)
    share = 0.0
    for _ in range(_LEVELS):
        around = np.convolve(counts, np.ones(2 * _SPREAD + 1, np.int64), mode="same")
        peak = int(np.argmax(around))
        share += int(around[peak]) / luma.size
        counts[max(0, peak - _SPREAD) : peak + _SPREAD + 1] = 0
    return share
