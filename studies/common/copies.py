"""Copies of the listed images: as the corpus is made, and as they are after a way through the web."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from dgsnet.core.errors import DecodeError
from dgsnet.images.augment import Pixels, encoded, jpeg
from dgsnet.images.decode import decode
from dgsnet.images.journeys import JOURNEYS
from studies.common import kept_for_testing
from studies.common.crops import QUALITY, crop
from studies.common.image_list import POLICY, content, listed
from studies.common.model_families import family_of

Copy = Literal["made", "any", "web"]
"""`made`: as the corpus is made, the centre of a 256x256 crop. `any`: after this journey (`dgsnet.images.journeys`), anywhere in it.
`web`: scaled to a short side of 320 to 640 pixels, whatever it was, cropped to 320x320, JPEG 85, the centre of that."""

COPIES: tuple[Copy, ...] = get_args(Copy)
SHIPPED_COPIES: tuple[Copy, ...] = ("made", "any")
"""What the shipped head is taught and calibrated with."""
VIEW, WEB_CROP, WEB_QUALITY = 224, 320, 85
"""Sides in pixels; JPEG quality."""


@dataclass(frozen=True)
class Listed:
    """An image of the corpus or of the longer list.

    `repo`, `commit`, `sha256` and `batch` are empty for the corpus, whose files are at hand.
    """

    key: str
    path: str
    label: int
    split: str
    source: str
    generator: str
    repo: str = ""
    commit: str = ""
    sha256: str = ""
    batch: str = ""

    @property
    def origin(self) -> str:
        """Return what is left out together: a photo source, or a family of generators."""
        return family_of(self.generator) if self.label else self.source

    def read(self, corpus: Path, repositories: Path) -> bytes:
        """Read the file: of the corpus the crop, else the original; SystemExit where it is not the file that was listed."""
        if not self.repo:
            return (corpus / self.path).read_bytes()
        data = content(repositories / self.repo, self.commit, self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SystemExit(f"{self.repo}: {self.path} is not the file that was listed: check out {self.commit}")
        return data


def images(corpus: Path) -> list[Listed]:
    """List the images of `train` and `test` of the corpus and of the longer list, none of them kept for testing."""
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] in {"train", "test"}]
    named = [Listed(f"corpus/{row['path']}", row["path"], int(row["label"]), row["split"], row["source"], row["generator"]) for row in rows]
    return named + longer_list()


def longer_list() -> list[Listed]:
    """List the images of the longer list; SystemExit where one of them is kept for testing."""
    others = listed()
    if kept := kept_for_testing.kept_rows(others):
        raise SystemExit(f"{len(kept)} listed images are kept for testing, {kept[0]} for one: take them off the list")
    return [_of_list(row) for row in others]


def _of_list(row: dict[str, str]) -> Listed:
    key = f"more/{row['source']}/{row['sha256'][:12]}"
    of = (row["source"], row["generator"], row["repo"], row["commit"], row["sha256"], row["batch"])
    return Listed(key, row["path"], int(row["label"]), "train", *of)


def in_rounds(given: list[Listed]) -> Iterator[tuple[Listed, Copy]]:
    """Yield what is read, in an order that may be stopped anywhere: sources stay about as even as they are.

    Eight images of each source, as made and travelled; the test images, which nothing is chosen by; then more of each source.
    """
    train = [image for image in given if image.split == "train"]
    place: dict[tuple[int, str], int] = {}
    ranks = []
    for image in train:
        ranks.append(place.get((image.label, image.source), 0))
        place[image.label, image.source] = ranks[-1] + 1

    def of_train(first: int, end: int) -> Iterator[tuple[Listed, Copy]]:
        for copy in SHIPPED_COPIES:
            yield from ((image, copy) for image, rank in zip(train, ranks, strict=True) if first <= rank < end)

    for first, end in ((0, 4), (4, 8)):
        yield from of_train(first, end)
    for copy in COPIES:
        yield from ((image, copy) for image in given if image.split == "test")
    for first, end in ((8, 12), (12, 24), (24, 40)):
        yield from of_train(first, end)


def look(image: Listed, copy: Copy, data: bytes) -> Pixels:
    """Return what is seen of a copy of an image: pixels (H, W, 3), of which the model takes the centre; a function of image and copy alone.

    Raises:
        DecodeError: it cannot be decoded, or is too small.
    """
    rng = _draws(image.key, copy)
    pixels = whole(image, copy, data, rng)
    if copy == "made":
        return decode(encoded(crop(pixels, image.sha256), "JPEG", quality=QUALITY, subsampling=0)).pixels if image.repo else pixels
    return pixels if copy == "web" else _window(pixels, rng, VIEW)


def whole(image: Listed, copy: Copy, data: bytes, rng: np.random.Generator | None = None) -> Pixels:
    """Return all of a copy of an image, (H, W, 3): as it is (`made`), after a journey, or after the web pipeline.

    Raises:
        DecodeError: it cannot be decoded, or is too small.
    """
    pixels, rng = decode(data, POLICY).pixels, rng or _draws(image.key, copy)
    if copy == "made":
        return pixels
    if min(pixels.shape[:2]) < VIEW:
        raise DecodeError(f"{image.key}: {pixels.shape[1]}x{pixels.shape[0]} pixels are too few")
    return _web(pixels, rng) if copy == "web" else decode(JOURNEYS[copy](pixels, rng)).pixels


def _web(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    factor = rng.uniform(320, 640) / min(height, width)
    size = max(WEB_CROP, round(width * factor)), max(WEB_CROP, round(height * factor))
    scaled = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return decode(jpeg(_window(scaled, rng, WEB_CROP), WEB_QUALITY)).pixels


def _window(pixels: Pixels, rng: np.random.Generator, side: int) -> Pixels:
    top, left = (int(rng.integers(max(length - side, 0) + 1)) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def _draws(*names: str) -> np.random.Generator:
    digest = hashlib.sha256(" ".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
