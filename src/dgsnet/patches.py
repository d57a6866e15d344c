"""Patch selection: the image as its 24 most uniform and 25 richest 32x32 patches, instead of a resized whole.

Resizing blurs the traces a generator leaves; DGS-Net cuts patches at native resolution, ranks them by the entropy of their spectrum and
tiles the extremes into a 224x224 input (arXiv 2511.13108, patch selection). The published code loops over patches; here their spectra are
matrix products over blocks of them. numpy only.
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

_LUMA = (np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)
_BLACK = np.float32(1e-20)  # total power; one blue level in one pixel has 2e-7
_CHUNK = 128  # patches a block: its arrays stay in cache, and memory stays bounded for a 50-megapixel image


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
        rows = pixels[start : start + _CHUNK].transpose(2, 0, 3, 1).astype(np.float64)
        peak = np.abs(rows).max(axis=(0, 2, 3), keepdims=True) / 255  # so that no square over- or underflows
        block = _Block(len(rows), rows.shape[1])
        np.copyto(block.rows.reshape(rows.shape), rows / np.where(peak == 0, 1, peak), casting="same_kind")
        entropies[start : start + _CHUNK] = block.entropies()
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
    """Tell whether a picture has fewer whole patches than the grid has cells, so that its patches overlap or repeat."""
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
    entropies = np.empty((rows, columns), np.float32)
    block = _Block(patch, min(high, rows) * wide)
    for y in range(0, rows, high):
        for x in range(0, columns, wide):
            target = entropies[y : y + high, x : x + wide]
            pixels = sheet[y * patch : (y + high) * patch, x * patch : (x + wide) * patch]
            if target.size != block.number:
                block = _Block(patch, target.size)
            np.copyto(block.rows.reshape(patch, len(target), -1), pixels.reshape(len(target), patch, -1).swapaxes(0, 1))
            target[...] = block.entropies().reshape(target.shape)
    return entropies.reshape(-1)


class _Block:
    """N patches of S x S pixels whose entropies are computed together, in arrays that serve for one block after the other.

    New arrays for each would cost some per cent of the time: memory that comes fresh from the system is handed over page by page.

    Attributes:
        number: N.
        rows: (S, N, 3 * S) float32, to be filled: row by row the pixels of all patches.
    """

    def __init__(self, side: int, number: int) -> None:
        self.number = number
        self.rows = np.empty((side, number, 3 * side), np.float32)
        self._dft, self._weights = _real_dft(side)
        self._grey, self._across, self._down = (np.empty(number * side * side, np.float32) for _ in range(3))
        self._power, self._terms = (np.empty((len(self._weights), number), np.float32) for _ in range(2))
        paired = (side - 1) // 2
        self._real, self._imaginary = (np.empty((paired, paired, number), np.float32) for _ in range(2))

    def entropies(self) -> NDArray[np.float32]:
        """(N,) bits.

        At 32 numbers a matrix product is quicker than a fast transform. With C and S the sums of a patch over products of cosines and
        sines, written down the columns first, |FFT|^2 at frequencies (u, v) and (u, -v) is (CC -+ SS)^2 + (SC +- CS)^2. Then, P being that
        and T its sum, H = sum P (log T - log P) / T.

        Each product is small enough for BLAS to leave it to the thread that asks: what decides a score is computed in one order everywhere.
        """
        side, number = self.rows.shape[:2]
        np.matmul(self.rows.reshape(number, -1, 3), _LUMA, out=self._grey.reshape(number, -1))
        across, down = self._across.reshape(side, side, number), self._down.reshape(side, side, number)
        np.matmul(self._dft, self._grey.reshape(side, number, side).swapaxes(1, 2), out=across)
        np.matmul(self._dft, across.swapaxes(0, 1), out=down)
        power, terms = self._powers(down.swapaxes(0, 1)), self._terms

        power += np.finfo(np.float32).tiny  # 0 log 0 = 0
        total = self._weights @ power
        np.log(power, out=terms)
        np.subtract(np.log(total), terms, out=terms)  # before the sum: of a flat patch little is left, and that little is what counts
        terms *= power
        entropy = self._weights @ terms / (total * np.float32(math.log(2)))
        return np.where(total < _BLACK, np.float32(0), np.maximum(entropy, 0))

    def _powers(self, spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
        """(S down, S across, N) sums over cosines and sines -> (bins, N), as `_real_dft` weighs them."""
        side, number = spectrum.shape[1:]
        # Cosines come first. Those of frequencies 0 and S / 2 stand alone, without a sine; all others are paired.
        edge, alone, paired = side // 2 + 1, slice(None, None, max(1, side // 2)), slice(1, (side + 1) // 2)
        cc, cs, sc, ss = spectrum[:edge, :edge], spectrum[:edge, edge:], spectrum[edge:, :edge], spectrum[edge:, edge:]
        plus, minus = self._power[: edge * edge].reshape(edge, edge, number), self._power[edge * edge :].reshape(ss.shape)
        np.square(cc, out=plus)
        plus[alone, paired] += np.square(cs[alone])
        plus[paired, alone] += np.square(sc[:, alone])
        inner, cc, cs, sc = plus[paired, paired], cc[paired, paired], cs[paired], sc[:, paired]
        real, imaginary = self._real, self._imaginary
        for target, one, other in ((inner, np.subtract, np.add), (minus, np.add, np.subtract)):
            np.square(one(cc, ss, out=real), out=real)
            np.square(other(sc, cs, out=imaginary), out=imaginary)
            np.add(real, imaginary, out=target)
        return self._power


@functools.cache
def _real_dft(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A unitary DFT: cosines of frequencies 0..S // 2 and sines of those between, (S, S); and how many frequencies each bin stands for.

    A real signal's spectrum is symmetric: of the half that is kept, every frequency but those without a sine stands for two.
    """
    edge, paired = side // 2 + 1, slice(1, (side + 1) // 2)
    angles = 2 * np.pi * np.outer(np.arange(edge), np.arange(side)) / side
    alone = np.ones(edge, bool)
    alone[paired] = False
    twice = np.where(np.outer(alone, alone), 1, 2).ravel()
    weights = np.append(twice, np.full((edge - alone.sum()) ** 2, 2))
    return (np.vstack([np.cos(angles), np.sin(angles[paired])]) / math.sqrt(side)).astype(np.float32), weights.astype(np.float32)
