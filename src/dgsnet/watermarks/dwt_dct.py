"""The mark of `invisible-watermark`, method ``dwtDct``, read as the sender's code wrote it.

The writer (invisible-watermark 0.2.0, ``maxDct.py``) takes U of OpenCV's YUV, the low band of one Haar step, and cuts it into blocks of
4 x 4, row by row: 8 x 8 pixels each. Block number k carries bit k mod n of the message: its largest value but the first is moved to a
quarter (0) or three quarters (1) of a step of 36. Nothing says where a message begins, so a crop at the left or top, or another width, ends
it.

What the file does not say, and what decides the reading:

* whether U was computed of floats, where it is centred at 0.5, or of bytes, where it is centred at 128: diffusers and FLUX do the first,
  the scripts of Stable Diffusion 1 and 2 and InvokeAI the second;
* whether red and blue were swapped, as diffusers had it before it turned its images to BGR;
* whether chroma was stored at half the resolution since and smoothed on the way back, as nearly every JPEG and WebP reader does. That moves
  a bit across the middle of its step, and is undone here.

The answer is no count of equal bits. On a smooth picture all blocks read 0, which is 21 of the 48 bits of SDXL and no coincidence; but
zeros that do not vary do not vary with the message either. So the answer is how a block's answer, averaged over the blocks of each bit,
correlates with the message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 6.5
"""Strength from which on a mark is there: see docs/watermarks.md for the highest that photographs without one gave."""

_STEP = 36.0
_BLOCK = 4  # of the low band
_SMALLEST = 256 * 256  # pixels: below, the writer refuses
_LARGEST = 2**23  # pixels that are read, from the top: the marks' own programs make fewer
_ROWS = 256  # of the low band at a time
_U = 0.492  # of OpenCV's BGR2YUV
_CERTAIN = 1 - 1e-9  # correlation that is taken for 1, whose z would have no end
_FLOAT, _BYTES = 1.0, 256.0  # twice the centre of U, which is what the low band has of it

_KERNEL = np.float32(math.sqrt(2)) * np.float32(2 * math.sqrt(2) - 3) ** np.abs(np.arange(-4, 5)).astype(np.float32)
"""Inverse of (1, 6, 1) / 8, which is what halving, then libjpeg's `fancy upsampling` and averaging again do to chroma, one way."""


def _of_text(text: str) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(text.encode(), np.uint8))


def _of_number(number: int) -> NDArray[np.uint8]:
    return np.array([int(bit) for bit in f"{number:b}"], np.uint8)  # as the writers have it: without leading zeros


@dataclass(frozen=True)
class Message:
    """Bits that a program writes into its pictures, (n,) uint8 of 0 and 1."""

    name: str
    program: str
    bits: NDArray[np.uint8]


MESSAGES = (
    # diffusers, pipelines/stable_diffusion_xl/watermark.py; Stability-AI/generative-models, scripts/demo/streamlit_helpers.py
    Message("sdxl", "Stable Diffusion XL (diffusers, Stability AI's code)", _of_number(0xB3EC907BB19E)),
    # CompVis/stable-diffusion, scripts/txt2img.py
    Message("stable_diffusion_1", "Stable Diffusion 1 (CompVis' scripts)", _of_text("StableDiffusionV1")),
    # Stability-AI/stablediffusion, scripts/txt2img.py
    Message("stable_diffusion_2", "Stable Diffusion 2 (Stability AI's scripts)", _of_text("SDV2")),
    # black-forest-labs/flux, src/flux/util.py
    Message("flux", "FLUX (Black Forest Labs' code)", _of_number(0x2AFE879CF52E)),
    # invoke-ai/InvokeAI, invokeai/backend/image_util/invisible_watermark.py, the node's default
    Message("invokeai", "InvokeAI", _of_text("InvokeAI")),
)


@dataclass(frozen=True)
class Reading:
    """A message compared with a picture. `strength` is Fisher's z of the correlation, in standard deviations of chance; `agree` of
    `Message.bits` are equal, by the writer's own vote."""

    message: Message
    strength: float
    agree: int


def read(pixels: NDArray[np.uint8]) -> list[Reading]:
    """Return the strongest reading of each message, in the order of `MESSAGES`; nothing for fewer pixels than the writers accept.

    Args:
        pixels: (H, W, 3) uint8, RGB.
    """
    height, width = pixels.shape[:2]
    if height * width < _SMALLEST or min(height, width) < 2 * _BLOCK:
        return []
    best: dict[str, Reading] = {}
    for answers in block_answers(pixels):
        for message in MESSAGES:
            reading = _compare(answers, message)
            if message.name not in best or reading.strength > best[message.name].strength:
                best[message.name] = reading
    return list(best.values())


