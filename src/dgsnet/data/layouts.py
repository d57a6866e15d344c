"""Layouts of data sets on disk. Samples come one by one, and no image is read: memory grows with the largest folder alone.

| layout | found by | generator, source |
|---|---|---|
| `manifest` | a `.csv`, `.jsonl` or `.parquet`, or a folder with `manifest.csv` (or the others) | columns |
| `0_real/1_fake` | `**/0_real`, `**/1_fake` (UniversalFakeDetect, ForenSynths) | folders above: `progan/car/1_fake` is `progan/car` |
| `nature/ai` | `**/nature`, `**/ai` (GenImage) | folders above: `sdv4/train/ai` is `sdv4`, split `train` |
| `real/fake` | `**/real`, `**/fake` | folders above and the first one below |
| `webdataset` | a `.tar`, or a folder of them: members of one key, image + `.cls` or `.json` (+ `.txt` caption) | `.json` fields |
| `images` | only with `labelled=False`: a folder of images or one image file | unknown |
| `parquet images` | only with `labelled=False`: `.parquet` with encoded images in a column, or a folder of them | unknown |

Labels are 0 real, 1 AI-generated. A folder named train, val or test (or valid, validation) above or below the label is the split. A
photograph has a source and no generator; a generated image has a generator, which is also its source. A manifest may have both columns, a
short `source` and a descriptive `generator`: then a generated image takes the short one for both, because that name groups figures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from dgsnet.core.errors import DatasetError
from dgsnet.data import parquet_images
from dgsnet.data.manifest import manifest_samples
from dgsnet.data.sample import IMAGE_SUFFIXES, Sample, make_sample
from dgsnet.data.shards import parquet_samples, tar_samples

KNOWN = "known are: a manifest (.csv, .jsonl, .parquet) with path,label; folders 0_real, 1_fake; nature, ai; real, fake; WebDataset *.tar"
_MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_LABEL_FOLDERS = {"0_real/1_fake": {"0_real": 0, "1_fake": 1}, "nature/ai": {"nature": 0, "ai": 1}, "real/fake": {"real": 0, "fake": 1}}
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz)$")


@dataclass(frozen=True)
class Listing:
    """Folder that paths are relative to, the name of the layout, and the samples in their order, found as they are taken."""

    root: Path
    layout: str
    samples: Iterator[Sample]


def list_samples(data: str | Path, *, caption_column: str = "caption", labelled: bool = True) -> Listing:
    """Find the samples of a folder, manifest, shard or (with `labelled=False`) image file, by the shapes of the module's table.

    Hidden files and files without a known image suffix are skipped. Folders are sorted by path, manifests and shards keep their order.
    `caption_column` is the manifest column (or `.json` field) to take captions from. With `labelled=False` labels may be missing, folder
    names say nothing, and of shards only the images are looked at.

    `DatasetError` when there is no such data, or more than one shape; while samples are taken, when a manifest or shard is damaged.
    """
    path = Path(data)
    with _named_failures(path):
        if path.is_dir():
            root, layout, samples = _folder(path, caption_column, labelled)
        elif not path.is_file():
            raise DatasetError(f"{path}: no such file or folder; check the path")
        elif path.suffix.lower() in _MANIFEST_SUFFIXES:
            root, layout, samples = _table(path, caption_column, labelled)
        elif _TAR.search(path.name):
            root, layout, samples = path.parent, "webdataset", tar_samples(path.parent, path.name, caption_column, labelled)
        elif not labelled and path.suffix.lower() in IMAGE_SUFFIXES:
            root, layout, samples = path.parent, "images", iter((make_sample(path.name, None),))
        else:
            raise DatasetError(f"{path}: is no data set; {KNOWN}")
    return Listing(root, layout, _taken(path, samples))


def _taken(path: Path, samples: Iterator[Sample]) -> Iterator[Sample]:
    with _named_failures(path):
        yield from samples


@contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{error.filename or path}: cannot be read ({error.strerror or error}); check the permissions") from error


def _folder(root: Path, caption_column: str, labelled: bool) -> tuple[Path, str, Iterator[Sample]]:
    manifests = [root / f"manifest{suffix}" for suffix in _MANIFEST_SUFFIXES if (root / f"manifest{suffix}").is_file()]
    if len(manifests) > 1:
        raise DatasetError(f"{root}: holds {' and '.join(manifest.name for manifest in manifests)}; name the one to use")
    if manifests:
        return _table(manifests[0], caption_column, labelled)
    found = _of_one_kind(root, labelled)
    first = next(found, None)
    kind, found = first[0] if first else "images", chain([first] if first else [], found)
    if kind == "webdataset":
        return root, kind, (sample for _, name in found for sample in tar_samples(root, name, caption_column, labelled))
    if kind == "parquet images":
        return root, kind, (sample for _, name in found for sample in parquet_samples(root, name))
    if not labelled or not first:
        return root, kind, (make_sample(name, None) for _, name in found)
    images = [name for _, name in found]
    layout = _layout(root, images)
    return root, layout, (_from_folders(root, name, layout) for name in images)


def _of_one_kind(root: Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """Yield (kind, path) of what holds images, sorted by path; `DatasetError` at the first that is of another kind."""
    first: dict[str, str] = {}
    for name in _files(root, "", frozenset()):
        if (kind := _kind(root, name, labelled)) is None:
            continue
        first.setdefault(kind, name)
        if len(first) > 1:
            mixed = " and ".join(f"{'image files' if one == 'images' else 'shards'} ({first[one]})" for one in sorted(first, reverse=True))
            raise DatasetError(f"{root}: mixes {mixed}; name the folder of one of them")
        yield kind, name


def _kind(root: Path, name: str, labelled: bool) -> str | None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "images"
    if _TAR.search(name):
        return "webdataset"
    if suffix == ".parquet" and not labelled and parquet_images.image_column(root / name):
        return "parquet images"
    return None


def _files(folder: Path, prefix: str, ancestors: frozenset[str]) -> Iterator[str]:
    """Yield sorted posix paths of all visible files below. Links are followed, but not back to a folder on the way: that would not end."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    with os.scandir(folder) as entries:
        # With its slash a folder stands where its files stand among all sorted paths.
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries if _listed(entry))
    for name in names:
        if name.endswith("/"):
            yield from _files(folder / name, prefix + name, ancestors | {real})
        else:
            yield prefix + name


