"""Unmarked photographs: those of the corpus and of the list of more sources, each as a whole and as crops."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgsnet.core.errors import DecodeError
from dgsnet.data.dataset import load_dataset
from dgsnet.images.decode import DecodePolicy, decode
from studies.common.image_list import content, listed

SIZES = ((256, 256), (256, 384), (320, 256), (384, 384), (512, 256), (512, 384), (512, 512))
"""Of crops, width and height: some are multiples of what blocks and messages have in common, where a picture's own columns add up."""
CROPS = 40
"""Of a photograph."""
LARGEST = 768
"""Side beyond which the middle of a photograph stands for the whole."""
_POLICY = DecodePolicy(max_bytes=60 * 2**20, max_pixels=120_000_000)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photograph:
    """A photograph that is to be read: `name` is its own, `source` whose it is."""

    name: str
    source: str
    file: Path
    row: dict[str, str] | None = None

    def pixels(self) -> Pixels | None:
        """Return its pixels, (H, W, 3) uint8; None where the file is no picture that is decoded."""
        try:
            return decode(content(self.file, self.row["commit"], self.row["path"]) if self.row else self.file, _POLICY).pixels
        except DecodeError:
            return None


def photographs(corpus: Path, repositories: Path) -> list[Photograph]:
    """Return the photographs of the training and validation parts of the corpus, and of the list, in an order by chance (seed 0)."""
    found = [
        Photograph(sample.path, sample.source, corpus / sample.path)
        for split in ("train", "val")
        for sample in load_dataset(corpus).with_split(split)
        if sample.label == 0
    ]
    found += [Photograph(row["sha256"], row["source"], repositories / row["repo"], row) for row in listed() if row["label"] == "0"]
    random.Random(0).shuffle(found)  # noqa: S311 - an order, no secret
    return found


def unmarked(photograph: Photograph) -> Iterator[tuple[str, Pixels]]:
    """Yield what is read of a photograph, each with what was done to it: the whole, and crops turned, scaled or stored again."""
    pixels = photograph.pixels()
    if pixels is None:
        return
    yield "whole", middle(pixels, LARGEST, LARGEST)
    chance = random.Random(int(hashlib.sha256(photograph.name.encode()).hexdigest()[:16], 16))  # noqa: S311
    height, width = pixels.shape[:2]
    for _ in range(CROPS):
        done = chance.choices(("as it is", "scaled", "JPEG", "WebP"), (4, 2, 4, 1))[0]
        factor = chance.uniform(1.2, 2.5) if done == "scaled" else 1.0
        fitting = [size for size in SIZES if size[0] * factor <= width and size[1] * factor <= height]
        if not fitting:
            done, factor = "as it is", 1.0
            fitting = [size for size in SIZES if size[0] <= width and size[1] <= height]
        if not fitting:
            return
        size = chance.choice(fitting)
        columns, rows = int(size[0] * factor), int(size[1] * factor)
        left, top = chance.randint(0, width - columns), chance.randint(0, height - rows)
        picture = Image.fromarray(turned(pixels[top : top + rows, left : left + columns], chance.randrange(8)))
        if done == "scaled":
            picture = picture.resize(size if picture.width > picture.height or size[0] == size[1] else size[::-1], Image.Resampling.LANCZOS)
        elif done in ("JPEG", "WebP"):
            picture = stored(picture, done, chance.choice((60, 75, 85, 90, 95)))
        yield done, np.asarray(picture)


def middle(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return the middle of a picture, at most so large."""
    top, left = max(0, (pixels.shape[0] - height) // 2), max(0, (pixels.shape[1] - width) // 2)
    return pixels[top : top + height, left : left + width]


def turned(pixels: Pixels, number: int) -> Pixels:
    """Return one of the eight ways to lay a picture down."""
    pixels = pixels.swapaxes(0, 1) if number & 4 else pixels
    pixels = pixels[::-1] if number & 2 else pixels
    return np.ascontiguousarray(pixels[:, ::-1] if number & 1 else pixels)


def stored(picture: Image.Image, kind: str, quality: int, subsampling: int = 2) -> Image.Image:
    """Return a picture as it comes back from a JPEG (chroma halved, unless said otherwise) or a lossy WebP."""
    stream = io.BytesIO()
    picture.save(stream, kind, quality=quality, **({"subsampling": subsampling} if kind == "JPEG" else {}))
    return Image.open(stream).convert("RGB")
