"""Patch selection: the image as its 24 most uniform and 25 richest 32x32 patches, instead of a resized whole.

Resizing blurs the traces a generator leaves; DGS-Net cuts patches at native resolution, ranks them by the entropy of their spectrum and
tiles the extremes into a 224x224 input (arXiv 2511.13108, patch selection). The published code loops over patches; here one batched real
FFT ranks them all. numpy and scipy only.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Order = Literal["position", "entropy", "released"]
"""How chosen patches fill the grid: as they lie in the picture, by rising entropy, or shuffled under a seed (as the released code does)."""

TIE_BITS = 1e-4
"""Entropies in one bin of this width (bit) count as equal and are ranked by position, so that the last digits of an FFT do not decide."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CHUNK = 128  # patches a block: its arrays of half a megabyte stay in cache, and memory stays bounded for a 50-megapixel image


def spectral_entropy(patches: Any) -> Any:
    """Shannon entropy (base 2) of the power spectrum of each patch.

    The patch is turned grey (0.299 R + 0.587 G + 0.114 B), |FFT|^2 is normalised to sum 1 and H = -sum p log2 p. A scale factor cancels, so
    0..255 and 0..1 give the same. A black patch has no spectrum: its entropy is 0.

    Args:
        patches: (N, 3, S, S) uint8 or float; array or CPU tensor.

    Returns:
        (N,) float32, bits, 0 .. 2 log2 S; a tensor if a tensor was given.

    Raises:
        ValueError: another shape.
    """
    # A caller in a torch program gets a tensor back; asking the argument for its kind keeps torch out of this module.
    tensor = patches.detach().float() if hasattr(patches, "new_tensor") else None
    pixels = np.asarray(patches if tensor is None else tensor)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3] or pixels.shape[3] == 0:
        raise ValueError(f"expected patches (N, 3, S, S), but got {pixels.shape}")
    entropies = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), _CHUNK):
        chunk = pixels[start : start + _CHUNK]
        grey = np.einsum("ncij,c->nij", chunk.astype(np.float64), _LUMA)
        peak = np.abs(grey).max(axis=(1, 2), keepdims=True)  # so that no square over- or underflows
        entropies[start : start + _CHUNK] = _entropies_of_grey((grey / np.where(peak == 0, 1, peak)).astype(np.float32))
    return entropies if tensor is None else tensor.new_tensor(entropies)


