"""Labelled images: whatever shape a data set has on disk, here it becomes one `Dataset`.

| layout | found by | generator, source |
|---|---|---|
| `manifest` | a `.csv`, `.jsonl` or `.parquet`, or a folder with `manifest.csv` (or the others) | columns |
| `0_real/1_fake` | `**/0_real`, `**/1_fake` (UniversalFakeDetect, ForenSynths) | folders above: `progan/car/1_fake` is `progan/car` |
| `nature/ai` | `**/nature`, `**/ai` (GenImage) | folders above: `sdv4/train/ai` is `sdv4`, split `train` |
| `real/fake` | `**/real`, `**/fake` | folders above and the first one below |
| `webdataset` | a `.tar`, or a folder of them: members of one key, image + `.cls` or `.json` (+ `.txt` caption) | `.json` fields |
| `images` | only with `labelled=False`: a folder of images or one image file | unknown |

Labels are 0 real, 1 AI-generated. A folder named train, val or test (or valid, validation) above or below the label is the split. A
photograph has a source and no generator; a generated image has a generator, which is also its source. A manifest may have both columns, a
short `source` and a descriptive `generator`: then a generated image takes the short one for both, because that name groups figures.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dgsnet.errors import DatasetError
from dgsnet.files import sha256_bytes

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_LABEL_FOLDERS = {"0_real/1_fake": {"0_real": 0, "1_fake": 1}, "nature/ai": {"nature": 0, "ai": 1}, "real/fake": {"real": 0, "fake": 1}}
_LABEL_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "real": 0, "fake": 1}
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_KNOWN = "known are: a manifest (.csv, .jsonl, .parquet) with path,label; folders 0_real, 1_fake; nature, ai; real, fake; WebDataset *.tar"
_TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz)$")

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


@dataclass(frozen=True)
class Sample:
    """One image. `path` is relative to `Dataset.root` where it lies below, else absolute; of a tar member, `shard/member`.

    `label` is 0 real, 1 AI-generated, None unknown. Samples of one `group` never part in a split. A tar member also has its `shard` (a path
    like `path`) and the `offset` and `size` of its bytes there.
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
class Dataset:
    """Samples in a fixed order, the folder their paths are relative to, and the name of the layout they were found in."""

    root: Path
    samples: tuple[Sample, ...]
    layout: str

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def read(self, sample: Sample) -> bytes:
        """The encoded bytes of a sample; `DatasetError` when its file or shard is gone or cut off."""
        try:
            if sample.shard is None:
                return (self.root / sample.path).read_bytes()
            with (self.root / sample.shard).open("rb") as stream:
                stream.seek(sample.offset)
                data = stream.read(sample.size)
        except OSError as error:
            raise DatasetError(f"{self.root / sample.path}: cannot be read ({error.strerror}); restore it or leave it out") from error
        if len(data) != sample.size:
            raise DatasetError(f"{self.root / sample.path}: the shard ends before this member does; restore the shard")
        return data

    def labels(self) -> NDArray[np.int64]:
        """(N,) labels; `DatasetError` when a sample has none."""
        bare = next((sample.path for sample in self.samples if sample.label is None), None)
        if bare is not None:
            raise DatasetError(f"{self.root / bare}: has no label; training and evaluation need one for each image ({_KNOWN})")
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    def with_split(self, *names: str) -> Dataset:
        """The samples whose split is one of `names`; `DatasetError` when there are none."""
        chosen = tuple(sample for sample in self.samples if sample.split in names)
        if not chosen:
            known = ", ".join(sorted({sample.split for sample in self.samples if sample.split})) or "no splits"
            raise DatasetError(f"{self.root}: no image of split {' or '.join(names)}; the data has {known}")
        return replace(self, samples=chosen)

    def balanced_subset(self, limit: int, seed: int) -> Dataset:
        """At most `limit` samples: as many of each label, within a label equal shares of each source, in the order of this data set.

        A source with less than its share gives all it has and the others share the rest. Which samples a source gives depends on seed and
        paths alone, so a data set that grows keeps most of its choice.
        """
        by_label = _grouped(self.samples, lambda sample: sample.label)
        count = min([limit // max(len(by_label), 1), *(len(members) for members in by_label.values())])
        if count < 1:
            raise DatasetError(f"{self.root}: a subset of {limit} of {len(self)} images holds none of some label; raise the limit")
        chosen: set[str] = set()
        for members in by_label.values():
            by_source = sorted(_grouped(members, lambda sample: sample.source).items(), key=lambda item: (len(item[1]), item[0]))
            left = count
            for position, (_, pool) in enumerate(by_source):  # smallest source first, so that what it lacks goes to the larger ones
                share = min(len(pool), left // (len(by_source) - position))
                chosen.update(sorted((sample.path for sample in pool), key=lambda path: _rank(seed, path))[:share])
                left -= share
        return replace(self, samples=tuple(sample for sample in self.samples if sample.path in chosen))

    def split_by_group(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """(rest, held out): about `fraction` (0..1, exclusive) of the samples of each label are held out, whole groups only.

        Deterministic in seed and group names. `DatasetError` when the groups are too few to put samples on both sides.
        """
        if not 0 < fraction < 1:
            raise DatasetError(f"cannot hold out a fraction of {fraction}; give one between 0 and 1")
        groups = _grouped(self.samples, lambda sample: sample.group)
        strata = _grouped(groups, lambda group: tuple(sorted({str(sample.label) for sample in groups[group]})))
        held: set[str] = set()
        for names in strata.values():
            ranked = sorted(names, key=lambda name: (_rank(seed, name), name))
            missing = fraction * sum(len(groups[name]) for name in ranked)
            taken = []
            for name in ranked:
                if len(groups[name]) <= missing + 0.5:  # a larger one would overshoot; a smaller one may follow
                    taken.append(name)
                    missing -= len(groups[name])
            if len(ranked) > 1:  # both sides get a part of each stratum
                taken = (taken or [min(ranked, key=lambda name: len(groups[name]))])[: len(ranked) - 1]
            held.update(taken)
        sides = tuple(tuple(sample for sample in self.samples if (sample.group in held) is side) for side in (False, True))
        if not all(sides):
            raise DatasetError(f"{self.root}: {len(groups)} group(s) are too few to hold out a part; name finer groups")
        return replace(self, samples=sides[0]), replace(self, samples=sides[1])

    def fingerprint(self) -> str:
        """Hex sha256 over path, label, split, caption and content (null if unreadable) of each sample in order. Reads every image, once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for sample in self.samples:
            try:
                content = sha256_bytes(self.read(sample))
            except DatasetError:
                content = None  # whoever wants the image says so; here it must cost one row, not the run
            fields = [sample.path, sample.label, sample.split, sample.caption, content]
            digest.update(json.dumps(fields).encode() + b"\n")
        return digest.hexdigest()


def balanced_order(labels: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """(M,) indices of one class-balanced epoch over (N,) labels 0 and 1, a pure function of its arguments.

    Each image of the larger class comes once, those of the smaller are repeated as evenly as possible, so M is twice the larger class.
    Each aligned pair holds one real and one fake, hence any aligned batch of even size as many of both. One class alone: a plain shuffle.
    """
    if not np.isin(labels, (0, 1)).all():
        raise DatasetError("only labels 0 and 1 can be balanced")
    rng = np.random.Generator(np.random.PCG64([seed, epoch]))
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    longest = max(len(members) for members in classes)
    if not all(len(members) for members in classes):
        return rng.permutation(len(labels)).astype(np.int64)
    columns = [np.concatenate([rng.permutation(members) for _ in range(-(-longest // len(members)))])[:longest] for members in classes]
    return rng.permuted(np.stack(columns, axis=1), axis=1).ravel().astype(np.int64)


def load_dataset(data: str | Path, *, caption_column: str = "caption", labelled: bool = True) -> Dataset:
    """Find the samples of a folder, manifest, tar shard or (with `labelled=False`) image file, by the shapes of the module's table.

    Hidden files and files without a known image suffix are skipped. Folders are sorted by path, manifests and shards keep their order.
    `caption_column` is the manifest column (or `.json` field) to take captions from. With `labelled=False` labels may be missing and folder
    names say nothing. `DatasetError` when nothing is found, or more than one shape.
    """
    path = Path(data)
    try:
        if path.is_dir():
            return _folder(path, caption_column, labelled)
        if not path.is_file():
            raise DatasetError(f"{path}: no such file or folder; check the path")
        if path.suffix.lower() in _MANIFEST_SUFFIXES:
            return _manifest(path, caption_column, labelled)
        if _TAR.search(path.name):
            return _checked(Dataset(path.parent, tuple(_shard(path.parent, path.name, caption_column, labelled)), "webdataset"))
        if not labelled and path.suffix.lower() in IMAGE_SUFFIXES:
            return Dataset(path.parent, (_sample(path.name, None),), "images")
    except OSError as error:
        raise DatasetError(f"{error.filename or path}: cannot be read ({error.strerror or error}); check the permissions") from error
    raise DatasetError(f"{path}: is no data set; {_KNOWN}")


def _checked(dataset: Dataset) -> Dataset:
    if not dataset.samples:
        raise DatasetError(f"{dataset.root}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); {_KNOWN}")
    repeated, times = Counter(sample.path for sample in dataset.samples).most_common(1)[0]
    if times > 1:
        raise DatasetError(f"{dataset.root / repeated}: listed {times} times; list each image once")
    return dataset


def _sample(path: str, label: int | None, fields: Mapping[str, Any] | None = None, caption_column: str = "caption") -> Sample:
    """A sample from optional fields `generator, source, split, group` and the caption's, with the defaults of the module's docstring."""
    text = {name: str(value).strip() for name, value in (fields or {}).items() if value is not None}
    source = text.get("source") or text.get("generator") or "unknown"
    caption, split = (text.get(name) or None for name in (caption_column, "split"))
    return Sample(path, label, source if label == 1 else "", source, caption, split, text.get("group") or path)


# --- Folders ---


def _folder(root: Path, caption_column: str, labelled: bool) -> Dataset:
    manifests = [root / f"manifest{suffix}" for suffix in _MANIFEST_SUFFIXES if (root / f"manifest{suffix}").is_file()]
    if len(manifests) > 1:
        raise DatasetError(f"{root}: holds {' and '.join(manifest.name for manifest in manifests)}; name the one to use")
    if manifests:
        return _manifest(manifests[0], caption_column, labelled)
    files = sorted(_files(root, "", frozenset()))
    shards = [name for name in files if _TAR.search(name)]
    images = [name for name in files if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    if shards and images:
        raise DatasetError(f"{root}: mixes shards ({shards[0]}) and image files ({images[0]}); name the folder of one of them")
    if shards:
        members = (sample for name in shards for sample in _shard(root, name, caption_column, labelled))
        return _checked(Dataset(root, tuple(members), "webdataset"))
    if not labelled or not images:
        return _checked(Dataset(root, tuple(_sample(name, None) for name in images), "images"))
    layout = _layout(root, images)
    return _checked(Dataset(root, tuple(_from_folders(root, name, layout) for name in images), layout))


def _files(folder: Path, prefix: str, ancestors: frozenset[str]) -> Iterator[str]:
    """Posix paths of all visible files below. Links are followed, except one back to a folder on the way here, which would never end."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/", ancestors | {real})
            elif entry.is_file():
                yield prefix + entry.name


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
    raise DatasetError(f"{root}: nothing says whether {example} is real or generated; {_KNOWN}")


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


def _manifest(path: Path, caption_column: str, labelled: bool) -> Dataset:
    root = path.parent
    samples = []
    for where, row in _rows(path):
        if not row.get("path"):
            raise DatasetError(f"{path}, {where}: has no path; a manifest needs the columns path and label")
        if caption_column != "caption" and caption_column not in row:
            raise DatasetError(f"{path}, {where}: has no column {caption_column}; name the one that holds captions")
        name = Path(str(row["path"]))
        if name.is_absolute() and name.is_relative_to(root.absolute()):
            name = name.relative_to(root.absolute())
        samples.append(_sample(name.as_posix(), _label(row.get("label"), f"{path}, {where}", labelled), row, caption_column))
    return _checked(Dataset(root, tuple(samples), "manifest"))


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("line 2", fields) of each row."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from ((f"row {number}", row) for number, row in enumerate(pq.read_table(path).to_pylist(), 1))
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


# --- Tar shards ---


def _shard(root: Path, shard: str, caption_column: str, labelled: bool) -> Iterator[Sample]:
    path = root / shard
    if not shard.endswith(".tar"):
        raise DatasetError(f"{path}: is compressed, so its images cannot be reached one by one; unpack it to a plain .tar")
    images: dict[str, tarfile.TarInfo] = {}
    notes: dict[str, dict[str, Any]] = defaultdict(dict)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, base = member.name.removeprefix("./").rpartition("/")
                stem, _, extension = base.partition(".")
                key, suffix = f"{folder}/{stem}", "." + extension.lower().rpartition(".")[2]
                if not member.isreg() or member.issparse() or not stem:
                    continue
                if suffix in IMAGE_SUFFIXES:
                    if key in images:
                        raise DatasetError(f"{path}: {images[key].name} and {member.name} share one key; give each image its own")
                    images[key] = member
                elif suffix in {".cls", ".json", ".txt"} and (stream := tar.extractfile(member)):
                    text, where = stream.read().decode("utf-8", "replace").strip(), f"{path}/{member.name}"
                    fields = {".cls": {"label": text}, ".txt": {caption_column: text}}.get(suffix) or _object(text, where)
                    notes[key] = {**notes[key], **fields}
    except tarfile.TarError as error:
        raise DatasetError(f"{path}: is no plain tar archive ({error}); unpack or download it again") from error
    for key, member in images.items():
        name = f"{shard}/{member.name.removeprefix('./')}"
        label = _label(notes[key].get("label"), str(root / name), labelled)
        yield replace(_sample(name, label, notes[key], caption_column), shard=shard, offset=member.offset_data, size=member.size)


# --- Choices ---


def _grouped(items: Iterable[_V], key: Callable[[_V], _K]) -> dict[_K, list[_V]]:
    groups: dict[_K, list[_V]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def _rank(seed: int, name: str) -> str:
    """A fixed pseudo-random place in a queue: depends on nothing but its arguments."""
    return sha256_bytes(f"{seed}\0{name}".encode())
