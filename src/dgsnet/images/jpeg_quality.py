"""Strength of a picture's JPEG compression, on the 1..100 scale of the IJG's libjpeg: from a file's tables, or from pixels alone.

A JPEG names its quantisation steps. Pixels decoded from one still tell them, whatever container they lie in now: the 8x8 DCT coefficients
of its blocks sit at multiples of the steps (Fan and de Queiroz, "Identification of bitmap compression history", IEEE TIP 12(2), 2003).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", np.uint8, np.float32)

# ITU-T T.81, table K.1: libjpeg's luma table at quality 50, row by row.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float64,
)
_QUALITIES = np.arange(1, 101)

_STEP = 16  # grey levels a step between blocks counts at most
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (1, 2), (2, 1), (0, 3), (3, 0))  # what even heavy compression leaves other than 0
_BIN = 0.5  # width of a histogram bin, in units of a coefficient; rounding to whole grey levels alone blurs by about as much
_BINS = 1024  # the last one takes what lies beyond
_PIECE = 256  # blocks per matrix product
_FEW = 64  # coefficients other than 0, below which nothing is said
_PERIODIC = 0.5  # mean cosine; 1 is a perfect comb, and photographs without a JPEG past stay below 0.3
_AS_GOOD = 0.9  # of the best cosine: a comb also fits half and a third of its step, and the widest step is the true one


def of_tables(tables: Mapping[int, Sequence[int]]) -> int | None:
    """Estimate the quality of the luma table, the first one; None without a table of 64 steps.

    That is the quality whose standard table has the steps nearest to these, by mean ratio to table K.1: exact for libjpeg's own tables but
    where the lowest qualities share one, and the nearest in strength for those of cameras and other encoders.

    Args:
        tables: number of the table to 64 steps, row by row, as Pillow's `quantization`.
    """
    steps = np.asarray(tables[min(tables)] if tables else (), np.float64)
    if steps.size != _LUMA.size:
        return None
    distances = np.abs((_standard() - steps.reshape(_LUMA.shape)) / _LUMA).mean(axis=(1, 2))
    return int(_QUALITIES[np.argmin(distances)])


def luma_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma (...), 0..255, of RGB pixels (..., 3), by the weights of ITU-R BT.601, as JPEG has it."""
    luma: NDArray[np.float32] = pixels[..., 0] * np.float32(0.299) + pixels[..., 1] * np.float32(0.587) + pixels[..., 2] * np.float32(0.114)
    return luma


def of_pixels(luma: NDArray[np.float32]) -> int | None:
    """Estimate the quality of the strongest JPEG compression whose grid the pixels still show; None if they show none.

    Found through later crops and a milder second compression; lost by scaling. First the grid is located: in each axis the two of eight
    phases at which the step between neighbours most exceeds those beside it (the stronger grid and, after a crop, a later one), counting
    at most 16 levels a step, so that edges of things do not decide. Then the DCT coefficients of its blocks are matched with the steps of
    every quality. Blocks with black or white are left out, since clipping moves their coefficients.

    Args:
        luma: (N, H, W) in 0..255, N equally placed tiles: their corners are multiples of 8 pixels apart.
    """
    rows, columns = _phases(luma), _phases(luma.swapaxes(1, 2))
    found = [_of_blocks(blocks(luma[:, row:, column:], 8)) for row in rows for column in columns]
    return min((quality for quality in found if quality is not None), default=None)


def _of_blocks(found: NDArray[np.float32]) -> int | None:
    """Find the quality whose steps the coefficients of (blocks, 64) are multiples of."""
    unclipped = found[(found.min(axis=1, initial=255) > 1) & (found.max(axis=1, initial=0) < 254)]
    bins = np.minimum(np.rint(np.abs(_coefficients(unclipped)) / _BIN), _BINS - 1).astype(np.int64) + np.arange(len(_FREQUENCIES)) * _BINS
    counts = np.bincount(bins.ravel(), minlength=len(_FREQUENCIES) * _BINS)
    taken = np.flatnonzero(counts)  # few: most bins are empty
    cosines, number = np.einsum("kbq,b->kq", _combs()[:, taken], counts[taken].astype(np.float32))
    fit = np.where(number >= _FEW, cosines / np.maximum(number, 1), -1)
    if fit.max() < _PERIODIC:
        return None
    widest = int(np.argmax(fit >= _AS_GOOD * fit.max()))
    return int(_QUALITIES[widest + np.argmax(fit[widest : widest + 5])])  # neighbouring qualities fit nearly as well; the best is meant


def _coefficients(chosen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transform (blocks, 64) -> (blocks, F), in pieces that BLAS leaves to the thread that asks: it would wait for busy cores."""
    pieces = [chosen[first : first + _PIECE] @ _dct() for first in range(0, len(chosen), _PIECE)]
    return np.concatenate(pieces) if pieces else np.zeros((0, len(_FREQUENCIES)), np.float32)


@functools.cache
def _standard() -> NDArray[np.float64]:
    """Return libjpeg's luma tables of qualities 1..100, (100, 8, 8)."""
    scale = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)[:, None, None]
    return np.clip(np.floor((_LUMA * scale + 50) / 100), 1, 255)


@functools.cache
def _dct() -> NDArray[np.float32]:
    """Return the basis pictures of the chosen frequencies of the orthonormal DCT, (64, F)."""
    k = np.arange(8)
    rows = np.cos(np.pi * (2 * k + 1) * k[:, None] / 16) * np.where(k == 0, np.sqrt(1 / 8), 1 / 2)[:, None]
    return np.stack([np.outer(rows[v], rows[u]).ravel() for v, u in _FREQUENCIES], axis=1).astype(np.float32)


@functools.cache
def _combs() -> NDArray[np.float32]:
    """Return for each histogram bin and quality, (2, F * bins, 100), cos(2 pi c / step) and whether the coefficient c counts at all.

    What was rounded to 0 says nothing. The limit is a quarter of the step, not half, so that a comb of half the step is refuted by its
    first tooth.
    """
    coefficients = np.arange(_BINS) * _BIN
    steps = np.stack([_standard()[:, v, u] for v, u in _FREQUENCIES], axis=1)[:, :, None]
    chosen = (coefficients > steps / 4) & (np.arange(_BINS) < _BINS - 1)
    cosines = np.cos(2 * np.pi * coefficients / steps) * chosen
    both = np.stack([cosines, chosen]).reshape(2, len(steps), -1)
    return np.ascontiguousarray(both.swapaxes(1, 2), np.float32)


def _phases(luma: NDArray[np.float32]) -> list[int]:
    """Find the two rows, 0..7, at which the blocks of (N, H, W) most likely begin."""
    steps = np.abs(np.diff(luma, axis=1))
    beyond = np.clip(steps[:, 1:-1] - np.maximum(steps[:, :-2], steps[:, 2:]), 0, _STEP).sum(axis=(0, 2))
    rows = (np.arange(beyond.size) + 2) % 8  # the step before row 2 is the first with a neighbour on both sides
    means = np.bincount(rows, beyond, minlength=8) / np.maximum(np.bincount(rows, minlength=8), 1)
    return [int(row) for row in np.argsort(-means, kind="stable")[:2]]


def blocks(values: NDArray[_Number], side: int) -> NDArray[_Number]:
    """Cut into square blocks, (N, H, W) -> (blocks, side * side)."""
    number, height, width = values.shape[0], values.shape[1] // side, values.shape[2] // side
    whole = values[:, : side * height, : side * width].reshape(number, height, side, width, side)
    return whole.swapaxes(2, 3).reshape(-1, side * side)
