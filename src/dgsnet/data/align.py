"""One way for photographs and generated images alike: the same turn, scaling, crop and compression, so that none of it carries the label.

For each image: EXIF turn and RGB as everywhere (`dgsnet.images.decode`); scaling down by a random factor (Lanczos); one random square crop;
one encoding, without metadata; a name made of the content. The factor is what removes the grid of an earlier JPEG, which a crop and a
second compression leave in place. It is drawn from one range for both labels, that which nine tenths of each label's images are large
enough for, so that how strongly an image was scaled says nothing either.

| an image whose short side is | |
|---|---|
| at least size / 0.9 | is scaled by a factor of at most 0.9, and not below `size` |
| from `size` to size / 0.9 | is cropped as it is: counted as `unscaled`, because the trace of its past stays |
| below `size` | is skipped: enlarging or mirroring would mark it for good |

The same bytes twice: one copy is kept, of test before val before train; none, if they are under both labels. The same picture in other
bytes is reported and kept, for which copy is the right one is no question of files.

What this cannot remove: what pictures show, how large the scene was that they were cut from, and what the pixels went through before.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.append_log import ResultStore
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import replacing, sha256_bytes, write_json, write_text
from dgsnet.data import duplicates
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.images.augment import encoded, jpeg
from dgsnet.images.decode import FORMATS, decode

MANIFEST, SKIPPED, SUMMARY = "manifest.csv", "skipped.csv", "align.json"
UNREADABLE, TOO_SMALL, DUPLICATE = "unreadable", "too small", "duplicate"
"""Kinds of reason for skipping an image."""

MILDEST = 0.9
"""Largest factor an image is scaled by: milder ones leave the grid of a compression half visible."""

_SPARED = 0.9  # share of each label's images that the range of factors must be open to
_COLUMNS = ("path", "label", "split", "source", "generator", "caption", "group", "original", "scale")
_SPLIT_ORDER = {"test": 0, "val": 1, "train": 2}
_LABELS = ("real", "fake")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """Settings of what is done to each image.

    Attributes:
        size: side of the crop, pixels.
        format: ``jpeg``, at 4:4:4, or ``png``.
        quality: of the JPEG, 1..100; of no effect on PNG.
        downscale: smallest factor, above 0 and at most `MILDEST`; 1 scales nothing.
        seed: of factors and crops, which else depend on an image's bytes alone.
    """

    size: int = 256
    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = 95
    downscale: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.downscale <= MILDEST or self.downscale == 1):
            raise DatasetError(f"cannot scale down by {self.downscale}: give a factor above 0 and at most {MILDEST}, or 1 for none")
        if self.size < 1 or not 1 <= self.quality <= 100 or self.format not in ("jpeg", "png"):
            raise DatasetError(f"cannot align to {self.format} of {self.size} pixels at quality {self.quality}")


@dataclass(frozen=True)
class _Skip:
    sample: Sample
    kind: str
    reason: str


class _Seen(NamedTuple):
    """Facts from the first pass over a file: hash of its bytes, and the short side that its header announces (None: none)."""

    sha256: str
    short: int | None


def align(dataset: Dataset, out: Path, settings: Settings, progress: Progress | None = None) -> dict[str, Any]:
    """Write an aligned copy of `dataset` to `out`: images, `manifest.csv` (which `load_dataset` reads), `skipped.csv`, `align.json`.

    The same images and settings give the same files, in whatever order and folders they lie. After a kill the same call goes on where it
    stopped; the manifest appears when it is whole.

    Returns:
        The content of `align.json`: `kept`, `skipped` (by kind) and `unscaled` for each label, `factors` (the range for both), `duplicates`
        (as `audit.json`; places in the original data), and `settings`.

    Raises:
        DatasetError: an image has no label, `out` was begun with other settings, or no image could be aligned.
    """
    dataset.labels()
    seen = _first_pass(dataset, progress)
    low = _lowest_factor(dataset, seen, settings)
    contents = {sample.path: seen[sample.path].sha256 or f"unreadable {sample.path}" for sample in dataset}
    chosen, skipped = _without_copies(dataset, contents, "same bytes as")
    aligned: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    fingerprints: list[duplicates.Fingerprinted] = []
    # The factor's range is a setting like the others: were images added and it moved, old and new ones would differ.
    with ResultStore(out / ".aligned.jsonl", {**asdict(settings), "lowest_factor": round(low, 6)}) as results:
        for sample in progress.track(chosen, description="aligning") if progress else chosen:
            try:
                done = results.get(seen[sample.path].sha256)
                if done is None or not (out / done["path"]).is_file():
                    done = _align_one(dataset.read(sample), out, settings, low)
                    results.put(seen[sample.path].sha256, done)
            except (DecodeError, DatasetError) as error:
                small = isinstance(error, _TooSmallError)
                skipped.append(_Skip(sample, TOO_SMALL if small else UNREADABLE, str(error).removeprefix("bytes: ")))
                continue
            aligned[sample.path] = done
    # Files that differ in their metadata alone may give the same crop, which can stand in the manifest once.
    kept, copies = _without_copies(
        [sample for sample in chosen if sample.path in aligned], {path: done["path"] for path, done in aligned.items()}, "same crop as"
    )
    skipped += copies
    for sample in kept:
        done = aligned[sample.path]
        facts = {name: getattr(sample, name) for name in ("label", "split", "source", "generator", "caption", "group")}
        rows.append({**facts, "path": done["path"], "original": sample.path, "scale": done["scale"]})
        fingerprints.append(
            duplicates.Fingerprinted(
                sample.path, sample.label, sample.split, seen[sample.path].sha256, done["perceptual_hash"], done["thumbnail"]
            )
        )
    write_text(out / SKIPPED, _csv(("original", "label", "split", "kind", "reason"), map(_skip_row, skipped)))
    if not rows:
        raise DatasetError(f"{dataset.root}: no image could be aligned; {out / SKIPPED} says why of each")
    result = {
        **{name: _of_label(label, rows, skipped) for label, name in enumerate(_LABELS)},
        "factors": None if settings.downscale == 1 else {"low": round(low, 4), "high": MILDEST},
        "duplicates": duplicates.find(fingerprints),
        "settings": {**asdict(settings), "dgsnet": __version__},
    }
    write_json(out / SUMMARY, result)
    rows.sort(key=lambda row: str(row["path"]))  # by hash: the order tells nothing either
    write_text(out / MANIFEST, _csv(_COLUMNS, rows))
    return result


class _TooSmallError(DatasetError):
    """An image smaller than the crop."""


def _first_pass(dataset: Dataset, progress: Progress | None) -> dict[str, _Seen]:
    """Return hash and short side of each file by path; of an unreadable one, an empty hash and None."""
    seen = {}
    for sample in progress.track(dataset.samples, description="looking") if progress else dataset.samples:
        try:
            data = dataset.read(sample)
        except DatasetError:
            seen[sample.path] = _Seen("", None)
            continue
        seen[sample.path] = _Seen(sha256_bytes(data), _short_side(data))
    return seen


def _short_side(data: bytes) -> int | None:
    with warnings.catch_warnings():  # no pixel is decoded here, so a large size is no danger and nothing to warn of
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                return min(image.size)
        except Exception:  # Pillow answers damaged input with any exception; `decode` will say what is wrong with it
            return None


def _lowest_factor(dataset: Dataset, seen: Mapping[str, _Seen], settings: Settings) -> float:
    """Return the smallest factor of the range that nine tenths of each label's images are large enough for."""
    if settings.downscale == 1:
        return 1.0
    low = settings.downscale
    for label in (0, 1):
        shorts = [short for sample in dataset if sample.label == label and (short := seen[sample.path].short)]
        smallest = [settings.size / short for short in shorts if short >= settings.size / MILDEST]
        if smallest:
            low = max(low, float(np.quantile(smallest, _SPARED)))
    return min(low, MILDEST)


