"""Perturbations of a picture as on its way through the web, as functions of its pixels, and named suites of them.

| name | severity | effect |
|---|---|---|
| `jpeg` | quality 1..100 | JPEG, 4:2:0 |
| `webp` | quality 1..100 | lossy WebP |
| `resize` | factor of each side | Lanczos, lossless |
| `resize_bicubic`, `resize_bilinear`, `resize_nearest` | factor of each side | the same with other filters |
| `crop` | share kept of each side | the centre |
| `blur` | sigma in pixels | Gaussian |
| `noise` | sigma in steps of 0..255 | Gaussian, drawn anew for each picture and severity |
| `gamma` | exponent; below 1 brightens | v -> 255 * (v / 255) ** gamma |
| `flip` | none | left and right mirrored |
| `screenshot` | none | resize 1.25, a white border of a tenth of the short side, JPEG 85 |
| `social` | none | resize 0.75, JPEG 75 |
| `messenger` | none | resize 0.5, JPEG 60; forwarded: JPEG 70 |
| `jpeg_twice` | quality 1..100 | JPEG, 3 pixels cut off above and left so that the grids differ, JPEG 90 |
| `resize_jpeg` | factor of each side | Lanczos, JPEG 80 |
| `blur_jpeg` | sigma in pixels | Gaussian blur, JPEG 80 |
| `noise_jpeg` | sigma in steps of 0..255 | Gaussian noise, JPEG 80 |
| `journey_share`, `journey_messenger`, `journey_screenshot`, `journey_repost`, `journey_any` | none | a whole journey, its sizes and \
qualities drawn anew for each picture: `dgsnet.images.journeys` |

A picture has 50 megapixels at most afterwards, and no side above 16,384 pixels, as decoding accepts by default: a larger one is enlarged
less, as far as it may (a photograph of 48 megapixels hardly at all). Leaving it out instead would leave out the largest pictures, which
are photographs, and bias every figure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dgsnet.core.errors import DecodeError, RecipeError
from dgsnet.images.augment import ENLARGED, Pixels, jpeg, resized, scaled_size, webp
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.journeys import JOURNEYS, Journey

_POLICY = DecodePolicy()
_BORDER = 0.1

_Effect = Callable[[Pixels, float, np.random.Generator], bytes | Pixels]


@dataclass(frozen=True)
class Perturbation:
    """One thing done to a picture, at one severity; None where there is nothing to vary.

    Raises:
        RecipeError: the name is unknown, or the severity is not one of its kind.
    """

    name: str
    severity: float | None = None

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise RecipeError(f"unknown perturbation {self.name!r}: expected one of {', '.join(KINDS)}")
        kind = KINDS[self.name]
        if (kind.range is None) != (self.severity is None):
            raise RecipeError(f"the perturbation {self.name!r} takes {'no' if kind.range is None else 'a'} severity")
        if kind.range is None or self.severity is None:
            return
        low, high = kind.range
        if not low <= self.severity <= high or (kind.whole and self.severity % 1):
            number = "a whole number" if kind.whole else "a number"
            raise RecipeError(f"severity {self.severity:g} of {self.name!r}: expected {number} in {low:g}..{high:g}")

    def __str__(self) -> str:
        return self.name if self.severity is None else f"{self.name} {self.severity:g}"

    def apply(self, pixels: Pixels, sha256: str) -> bytes | Pixels:
        """Return the picture after it: encoded bytes where it ends in a lossy format, else pixels (H', W', 3) uint8, C-contiguous.

        Args:
            pixels: (H, W, 3) uint8; left as they are.
            sha256: of the picture; it seeds what is drawn, so that the same picture is always perturbed in the same way.

        Raises:
            DecodeError: the format cannot hold the picture.
        """
        digest = hashlib.sha256(f"{sha256} {self}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        try:
            changed = KINDS[self.name].effect(pixels, 0.0 if self.severity is None else float(self.severity), rng)
        except (OSError, ValueError) as error:  # an encoder's, such as WebP's at a side beyond its limit
            raise DecodeError(f"{self} cannot be applied ({error}); leave the image or this perturbation out") from error
        return changed if isinstance(changed, bytes) else np.ascontiguousarray(changed)

    def seen(self, pixels: Pixels, sha256: str, policy: DecodePolicy = _POLICY) -> Pixels:
        """Return the pixels (H', W', 3) uint8 that a reader of the perturbed picture sees: those of `apply`, decoded if encoded.

        Raises:
            DecodeError: the format cannot hold the picture, or the policy does not accept it.
        """
        changed = self.apply(pixels, sha256)
        return decode(changed, policy).pixels if isinstance(changed, bytes) else changed


def suite(name: str) -> tuple[Perturbation, ...]:
    """Return the perturbations of a suite; `RecipeError` where there is no such suite."""
    if name not in SUITES:
        raise RecipeError(f"unknown suite {name!r}: expected one of {', '.join(SUITES)}")
    return SUITES[name]


def _resize(pixels: Pixels, scale: float, kind: str = "lanczos") -> Pixels:
    width, height = scaled_size(pixels, scale)
    if scale > 1 and (width * height > ENLARGED.max_pixels or max(width, height) > ENLARGED.max_side):  # asked before the memory is taken
        most = max(1.0, ENLARGED.max_scale(*pixels.shape[:2]))
        width, height = math.floor(pixels.shape[1] * most), math.floor(pixels.shape[0] * most)
    return resized(pixels, (width, height), kind)


def _crop(pixels: Pixels, kept: float) -> Pixels:
    height, width = pixels.shape[:2]
    columns, rows = scaled_size(pixels, kept)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _blur(pixels: Pixels, sigma: float) -> Pixels:
    return _to_uint8(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0)))


def _noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return _to_uint8(pixels + np.float32(sigma) * rng.standard_normal(pixels.shape, dtype=np.float32))


def _gamma(pixels: Pixels, exponent: float) -> Pixels:
    table = _to_uint8(255 * (np.arange(256, dtype=np.float32) / 255) ** np.float32(exponent))
    return table[pixels]


def _screenshot(pixels: Pixels) -> bytes:
    height, width = pixels.shape[:2]
    side = 2 * _BORDER * min(height, width)
    max_scale = ENLARGED.max_scale(height + side, width + side)  # the border needs some of it
    shown = _resize(pixels, min(1.25, 0.999 * max_scale))
    border = max(1, round(_BORDER * min(shown.shape[:2])))
    # A screenshot is a PNG before it is sent on as JPEG; being lossless, that PNG changes nothing and is not written.
    return jpeg(np.pad(shown, ((border, border), (border, border), (0, 0)), constant_values=255), 85)


def _messenger(pixels: Pixels) -> bytes:
    sent = jpeg(_resize(pixels, 0.5), 60)
    return jpeg(decode(sent).pixels, 70)


def _jpeg_twice(pixels: Pixels, quality: float) -> bytes:
    first = decode(jpeg(pixels, int(quality))).pixels
    cut = min(3, first.shape[0] - 1, first.shape[1] - 1)
    return jpeg(np.ascontiguousarray(first[cut:, cut:]), 90)


def _travel(travel: Journey, pixels: Pixels, _: float, rng: np.random.Generator) -> bytes:
    return travel(pixels, rng)


def journey(name: str) -> Perturbation:
    """Return the journey of this name; `RecipeError` where there is none."""
    if name not in JOURNEYS:
        raise RecipeError(f"unknown journey {name!r}: expected one of {', '.join(JOURNEYS)}")
    return Perturbation(f"journey_{name}")


def _to_uint8(values: NDArray[np.floating[Any]]) -> Pixels:
    whole: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return whole


@dataclass(frozen=True)
class _Kind:
    effect: _Effect
    range: tuple[float, float] | None = None  # of the severity, both ends included
    whole: bool = False


KINDS: dict[str, _Kind] = {
    "jpeg": _Kind(lambda pixels, quality, _: jpeg(pixels, int(quality)), (1, 100), whole=True),
    "webp": _Kind(lambda pixels, quality, _: webp(pixels, int(quality)), (1, 100), whole=True),
    "resize": _Kind(lambda pixels, scale, _: _resize(pixels, scale), (0.1, 4)),
    "resize_bicubic": _Kind(lambda pixels, scale, _: _resize(pixels, scale, "bicubic"), (0.1, 4)),
    "resize_bilinear": _Kind(lambda pixels, scale, _: _resize(pixels, scale, "bilinear"), (0.1, 4)),
    "resize_nearest": _Kind(lambda pixels, scale, _: _resize(pixels, scale, "nearest"), (0.1, 4)),
    "crop": _Kind(lambda pixels, kept, _: _crop(pixels, kept), (0.1, 1)),
    "blur": _Kind(lambda pixels, sigma, _: _blur(pixels, sigma), (0.1, 10)),
    "noise": _Kind(_noise, (0.1, 100)),
    "gamma": _Kind(lambda pixels, exponent, _: _gamma(pixels, exponent), (0.1, 10)),
    "flip": _Kind(lambda pixels, _, __: pixels[:, ::-1]),
    "screenshot": _Kind(lambda pixels, _, __: _screenshot(pixels)),
    "social": _Kind(lambda pixels, _, __: jpeg(_resize(pixels, 0.75), 75)),
    "messenger": _Kind(lambda pixels, _, __: _messenger(pixels)),
    "jpeg_twice": _Kind(lambda pixels, quality, _: _jpeg_twice(pixels, quality), (1, 100), whole=True),
    "resize_jpeg": _Kind(lambda pixels, scale, _: jpeg(_resize(pixels, scale), 80), (0.1, 4)),
    "blur_jpeg": _Kind(lambda pixels, sigma, _: jpeg(_blur(pixels, sigma), 80), (0.1, 10)),
    "noise_jpeg": _Kind(lambda pixels, sigma, rng: jpeg(_noise(pixels, sigma, rng), 80), (0.1, 100)),
    **{f"journey_{name}": _Kind(partial(_travel, travel)) for name, travel in JOURNEYS.items()},
}
"""All perturbations, by name."""


def _each(name: str, *severities: float) -> tuple[Perturbation, ...]:
    return tuple(Perturbation(name, severity) for severity in severities)


_STABILITY = (
    *_each("jpeg", 95, 90, 80, 70, 50),
    *_each("webp", 90, 75, 50),
    *_each("resize", 0.5, 0.75, 1.25, 1.5, 2.0),
    *_each("crop", 0.9, 0.75, 0.5),
)

SUITES: dict[str, tuple[Perturbation, ...]] = {
    "everyday": (*_each("jpeg", 90, 80, 70), *_each("resize", 0.75, 1.25, 1.5)),
    "stability": _STABILITY,
    "full": (
        *_STABILITY,
        *_each("jpeg", 30),
        *_each("resize", 0.25),
        *(one for name in ("resize_bicubic", "resize_bilinear", "resize_nearest") for one in _each(name, 0.5, 0.75, 1.5)),
        *_each("blur", 0.5, 1, 2),
        *_each("noise", 2, 5, 10),
        *_each("gamma", 0.8, 1.25),
        Perturbation("flip"),
        Perturbation("screenshot"),
        Perturbation("social"),
        Perturbation("messenger"),
        *_each("jpeg_twice", 75, 50),
        *_each("resize_jpeg", 0.5, 1.5),
        *_each("blur_jpeg", 1),
        *_each("noise_jpeg", 5),
    ),
    "journeys": tuple(journey(name) for name in ("share", "messenger", "screenshot", "repost")),
}
"""`everyday`: what any site does to an upload. `stability`: compression, scaling and cropping in a wide range. `full`: every single effect.
`journeys`: what happens to a picture before somebody asks about it."""
