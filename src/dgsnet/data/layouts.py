"""The images of a data set one by one, without reading one: memory does not grow with their number, only with the largest folder.

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

import csv
import json
import os
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.data import parquet_images

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
KNOWN = "known are: a manifest (.csv, .jsonl, .parquet) with path,label; folders 0_real, 1_fake; nature, ai; real, fake; WebDataset *.tar"
_MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_LABEL_FOLDERS = {"0_real/1_fake": {"0_real": 0, "1_fake": 1}, "nature/ai": {"nature": 0, "ai": 1}, "real/fake": {"real": 0, "fake": 1}}
_LABEL_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "real": 0, "fake": 1}
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz)$")


@dataclass(frozen=True)
class Sample:
    """One image. `path` is relative to `Dataset.root` where it lies below, else absolute; of a tar member, `shard/member`.

    `label` is 0 real, 1 AI-generated, None unknown. Samples of one `group` never part in a split. An image in a shard also has its `shard`
    (a path like `path`): a tar member the `offset` and `size` of its bytes, one in Parquet its row group as `offset` and its row there as
    `size`.
    """

    path: str
    label: int | None
    generator: str
    source: str
    caption: str | None
    split: str | None
    group: str
    shard: str | None = None
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class Listing:
    """The folder that paths are relative to, the name of the layout, and the samples in their order, found as they are taken."""

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
            root, layout, samples = path.parent, "webdataset", _shard(path.parent, path.name, caption_column, labelled)
        elif not labelled and path.suffix.lower() in IMAGE_SUFFIXES:
            root, layout, samples = path.parent, "images", iter((_sample(path.name, None),))
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


def _sample(path: str, label: int | None, fields: Mapping[str, Any] | None = None, caption_column: str = "caption") -> Sample:
    """A sample from optional fields `generator, source, split, group` and the caption's, with the defaults of the module's docstring."""
    text = {name: str(value).strip() for name, value in (fields or {}).items() if value is not None}
    source = text.get("source") or text.get("generator") or "unknown"
    caption, split = (text.get(name) or None for name in (caption_column, "split"))
    return Sample(path, label, source if label == 1 else "", source, caption, split, text.get("group") or path)


# --- Folders ---


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
        return root, kind, (sample for _, name in found for sample in _shard(root, name, caption_column, labelled))
    if kind == "parquet images":
        return root, kind, (sample for _, name in found for sample in _parquet(root, name))
    if not labelled or not first:
        return root, kind, (_sample(name, None) for _, name in found)
    images = [name for _, name in found]
    layout = _layout(root, images)
    return root, layout, (_from_folders(root, name, layout) for name in images)


def _of_one_kind(root: Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """(kind, path) of what holds images, sorted by path; `DatasetError` at the first that is of another kind."""
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
    """Sorted posix paths of all visible files below. Links are followed, but not back to a folder on the way here: that would never end."""
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
    """The one layout whose label folders hold every image; a `real/nature/` or `ai/fake/` inside another's folder does not confuse it."""
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
    return _sample(name, words[folders[place]], {"source": source, "split": split})


# --- Manifests ---


def _table(path: Path, caption_column: str, labelled: bool) -> tuple[Path, str, Iterator[Sample]]:
    if not labelled and path.suffix.lower() == ".parquet" and parquet_images.image_column(path):
        return path.parent, "parquet images", _parquet(path.parent, path.name)
    return path.parent, "manifest", _manifest(path, caption_column, labelled)


