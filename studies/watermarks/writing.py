"""The writers of the marks that are read, as their programs have them: what `invisible-watermark` does, without its packages.

`write` gives the pixels that invisible-watermark 0.2.0 gives with OpenCV and PyWavelets, but for the last bit of a float here and there.
"""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.watermarks.dwt_dct import Message

Pixels = NDArray[np.uint8]
_STEP, _BLOCK, _SHIFT = 36.0, 4, 14
_HALF = 1 << _SHIFT - 1

FLOAT = {"sdxl": True, "sdxl_rgb": True, "flux": True, "stable_diffusion_1": False, "stable_diffusion_2": False, "invokeai": False}
"""Whether a program marks floats; ``sdxl_rgb`` is diffusers before it turned its images to BGR."""


def write(pixels: Pixels, message: Message, *, floats: bool, rgb: bool = False) -> Pixels:
    """Write a message into a picture, (H, W, 3) uint8 RGB, as floats of 0..255 or as bytes, given to the writer as BGR or as it is."""
    bgr = pixels if rgb else pixels[:, :, ::-1]
    marked = _write_floats(bgr.astype(np.float32), message.bits) if floats else _write_bytes(bgr.astype(np.int64), message.bits)
    return np.ascontiguousarray(marked if rgb else marked[:, :, ::-1])


def write_as_program(pixels: Pixels, message: Message) -> Pixels:
    """Write a message as its own program does."""
    return write(pixels, message, floats=FLOAT[message.name])


def _write_floats(bgr: NDArray[np.float32], bits: NDArray[np.uint8]) -> Pixels:
    luma = np.float32(0.114) * bgr[..., 0] + np.float32(0.587) * bgr[..., 1] + np.float32(0.299) * bgr[..., 2]
    u = np.float32(0.492) * (bgr[..., 0] - luma) + np.float32(0.5)
    v = np.float32(0.877) * (bgr[..., 2] - luma)
    u = _mark(u, bits) - np.float32(0.5)
    marked = np.stack([luma + 2.032 * u, luma - 0.395 * u - 0.581 * v, luma + 1.140 * v], axis=-1)
    return _pixels(np.rint(marked))


def _write_bytes(bgr: NDArray[np.int64], bits: NDArray[np.uint8]) -> Pixels:
    """OpenCV's integers: 14 bits behind the point, a half added, and so rounded."""
    luma = 1868 * bgr[..., 0] + 9617 * bgr[..., 1] + 4899 * bgr[..., 2] + _HALF >> _SHIFT
    u = np.clip((bgr[..., 0] - luma) * 8061 + (128 << _SHIFT) + _HALF >> _SHIFT, 0, 255)
    v = np.clip((bgr[..., 2] - luma) * 14369 + (128 << _SHIFT) + _HALF >> _SHIFT, 0, 255)
    u, v = _mark(u.astype(np.float64), bits).astype(np.uint8).astype(np.int64) - 128, v - 128
    marked = [luma + (33292 * u + _HALF >> _SHIFT), luma + (-6472 * u - 9519 * v + _HALF >> _SHIFT), luma + (18678 * v + _HALF >> _SHIFT)]
    return _pixels(np.stack(marked, axis=-1))


def _pixels(values: NDArray[Any]) -> Pixels:
    pixels: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return pixels


def _mark(plane: NDArray[np.floating], bits: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Move one value of the low band of each block. The writer exchanges the two mixed bands on the way back, and so does this."""
    rows, columns = (size // (2 * _BLOCK) for size in plane.shape)
    marked = plane.copy()
    inside = marked[: plane.shape[0] // 4 * 4, : plane.shape[1] // 4 * 4]
    a, b, c, d = inside[0::2, 0::2].copy(), inside[0::2, 1::2].copy(), inside[1::2, 0::2].copy(), inside[1::2, 1::2].copy()
    low = (a + b + c + d) / 2
    part = low[: rows * _BLOCK, : columns * _BLOCK]
    blocks = part.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(rows * columns, _BLOCK * _BLOCK)
    number = np.arange(len(blocks))
    place = np.abs(blocks[:, 1:]).argmax(axis=1) + 1
    value = blocks[number, place]
    size = (np.abs(value) // _STEP + 0.25 + 0.5 * bits[number % len(bits)]) * _STEP
    moved = blocks.copy()
    moved[number, place] = np.where(value >= 0, size, -size)
    change = np.zeros_like(low)
    back = (moved - blocks).reshape(rows, columns, _BLOCK, _BLOCK).swapaxes(1, 2)
    change[: rows * _BLOCK, : columns * _BLOCK] = back.reshape(rows * _BLOCK, columns * _BLOCK) / 2
    inside[0::2, 0::2], inside[0::2, 1::2], inside[1::2, 0::2], inside[1::2, 1::2] = a + change, c + change, b + change, d + change
    return marked


def hide(channels: Pixels, signature: bytes, text: bytes, *, length: int | None = None) -> Pixels:
    """Hide a text in the lowest bits of (H, W, C), down each column, as `stealth_pnginfo` does; `length`, in bits, may lie."""
    stored = gzip.compress(text, mtime=0) if signature.endswith(b"comp") else text
    announced = (8 * len(stored) if length is None else length).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(signature + announced + stored, np.uint8))
    height, width, depth = channels.shape
    flat = channels.swapaxes(0, 1).reshape(-1).copy()
    flat[: len(bits)] = flat[: len(bits)] & 254 | bits[: len(flat)]
    return np.ascontiguousarray(flat.reshape(width, height, depth).swapaxes(0, 1))