def _without_copies(samples: Iterable[Sample], contents: Mapping[str, str], alike: str) -> tuple[list[Sample], list[_Skip]]:
    """Return the samples to keep, one of each content (by path), and the copies left out, with how they are `alike` as the reason."""
    copies: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        copies[contents[sample.path]].append(sample)
    chosen, skipped = [], []
    for members in copies.values():
        if len({sample.label for sample in members}) > 1:
            for sample in members:
                other = next(one.path for one in members if one.label != sample.label)
                skipped.append(_Skip(sample, DUPLICATE, f"{alike} {other}, which has the other label; leave out the wrong one"))
            continue
        first, *others = sorted(members, key=lambda sample: (_SPLIT_ORDER.get(sample.split or "", 3), sample.path))
        chosen.append(first)
        skipped += [_Skip(sample, DUPLICATE, f"{alike} {first.path}") for sample in others]
    return chosen, skipped


def _align_one(data: bytes, out: Path, settings: Settings, low: float) -> dict[str, Any]:
    """Write the aligned image; return what the manifest and the search for duplicates need of it."""
    pixels = decode(data).pixels
    short = min(pixels.shape[:2])
    if short < settings.size:
        raise _TooSmallError(f"its short side is {short} pixels; the crop needs {settings.size}")
    rng = np.random.default_rng([settings.seed, int(sha256_bytes(data)[:16], 16)])
    scale = _factor(short, settings, low, rng)
    crop = _crop(pixels, settings.size, scale, rng)
    content = encoded(crop, "PNG") if settings.format == "png" else jpeg(crop, settings.quality, subsampling=0)
    name = sha256_bytes(content)
    path = f"images/{name[:2]}/{name[2:26]}.{'png' if settings.format == 'png' else 'jpg'}"
    with replacing(out / path) as aside:
        aside.write_bytes(content)
    return {
        "path": path,
        "scale": round(scale, 4),
        "perceptual_hash": duplicates.perceptual_hash(pixels),
        "thumbnail": duplicates.thumbnail(pixels),
    }