def _manifest(path: Path, caption_column: str, labelled: bool) -> Iterator[Sample]:
    root = path.parent
    for where, row in _rows(path):
        if not row.get("path"):
            raise DatasetError(f"{path}, {where}: has no path; a manifest needs the columns path and label")
        if caption_column != "caption" and caption_column not in row:
            raise DatasetError(f"{path}, {where}: has no column {caption_column}; name the one that holds captions")
        name = Path(str(row["path"]))
        if name.is_absolute() and name.is_relative_to(root.absolute()):
            name = name.relative_to(root.absolute())
        yield _sample(name.as_posix(), _label(row.get("label"), f"{path}, {where}", labelled), row, caption_column)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("line 2", fields) of each row."""
    try:
        if path.suffix.lower() == ".parquet":
            batches = pq.ParquetFile(path).iter_batches()
            yield from ((f"row {number}", row) for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1))
        elif path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                yield from ((f"line {reader.line_num}", row) for row in reader)
        else:
            with path.open(encoding="utf-8-sig") as stream:
                lines = ((f"line {number}", line) for number, line in enumerate(stream, 1) if line.strip())
                yield from ((where, _object(line, f"{path}, {where}")) for where, line in lines)
    except (csv.Error, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: is no readable {path.suffix} file ({error}); write it again as UTF-8") from error


def _object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{where}: is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: is no JSON object; give one with fields such as path and label")
    return value


def _label(value: object, where: str, labelled: bool) -> int | None:
    word = "" if value is None else str(value).strip().lower()
    if word in _LABEL_WORDS:
        return _LABEL_WORDS[word]
    if not word and not labelled:
        return None
    raise DatasetError(f"{where}: {f'unknown label {value!r}' if word else 'has no label'}; write 0 or real, 1 or fake")


# --- Shards ---


def _parquet(root: Path, shard: str) -> Iterator[Sample]:
    for number, (group, row, name) in enumerate(parquet_images.rows(root / shard)):
        path = f"{shard}/{number:06d}" + (f"-{name}" if name else "")
        yield replace(_sample(path, None), shard=shard, offset=group, size=row)


def _shard(root: Path, shard: str, caption_column: str, labelled: bool) -> Iterator[Sample]:
    path = root / shard
    if not shard.endswith(".tar"):
        raise DatasetError(f"{path}: is compressed, so its images cannot be reached one by one; unpack it to a plain .tar")
    try:
        with tarfile.open(path, "r:") as tar:
            found = _labelled_members(path, tar, caption_column) if labelled else _image_members(tar)
            for member, fields in found:
                name = f"{shard}/{member.name.removeprefix('./')}"
                label = _label(fields.get("label"), str(root / name), labelled)
                yield replace(_sample(name, label, fields, caption_column), shard=shard, offset=member.offset_data, size=member.size)
    except tarfile.TarError as error:
        raise DatasetError(f"{path}: is no plain tar archive ({error}); unpack or download it again") from error


def _image_members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, dict[str, Any]]]:
    for member, _, suffix in _members(tar):
        if suffix in IMAGE_SUFFIXES:
            yield member, {}


def _labelled_members(path: Path, tar: tarfile.TarFile, caption_column: str) -> Iterable[tuple[tarfile.TarInfo, dict[str, Any]]]:
    """Images with the fields of the notes that share their key; those stand before or behind them."""
    images: dict[str, tarfile.TarInfo] = {}
    notes: dict[str, dict[str, Any]] = defaultdict(dict)
    for member, key, suffix in _members(tar):
        if suffix in IMAGE_SUFFIXES:
            if key in images:
                raise DatasetError(f"{path}: {images[key].name} and {member.name} share one key; give each image its own")
            images[key] = member
        elif suffix in {".cls", ".json", ".txt"} and (stream := tar.extractfile(member)):
            text, where = stream.read().decode("utf-8", "replace").strip(), f"{path}/{member.name}"
            fields = {".cls": {"label": text}, ".txt": {caption_column: text}}.get(suffix) or _object(text, where)
            notes[key] = {**notes[key], **fields}
    return [(member, notes[key]) for key, member in images.items()]


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """(member, key, suffix) of the visible regular files."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every member it has seen
        folder, _, base = member.name.removeprefix("./").rpartition("/")
        stem, _, extension = base.partition(".")
        if stem and member.isreg() and not member.issparse():
            yield member, f"{folder}/{stem}", "." + extension.lower().rpartition(".")[2]