def _listed(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and (entry.is_dir() or entry.is_file())


def _folders_of(name: str) -> list[str]:
    return [part.lower() for part in PurePosixPath(name).parts[:-1]]


def _layout(root: Path, images: list[str]) -> str:
    """Find the one layout whose label folders hold every image, undisturbed by a `real/nature/` or `ai/fake/` inside another's folder."""
    stray = {layout: [name for name in images if not words.keys() & set(_folders_of(name))] for layout, words in _LABEL_FOLDERS.items()}
    whole = [layout for layout, names in stray.items() if not names]
    if len(whole) == 1:
        return whole[0]
    if whole:
        raise DatasetError(f"{root}: each image lies in folders of {' and of '.join(whole)}; rename one of them")
    example = min(stray.values(), key=len)[0]  # an image that does not fit the layout that fits most
    raise DatasetError(f"{root}: nothing says whether {example} is real or generated; {KNOWN}")


def _from_folders(root: Path, name: str, layout: str) -> Sample:
    words = _LABEL_FOLDERS[layout]
    folders, parts = _folders_of(name), PurePosixPath(name).parts[:-1]
    places = [place for place, folder in enumerate(folders) if folder in words]
    if len({words[folders[place]] for place in places}) > 1:
        raise DatasetError(f"{root / name}: lies in a folder of real and in one of generated images; move it")
    place = places[0]
    split = next((_SPLIT_FOLDERS[folder] for folder in folders if folder in _SPLIT_FOLDERS), None)
    above = [part for part in parts[:place] if part.lower() not in _SPLIT_FOLDERS]
    below = [part for part in parts[place + 1 :] if part.lower() not in _SPLIT_FOLDERS]
    source = "/".join(above + (below[:1] if layout == "real/fake" else []))
    return make_sample(name, words[folders[place]], {"source": source, "split": split})


def _table(path: Path, caption_column: str, labelled: bool) -> tuple[Path, str, Iterator[Sample]]:
    if not labelled and path.suffix.lower() == ".parquet" and parquet_images.image_column(path):
        return path.parent, "parquet images", parquet_samples(path.parent, path.name)
    return path.parent, "manifest", manifest_samples(path, caption_column, labelled)
