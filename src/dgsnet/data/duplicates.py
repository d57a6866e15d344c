"""Pictures that a data set holds twice, as the same bytes or as the same picture saved again, and where that crosses labels or splits.

The same picture on both sides of a split makes a test too easy; under both labels it is noise, or shows how a forgery was made. Found are
copies that were re-encoded or scaled; not mirrored ones, and no crops.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgsnet.data.connected_components import connected_components

_HASH_SIDE, _THUMBNAIL = 8, 16
_BANDS = 5  # pieces of the hash: two hashes at most 4 bits apart agree in at least one of them
_BITS_APART = _BANDS - 1
_CORRELATION = 0.98  # of the thumbnails; hashes of pictures of one make agree by chance now and then
_FLAT = 2.0  # grey levels of standard deviation, below which a picture looks like any other flat one
_EXAMPLES = 50


@dataclass(frozen=True)
class Fingerprinted:
    """Image as the search sees it: its place in the data set, and what `perceptual_hash` and `thumbnail` gave."""

    path: str
    label: int | None
    split: str | None
    sha256: str
    perceptual_hash: str
    thumbnail: str


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """Hash (H, W, 3) pixels to 64 bits, 16 hex digits: whether each of 8 x 8 places is brighter than its right neighbour."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, :-1] > grey[:, 1:]).tobytes().hex()


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Scale (H, W, 3) pixels to 16 x 16 grey levels, base64."""
    grey = Image.fromarray(pixels).convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return base64.b64encode(grey.tobytes()).decode()


def find(images: Sequence[Fingerprinted]) -> dict[str, Any]:
    """Find sets of equal images, as `audit.json` holds them: `exact` (same bytes) and `near` (same picture, other bytes).

    Each has `sets`, `images` in them, `across_labels` and `across_splits` (how many sets are), and up to 50 `examples`, the sets that cross
    first: lists of `path`, `label`, `split`.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        same[image.sha256].append(place)
    first = [places[0] for places in same.values()]
    near: dict[int, list[int]] = defaultdict(list)
    for place, component in sorted(connected_components(_near_pairs([images[place] for place in first], first)).items()):
        near[component].append(place)
    # A copy of the same bytes is in the set of its twin: it, too, may lie under another label.
    spread = [[copy for place in members for copy in same[images[place].sha256]] for members in near.values()]
    return {
        "exact": _summary(images, [places for places in same.values() if len(places) > 1]),
        "near": _summary(images, spread),
    }


def _near_pairs(images: Sequence[Fingerprinted], places: Sequence[int]) -> Iterable[tuple[int, int]]:
    if not images:
        return
    bits = np.unpackbits(np.array([list(bytes.fromhex(image.perceptual_hash)) for image in images], np.uint8), axis=1)
    grey = np.array([list(base64.b64decode(image.thumbnail)) for image in images], np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(grey, axis=1)
    textured = lengths >= _FLAT * _THUMBNAIL  # the length is the deviation times the root of the number of levels
    grey /= np.maximum(lengths, 1)[:, None]
    for columns in np.array_split(np.arange(bits.shape[1]), _BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for index in np.flatnonzero(textured):
            buckets[bits[index, columns].tobytes()].append(int(index))
        for bucket in buckets.values():
            members = np.array(bucket)
            for position, index in enumerate(members[:-1]):
                others = members[position + 1 :]
                close = (bits[others] != bits[index]).sum(axis=1) <= _BITS_APART
                alike = others[close][grey[others[close]] @ grey[index] >= _CORRELATION]
                yield from ((places[index], places[other]) for other in alike)


def _summary(images: Sequence[Fingerprinted], sets: Sequence[Sequence[int]]) -> dict[str, Any]:
    members = [[images[place] for place in places] for places in sets]
    over_labels = [len({image.label for image in one}) > 1 for one in members]
    over_splits = [len({image.split for image in one}) > 1 for one in members]
    order = sorted(range(len(members)), key=lambda number: (not over_labels[number], not over_splits[number], number))
    return {
        "sets": len(members),
        "images": sum(len(one) for one in members),
        "across_labels": sum(over_labels),
        "across_splits": sum(over_splits),
        "examples": [
            [{"path": image.path, "label": image.label, "split": image.split} for image in members[number]] for number in order[:_EXAMPLES]
        ],
    }