def select_patches(
    image: NDArray[np.uint8], patch: int = 32, low: int = 24, high: int = 25, order: Order = "position", seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Tile the `low` patches of lowest and the `high` patches of highest spectral entropy into a square.

    The picture is cropped at the right and bottom to multiples of `patch`. Where that leaves fewer than low + high patches
    (`is_low_resolution`), windows overlap instead: each axis is covered by the same number k of evenly spaced windows, k the smallest that
    gives enough (never fewer than the whole patches, never more than the axis has positions). Where even that is too few, a picture hardly
    larger than one patch, the ranked windows repeat in turn. No cell is ever black, and every cell is native pixels.

    Args:
        image: (H, W, 3) uint8, both sides at least `patch`.
        patch: side of a patch, pixels.
        low: patches of lowest entropy to keep.
        high: patches of highest entropy to keep.
        order: see `Order`. `entropy` and `position` are deterministic per image.
        seed: of the shuffle in order `released`.

    Returns:
        The tiles, (G * patch, G * patch, 3) uint8 with G = sqrt(low + high), 224x224 by default; and the source box of each cell, row by
        row, (low + high, 4) int64: left, top, right, bottom in pixels of `image`.

    Raises:
        ValueError: wrong shape or type, a side under `patch`, a patch under 1, or low + high is no square.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an image (H, W, 3) of uint8, but got {image.shape} of {image.dtype}")
    if patch < 1:
        raise ValueError(f"expected a patch of at least 1 pixel, but got {patch}")
    if min(image.shape[:2]) < patch:
        raise ValueError(f"expected an image of at least {patch}x{patch} pixels, but got {image.shape[1]}x{image.shape[0]}")
    grid = math.isqrt(max(low + high, 0))
    if min(low, high) < 0 or grid == 0 or grid * grid != low + high:
        raise ValueError(f"expected low + high to be a square like 24 + 25 = 49, but got {low} + {high}")
    if order not in get_args(Order):
        raise ValueError(f"expected order to be one of {get_args(Order)}, but got {order!r}")

    tops, lefts = _corners(image.shape[0], image.shape[1], patch, low + high)
    sheet = _sheet(image, tops, lefts, patch)
    rank = np.argsort(np.rint(_entropies(sheet, patch) / TIE_BITS), kind="stable")
    places = np.resize(np.arange(rank.size), max(rank.size, low + high))  # repeats in turn where windows are too few
    chosen = rank[np.sort(np.concatenate([places[:low], places[places.size - high :]]))]
    if order == "position":
        chosen = np.sort(chosen)
    elif order == "released":
        chosen = np.random.default_rng(seed).permutation(chosen)

    row, column = np.divmod(chosen, lefts.size)
    cells = sheet.reshape(tops.size, patch, lefts.size, patch, 3)[row, :, column]
    tiles = cells.reshape(grid, grid, patch, patch, 3).swapaxes(1, 2).reshape(grid * patch, grid * patch, 3)
    top, left = tops[row], lefts[column]
    return tiles, np.stack([left, top, left + patch, top + patch], axis=1)


def is_low_resolution(height: int, width: int, patch: int = 32, cells: int = 49) -> bool:
    """Whether a picture has fewer whole patches than the grid has cells, so that its patches overlap or repeat."""
    return (height // patch) * (width // patch) < cells


def _corners(height: int, width: int, patch: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top edges and left edges of the windows: their product is the set of windows, row by row."""
    if not is_low_resolution(height, width, patch, cells):
        return np.arange(height // patch) * patch, np.arange(width // patch) * patch
    sides = (height, width)
    positions = [side - patch + 1 for side in sides]
    k = next(
        (k for k in range(1, cells + 1) if math.prod(_windows(s, p, k, patch) for s, p in zip(sides, positions, strict=True)) >= cells),
        cells,
    )
    tops, lefts = (np.rint(np.linspace(0, p - 1, _windows(s, p, k, patch))).astype(np.int64) for s, p in zip(sides, positions, strict=True))
    return tops, lefts


def _windows(side: int, positions: int, k: int, patch: int) -> int:
    return max(side // patch, min(k, positions))


def _sheet(image: NDArray[np.uint8], tops: NDArray[np.int64], lefts: NDArray[np.int64], patch: int) -> NDArray[np.uint8]:
    """The windows side by side, (rows * patch, columns * patch, 3): a view of the cropped picture unless they overlap."""
    height, width = tops.size * patch, lefts.size * patch
    if tops[-1] + patch == height and lefts[-1] + patch == width:
        return image[:height, :width]
    rows, columns = ((edges[:, None] + np.arange(patch)).ravel() for edges in (tops, lefts))
    sheet: NDArray[np.uint8] = image[np.ix_(rows, columns)]
    return sheet


def _entropies(sheet: NDArray[np.uint8], patch: int) -> NDArray[np.float32]:
    """(rows * patch, columns * patch, 3) -> (rows * columns,) bits, in blocks that stay in cache: memory does not grow with the picture."""
    rows, columns = sheet.shape[0] // patch, sheet.shape[1] // patch
    high, wide = max(1, _CHUNK // columns), min(columns, _CHUNK)
    # Luma as a matrix that takes several pixels at once: BLAS is slow at a product with three columns and one.
    several = math.gcd(8, patch)
    luma = np.kron(np.eye(several, dtype=np.float32), _LUMA[:, None])
    entropies = np.empty((rows, columns), np.float32)
    for y in range(0, rows, high):
        for x in range(0, columns, wide):
            block = sheet[y * patch : (y + high) * patch, x * patch : (x + wide) * patch]
            grey = block.astype(np.float32, order="C").reshape(-1, 3 * several) @ luma
            strips = grey.reshape(-1, patch, block.shape[1])
            entropies[y : y + high, x : x + wide] = _entropies_of_grey(strips).reshape(len(strips), -1)
    return entropies.reshape(-1)


def _entropies_of_grey(strips: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, S, K * S) strips of K patches -> (N * K,) bits.

    H = log T - sum P log P / T with P = |FFT|^2 and T = sum P, so nothing has to be normalised first.
    """
    from scipy import fft  # noqa: PLC0415 - other views do without, and start sooner

    side = strips.shape[1]
    real_dft, weights = _real_dft(side)
    # Down the columns the real FFT is a matrix product, at 32 numbers quicker than a transform; the FFT then runs along the rows.
    half = (strips.swapaxes(1, 2) @ real_dft).view(np.complex64).reshape(-1, side, side // 2 + 1)
    parts = fft.fft(half, axis=1, overwrite_x=True).view(np.float32)
    np.square(parts, out=parts)
    power = (parts[..., 0::2] + parts[..., 1::2]).reshape(len(parts), -1)
    terms = power + np.finfo(np.float32).tiny  # 0 log 0 = 0
    np.log(terms, out=terms)
    terms *= power
    total, weighted = power @ weights, terms @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = (np.log(total) - weighted / total) / np.float32(math.log(2))
    return np.where(total == 0, np.float32(0), np.maximum(entropy, 0))


@functools.cache
def _real_dft(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrix of the real FFT of `side` numbers, (S, 2 * (S // 2 + 1)) with real and imaginary parts in turn, and the weight of each bin.

    A real signal's spectrum is symmetric: of the half that is kept, every frequency but the first (and the Nyquist one) stands for two.
    """
    matrix = np.fft.rfft(np.eye(side)).astype(np.complex64).view(np.float32)
    twice = np.full(side // 2 + 1, 2, np.float32)
    twice[0] = 1
    if side % 2 == 0:
        twice[-1] = 1
    return matrix, np.tile(twice, side)
