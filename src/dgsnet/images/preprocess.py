"""Views of a picture as a backbone's input. The settings travel inside the model folder, so that a model cannot be separated from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from dgsnet import patches
from dgsnet.images.everyday_copies import everyday_copies
from dgsnet.images.multi_crop import MULTI_CROP_GAIN, SCORING_SEED, Box, scored_parts

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preprocessing(BaseModel):
    """Settings by which a view of a picture is taken and normalised.

    `view` is ``patches`` (native 32x32 patches, see `dgsnet.patches`), ``crop`` (the centre at native resolution; a smaller picture is
    continued by its mirror image) or ``resize`` (CLIP's own: short side to `size`, bicubic with antialiasing, centre crop). `mean` and
    `std` apply to pixels scaled to 0..1.

    With `multi_crop`, a large picture is scored by five views, see `dgsnet.images.multi_crop`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: Literal["patches", "crop", "resize"] = "patches"
    size: int = 224
    patch: int = 32
    low: int = 24
    high: int = 25
    order: patches.Order = "position"
    multi_crop: bool = False
    """Written to files as `quadrants`, its first name, and read under either."""
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @model_validator(mode="before")
    @classmethod
    def _read_first_name(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or "quadrants" not in settings:
            return settings
        renamed = dict(settings)
        return {"multi_crop": renamed.pop("quadrants")} | renamed

    @model_serializer(mode="wrap")
    def _write_first_name(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # In its place among the others: what is written stays as it was, to the byte.
        return {"quadrants" if name == "multi_crop" else name: value for name, value in write(self).items()}

    @model_validator(mode="after")
    def _tiles_fill_the_input(self) -> Preprocessing:
        grid = math.isqrt(self.low + self.high)
        if self.view == "patches" and (grid * grid != self.low + self.high or grid * self.patch != self.size):
            raise ValueError(
                f"low + high patches must fill the input: expected {self.size // self.patch} x {self.size // self.patch} patches of "
                f"{self.patch} px for size {self.size}, but got {self.low} + {self.high}"
            )
        return self

    @property
    def shuffles(self) -> bool:
        """Return True if the view of a picture depends on the seed."""
        return self.view == "patches" and self.order == "released"

    def parts(self, height: int, width: int) -> list[Box]:
        """List the parts of a picture of this size that scoring takes a view of each; the whole is the first."""
        return scored_parts(height, width, self.size) if self.multi_crop else [(0, 0, width, height)]

    def weight(self, views: int) -> float:
        """Return the weight of each view's logit in that of a picture which is scored by so many."""
        return 1.0 if views == 1 else MULTI_CROP_GAIN / views

    def views(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Take the views of a picture, (H, W, 3) uint8, that it is scored by: one of each of its `parts`, (K, 3, size, size) float32.

        Raises:
            ValueError: the picture is smaller than one patch.
        """
        parts = self.parts(*pixels.shape[:2])
        return np.stack([self(pixels[top:bottom, left:right], SCORING_SEED) for left, top, right, bottom in parts])

    def copy_views(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Take the first view of each of a picture's `everyday_copies`: (H, W, 3) uint8 -> (C, 3, size, size) float32.

        Raises:
            ValueError: as `views`.
        """
        copies = everyday_copies(pixels, self.size if self.view == "crop" else None)
        return np.stack([self(copy, SCORING_SEED) for copy in copies])

    def take_view_with_boxes(self, pixels: NDArray[np.uint8], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Take the view of a picture, before normalisation, and say where in the picture each cell of it comes from.

        Cells are tiles of the view, `patch` pixels a side, row by row; the last ones are smaller where `patch` does not divide `size`.

        Returns:
            The view, (size, size, 3) uint8; and a box for each of its G * G cells, G = ceil(size / patch): (G * G, 4) int64, left, top,
            right, bottom in pixels of the picture, within the picture.

        Raises:
            ValueError: the picture is smaller than one patch.
        """
        if self.view == "patches":
            return patches.select_patches(pixels, self.patch, self.low, self.high, self.order, seed)
        height, width = pixels.shape[:2]
        if self.view == "crop":
            return self._crop(pixels)
        scale = self.size / min(height, width)
        sides = max(self.size, round(width * scale)), max(self.size, round(height * scale))
        resized = Image.fromarray(pixels).resize(sides, Image.Resampling.BICUBIC)
        left, top = (sides[0] - self.size) // 2, (sides[1] - self.size) // 2
        view = np.asarray(resized.crop((left, top, left + self.size, top + self.size)))
        return view, self._boxes(height, width, left, top, sides)

    def _crop(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        height, width = pixels.shape[:2]
        if min(height, width) < self.patch:
            raise ValueError(f"expected a picture of at least {self.patch}x{self.patch} pixels, but got {width}x{height}")
        top, left = (height - self.size) // 2, (width - self.size) // 2
        inside = pixels[max(0, top) : top + self.size, max(0, left) : left + self.size]
        around = [(max(0, -start), max(0, start + self.size - side)) for start, side in ((top, height), (left, width))]
        view = np.pad(inside, (*around, (0, 0)), mode="symmetric")
        return view, self._boxes(height, width, left, top, (width, height))

    def _boxes(self, height: int, width: int, left: int, top: int, sides: tuple[int, int]) -> NDArray[np.int64]:
        """Return the boxes of the cells of a view that is the window at (left, top) of the picture scaled to `sides`, width and height.

        What lies outside the picture is cut off, so a cell of padding has a box without area.
        """
        edges = np.append(np.arange(0, self.size, self.patch), self.size)
        x = np.clip(np.rint((left + edges) * (width / sides[0])).astype(np.int64), 0, width)
        y = np.clip(np.rint((top + edges) * (height / sides[1])).astype(np.int64), 0, height)
        rows, columns = (part.ravel() for part in np.mgrid[: edges.size - 1, : edges.size - 1])
        return np.stack([x[columns], y[rows], x[columns + 1], y[rows + 1]], axis=1)

    def normalise(self, view: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale and shift a view by `mean` and `std`: (size, size, 3), grey levels of 0..255 -> (3, size, size) float32."""
        scaled = (view.astype(np.float32) / 255 - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def __call__(self, pixels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
        """Take a view as the backbone's input: (H, W, 3) uint8 -> (3, size, size) float32."""
        return self.normalise(self.take_view_with_boxes(pixels, seed)[0])

    def warnings(self, height: int, width: int) -> list[str]:
        """Return the warnings about a picture of this size: ``low_resolution`` when it has fewer native pixels than the view shows."""
        short = {
            "patches": patches.is_low_resolution(height, width, self.patch, self.low + self.high),
            "crop": min(height, width) < self.size,
            "resize": False,
        }[self.view]
        return ["low_resolution"] if short else []
