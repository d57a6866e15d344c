"""From RGB pixels to a backbone's input. Travels inside the model folder, so that a model and its preprocessing cannot be separated."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, model_validator

from dgsnet import patches

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preprocessing(BaseModel):
    """What is shown of a picture, and how it is normalised.

    `view` is ``patches`` (native 32x32 patches, see `dgsnet.patches`) or ``resize`` (CLIP's own: short side to `size`, bicubic with
    antialiasing, centre crop). `mean` and `std` apply to pixels scaled to 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: Literal["patches", "resize"] = "patches"
    size: int = 224
    patch: int = 32
    low: int = 24
    high: int = 25
    order: patches.Order = "position"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

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
        """Whether the view of a picture depends on the seed."""
        return self.view == "patches" and self.order == "released"

    def look(self, pixels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
        """The view of a picture before normalisation: (H, W, 3) -> (size, size, 3) uint8.

        Raises:
            ValueError: the picture is smaller than one patch.
        """
        if self.view == "patches":
            return patches.select_patches(pixels, self.patch, self.low, self.high, self.order, seed)[0]
        height, width = pixels.shape[:2]
        scale = self.size / min(height, width)
        sides = max(self.size, round(width * scale)), max(self.size, round(height * scale))
        resized = Image.fromarray(pixels).resize(sides, Image.Resampling.BICUBIC)
        left, top = (sides[0] - self.size) // 2, (sides[1] - self.size) // 2
        return np.asarray(resized.crop((left, top, left + self.size, top + self.size)))

    def normalise(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(size, size, 3) uint8 -> (3, size, size) float32."""
        scaled = (view.astype(np.float32) / 255 - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def __call__(self, pixels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
        """(H, W, 3) uint8 -> (3, size, size) float32, the backbone's input."""
        return self.normalise(self.look(pixels, seed))

    def warnings(self, height: int, width: int) -> list[str]:
        """Warnings about a picture of this size: ``low_resolution`` when it has fewer whole patches than the view shows."""
        short = self.view == "patches" and patches.is_low_resolution(height, width, self.patch, self.low + self.high)
        return ["low_resolution"] if short else []
