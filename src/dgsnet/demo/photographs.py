"""Photographs that installed packages carry, and crops of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DatasetError
from dgsnet.images.decode import decode

Pixels = NDArray[np.uint8]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class Listed:
    """A photograph by its place inside a package.

    Attributes:
        name: group of all that is made of it.
        caption: what it shows.
        package: import name of the package.
        file: path below the package.
        licence: licence and credit, as far as the package states them.
        split: side of the demo it is on.
    """

    name: str
    caption: str
    package: str
    file: str
    licence: str
    split: Split


@dataclass(frozen=True)
class Photograph(Listed):
    """A listed photograph with its pixels, (H, W, 3) uint8."""

    pixels: Pixels


_NASA = "public domain, NASA"
_SKIMAGE, _MATPLOTLIB, _SKLEARN = "skimage", "matplotlib", "sklearn"

# Both sides hold colour and grey, people, things and texture. Drawings, charts, stains and synthetic pictures of the packages are left out;
# so is the second view of the stereo motorcycle, which would be the first one once more.
LISTED: tuple[Listed, ...] = (
    Listed("astronaut", "an astronaut in an orange suit", _SKIMAGE, "data/astronaut.png", _NASA, "train"),
    Listed("brick", "a brick pavement", _SKIMAGE, "data/brick.png", "CC0, CC0Textures", "train"),
    Listed("chelsea", "a tabby cat", _SKIMAGE, "data/chelsea.png", "CC0, Stefan van der Walt", "train"),
    Listed("china", "a temple on a hill", _SKLEARN, "datasets/images/china.jpg", "CC BY 2.0, danielbuechele", "train"),
    Listed("coins", "ancient coins", _SKIMAGE, "data/coins.png", "no known restrictions, Brooklyn Museum", "train"),
    Listed("grass", "grass", _SKIMAGE, "data/grass.png", "CC0", "train"),
    Listed("moon", "the surface of the moon", _SKIMAGE, "data/moon.png", "no licence stated", "train"),
    Listed("motorcycle", "a motorcycle in a garage", _SKIMAGE, "data/motorcycle_left.png", "no licence stated, Middlebury 2014", "train"),
    Listed("retina", "the retina of an eye", _SKIMAGE, "data/retina.jpg", "CC0", "train"),
    Listed("camera", "a man with a camera", _SKIMAGE, "data/camera.png", "CC0, Lav Varshney", "test"),
    Listed("coffee", "a cup of coffee", _SKIMAGE, "data/coffee.png", "CC0, Rachel Michetti", "test"),
    Listed("flower", "an orange flower", _SKLEARN, "datasets/images/flower.jpg", "CC BY 2.0, vultilion", "test"),
    Listed("grace-hopper", "a woman in uniform", _MATPLOTLIB, "mpl-data/sample_data/grace_hopper.jpg", "no licence stated", "test"),
    Listed("gravel", "gravel", _SKIMAGE, "data/gravel.png", "CC0, CC0Textures", "test"),
    Listed("hubble", "distant galaxies", _SKIMAGE, "data/hubble_deep_field.jpg", _NASA, "test"),
    Listed("rocket", "a rocket on its launch pad", _SKIMAGE, "data/rocket.jpg", "public domain, SpaceX", "test"),
)


def photographs(listed: tuple[Listed, ...] = LISTED) -> list[Photograph]:
    """Return the listed photographs that are installed, in order; packages are located, not imported, and nothing is downloaded.

    Raises:
        DatasetError: a side of the split has none.
        DecodeError: a file is there but no picture.
    """
    found = [Photograph(**vars(one), pixels=decode(file).pixels) for one in listed if (file := _locate(one)) is not None]
    for split in ("train", "test"):
        if not any(photograph.split == split for photograph in found):
            raise DatasetError(f"no photograph for the {split} side of the demo: install its photographs with `pip install 'dgsnet[demo]'`")
    return found


def _locate(one: Listed) -> Path | None:
    spec = importlib.util.find_spec(one.package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / one.file
    return file if file.is_file() else None


def crops(pixels: Pixels, side: int, limit: int) -> list[Pixels]:
    """Cut at most `limit` square crops that do not overlap, (side, side, 3) uint8, from a lattice centred in the picture (H, W, 3).

    Where the lattice has more, those with the most detail (mean absolute step to the next pixel) are taken; the order is row by row. A
    picture smaller than `side` has none.
    """
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    top, left = (pixels.shape[0] - rows * side) // 2, (pixels.shape[1] - columns * side) // 2
    lattice = [
        np.ascontiguousarray(pixels[top + r * side : top + (r + 1) * side, left + c * side : left + (c + 1) * side])
        for r in range(rows)
        for c in range(columns)
    ]
    richest = sorted(range(len(lattice)), key=lambda place: -_detail(lattice[place]))[:limit]
    return [lattice[place] for place in sorted(richest)]


def _detail(crop: Pixels) -> float:
    signed = crop.astype(np.int16)
    return float(np.abs(np.diff(signed, axis=0)).mean() + np.abs(np.diff(signed, axis=1)).mean())