def block_answers(pixels: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Return what each block says, (blocks,) in the writer's order, for each way of reading a picture (H, W, 3): in the order of
    float or bytes, BGR or RGB, as it is or with the smoothing of chroma undone."""
    pixels = pixels[: max(2 * _BLOCK, _LARGEST // pixels.shape[1])]
    rows, columns = (size // (2 * _BLOCK) * _BLOCK for size in pixels.shape[:2])
    answers: list[list[NDArray[np.bool_]]] = [[] for _ in range(8)]
    margin = _BLOCK  # low-band rows beyond a strip, for what is undone
    for top in range(0, rows, _ROWS):
        bottom = min(rows, top + _ROWS)
        first, last = max(0, top - margin), min(pixels.shape[0] // 2, bottom + margin)
        low = _low_band(pixels[2 * first : 2 * last, : pixels.shape[1] // 2 * 2])
        planes = []
        for blue, red in ((2, 0), (0, 2)):
            luma = 0.114 * low[blue] + 0.587 * low[1] + 0.299 * low[red]
            chroma = np.float32(_U) * (low[blue] - luma)
            planes.append((chroma, _sharpen(chroma)))
        for number, (centre, order, sharp) in enumerate(product((_FLOAT, _BYTES), (0, 1), (0, 1))):
            plane = planes[order][sharp][top - first : bottom - first, :columns]
            answers[number].append(_answers(plane + np.float32(centre)))
    return [np.concatenate(each) for each in answers]


def _low_band(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the low band of one Haar step of each channel, (3, H / 2, W / 2): half the sum of 2 x 2 pixels."""
    wide = pixels.astype(np.uint16)
    pairs = wide[0::2] + wide[1::2]
    sums = pairs[:, 0::2] + pairs[:, 1::2]
    return np.ascontiguousarray(sums.transpose(2, 0, 1)).astype(np.float32) / np.float32(2)


def _sharpen(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    reach, (rows, columns) = len(_KERNEL) // 2, plane.shape
    padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
    plane = _KERNEL[reach] * plane
    for step in range(1, reach + 1):
        plane += _KERNEL[reach + step] * (padded[reach - step : reach - step + rows] + padded[reach + step : reach + step + rows])
    padded = np.pad(plane, ((0, 0), (reach, reach)), mode="edge")
    plane *= _KERNEL[reach]
    for step in range(1, reach + 1):
        beside = padded[:, reach - step : reach - step + columns] + padded[:, reach + step : reach + step + columns]
        plane += _KERNEL[reach + step] * beside
    return plane


def _answers(plane: NDArray[np.float32]) -> NDArray[np.bool_]:
    size = np.abs(plane)
    size[::_BLOCK, ::_BLOCK] = 0  # the first of a block is never moved
    tall = reduce(np.maximum, (size[row::_BLOCK] for row in range(_BLOCK)))
    largest = reduce(np.maximum, (tall[:, column::_BLOCK] for column in range(_BLOCK)))
    answers: NDArray[np.bool_] = (largest % np.float32(_STEP) > np.float32(_STEP / 2)).ravel()
    return answers


def votes(answers: NDArray[np.bool_], length: int) -> NDArray[np.float64]:
    """Return the share of blocks that say 1, (length,), for each bit of a message of this length."""
    which = np.arange(len(answers)) % length
    shares: NDArray[np.float64] = np.bincount(which, answers, length) / np.bincount(which, minlength=length)
    return shares


def strength(shares: NDArray[np.float64], bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how votes (n,) correlate with messages (..., n), as Fisher's z in standard deviations of chance; 0 where votes are equal."""
    apart, of_bits = shares - shares.mean(), bits - bits.mean(axis=-1, keepdims=True)
    spread = np.sqrt((apart**2).sum() * (of_bits**2).sum(axis=-1))
    correlation = np.divide(of_bits @ apart, spread, out=np.zeros_like(spread), where=spread > 0)
    found: NDArray[np.float64] = np.arctanh(np.clip(correlation, -_CERTAIN, _CERTAIN)) * math.sqrt(len(shares) - 3)
    return found


def _compare(answers: NDArray[np.bool_], message: Message) -> Reading:
    shares = votes(answers, len(message.bits))
    agree = int(((shares * 255 > 127) == message.bits).sum())
    return Reading(message, float(strength(shares, message.bits)), agree)