def _factor(short: int, settings: Settings, low: float, rng: np.random.Generator) -> float:
    """Draw a factor, log-uniform, so that a range of a factor of two is as likely as another; 1 where there is no room to scale down."""
    draw = rng.uniform()
    if settings.downscale == 1 or short * MILDEST < settings.size:
        return 1.0
    lowest = max(low, settings.size / short)
    return float(lowest * (MILDEST / lowest) ** draw)


def _crop(pixels: Pixels, size: int, scale: float, rng: np.random.Generator) -> Pixels:
    """Cut a random (size, size, 3) part of the picture (H, W, 3) scaled by `scale`."""
    height, width = pixels.shape[:2]
    side = size / scale
    across, down = rng.uniform(size=2)
    if scale == 1:
        left, top = int(across * (width - size + 1)), int(down * (height - size + 1))
        return np.ascontiguousarray(pixels[top : top + size, left : left + size])
    left, top = across * max(0.0, width - side), down * max(0.0, height - side)
    box = (left, top, min(left + side, width), min(top + side, height))
    return np.array(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS, box=box))


def _of_label(label: int, rows: Iterable[Mapping[str, Any]], skipped: Iterable[_Skip]) -> dict[str, Any]:
    kept = [row for row in rows if row["label"] == label]
    kinds = Counter(one.kind for one in skipped if one.sample.label == label)
    return {
        "kept": len(kept),
        "unscaled": sum(1 for row in kept if row["scale"] == 1),
        "median_factor": round(float(np.median([row["scale"] for row in kept])), 4) if kept else None,
        "skipped": {kind: kinds[kind] for kind in (UNREADABLE, TOO_SMALL, DUPLICATE)},
    }


def _skip_row(skip: _Skip) -> dict[str, Any]:
    sample = skip.sample
    return {"original": sample.path, "label": sample.label, "split": sample.split, "kind": skip.kind, "reason": skip.reason}


def _csv(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
