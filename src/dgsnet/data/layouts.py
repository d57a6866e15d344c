"""Layouts of data sets on disk. Samples come one by one, and no image is read: memory grows with the largest folder alone.

| layout | found by | generator, source |
|---|---|---|
| `manifest` | a `.csv`, `.jsonl` or `.parquet`, or a folder with `manifest.csv` (or the others) | columns |
| `0_real/1_fake` | `**/0_real`, `**/1_fake` (UniversalFakeDetect, ForenSynths) | folders above: `progan/car/1_fake` is `progan/car` |
| `nature/ai` | `**/nature`, `**/ai` (GenImage) | folders above: `sdv4/train/ai` is `sdv4`, split `train` |
| `real/fake` | `**/real`, `**/fake` | folders above and the first one below |
| `webdataset` | a `.tar`, or a folder of them: members of one key, image + `.cls` or `.json` (+ `.txt` caption) | `.json` fields |
| `parquet images` | a `.parquet` with images in it (`dgsnet.data.parquet_columns`), or a folder of them | columns, or names of classes |
| `images` | only with `labelled=False`: a folder of images or one image file | unknown |

Labels are 0 real, 1 AI-generated. A folder named train, val or test (or valid, validation) above or below the label is the split. A
photograph has a source and no generator; a generated image has a generator, which is also its source. A manifest may have both columns, a
short `source` and a descriptive `generator`: then a generated image takes the short one for both, because that name groups figures.

Folders are as people have them: what is no picture, cannot be read, or belongs to something else is left out, counted and named
(`dgsnet.data.left_out`), and the rest is listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

from dgsnet.core.errors import DatasetError, ShardError
from dgsnet.data.left_out import LeftOut
from dgsnet.data.manifest import lists_images, manifest_samples
from dgsnet.data.parquet_columns import image_columns
from dgsnet.data.picture_files import HEAD, has_picture_name, is_picture
from dgsnet.data.sample import SPLITS, Sample, make_sample
from dgsnet.data.shards import TAR, parquet_samples, tar_samples

KNOWN = (
    "known are: a manifest (.csv, .jsonl, .parquet) with path,label; folders 0_real, 1_fake; nature, ai; real, fake; WebDataset *.tar; "
    "*.parquet with images and labels"
)
_MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_MANIFESTS = tuple(f"manifest{suffix}" for suffix in _MANIFEST_SUFFIXES)
_LABEL_FOLDERS = {"0_real/1_fake": {"0_real": 0, "1_fake": 1}, "nature/ai": {"nature": 0, "ai": 1}, "real/fake": {"real": 0, "fake": 1}}
_ARCHIVES = frozenset((".zip", ".7z", ".rar", ".cbz", ".cbr"))


@dataclass(frozen=True)
class Listing:
    """Folder that paths are relative to, the name of the layout, and the samples in their order, found as they are taken.

    `left_out` is whole once all samples are taken.
    """

    root: Path
    layout: str
    samples: Iterator[Sample]
    left_out: LeftOut = field(default_factory=LeftOut)


def list_samples(data: str | Path, *, caption_column: str = "caption", labelled: bool = True) -> Listing:
    """Find the samples of a folder, manifest, shard or (with `labelled=False`) image file, by the shapes of the module's table.

    Pictures are told by name or content (`dgsnet.data.picture_files`). Folders are sorted by path, manifests and shards keep their order.
    `caption_column` is the manifest column (or `.json` field) to take captions from. With `labelled=False` labels may be missing, folder
    names say nothing, of shards only the images are looked at, and a folder may hold image files and shards beside each other.

    `DatasetError` when there is no such data, or more than one shape; while samples are taken, when a manifest is damaged, or a label is
    missing. Whatever else cannot be read is in `Listing.left_out`.
    """
    path, listing = Path(data), _Listing(caption_column, labelled, LeftOut())
    with _named_failures(path):
        if path.is_dir():
            root, layout, samples = listing.folder(path)
        elif not path.is_file():
            raise DatasetError(f"{path}: no such file or folder; check the path")
        elif path.suffix.lower() in _MANIFEST_SUFFIXES:
            root, layout, samples = listing.table(path)
        elif TAR.search(path.name):
            root, layout, samples = path.parent, "webdataset", listing.shard(path.parent, "webdataset", path.name)
        elif not labelled and listing.is_image(path.parent, path.name):
            root, layout, samples = path.parent, "images", iter((make_sample(path.name, None),))
        else:
            raise DatasetError(f"{path}: is no data set; {KNOWN}")
    return Listing(root, layout, _taken(path, samples), listing.left_out)


def _taken(path: Path, samples: Iterator[Sample]) -> Iterator[Sample]:
    with _named_failures(path):
        yield from samples


@contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{error.filename or path}: cannot be read ({error.strerror or error}); check the permissions") from error


@dataclass(frozen=True)
class _Listing:
    """What the parts of a listing share."""

    caption_column: str
    labelled: bool
    left_out: LeftOut

    def folder(self, root: Path) -> tuple[Path, str, Iterator[Sample]]:
        """Return the folder that paths are relative to, the layout and the samples of a folder."""
        manifests = [file for name in _MANIFESTS if self._is_manifest(file := root / name)]
        if len(manifests) > 1:
            raise DatasetError(f"{root}: holds {' and '.join(manifest.name for manifest in manifests)}; name the one to use")
        if manifests:
            return self.table(manifests[0])
        found = ((kind, name) for name in self._files(root) if (kind := self._kind(root, name)))
        first = next(found, None)
        if first is None:
            return root, "images", iter(())
        if not self.labelled:
            every = chain([first], found)
            return root, first[0], (sample for kind, name in every for sample in self.shard(root, kind, name))
        return self._labelled_folder(root, [first, *found])

    def _labelled_folder(self, root: Path, found: list[tuple[str, str]]) -> tuple[Path, str, Iterator[Sample]]:
        images, shards = [name for kind, name in found if kind == "images"], [one for one in found if one[0] != "images"]
        if not images:
            return root, shards[0][0], (sample for kind, name in shards for sample in self.shard(root, kind, name))
        try:
            layout = _layout(root, images)
        except DatasetError as error:
            if not shards:
                others = [name for name in _MANIFESTS if (root / name).is_file()]
                if not others:
                    raise
                raise DatasetError(f"{error}. {root / others[0]} is no manifest: it has no column path") from error
            mixed = f"shards ({shards[0][1]}) and image files ({images[0]}) that no folder labels"
            raise DatasetError(f"{root}: mixes {mixed}; name the folder of one of them") from error
        for _, name in shards:
            self.left_out.add("shards beside folders of images; give them by themselves", root / name)
        return root, layout, (_from_folders(root, name, layout) for name in images)

    def table(self, path: Path) -> tuple[Path, str, Iterator[Sample]]:
        """Return the same of a manifest, or of a Parquet file that holds images itself."""
        if path.suffix.lower() == ".parquet" and image_columns(path):
            return path.parent, "parquet images", self.shard(path.parent, "parquet images", path.name)
        return path.parent, "manifest", manifest_samples(path, self.caption_column, self.labelled, self.left_out)

    def shard(self, root: Path, kind: str, name: str) -> Iterator[Sample]:
        """Yield the samples of a shard, or an image file itself; where the shard is damaged, those before."""
        if kind == "images":
            yield make_sample(name, None)
            return
        samples = tar_samples if kind == "webdataset" else parquet_samples
        try:
            yield from samples(root, name, self.caption_column, self.labelled, self.left_out)
        except ShardError as error:
            self.left_out.add("shards, or the rest of them", root / name, str(error).removeprefix(f"{root / name}: "))
        except OSError as error:
            self.left_out.add("shards, or the rest of them", root / name, f"cannot be read: {error.strerror or error}")

    def is_image(self, root: Path, name: str) -> bool:
        """Tell whether a file is an image, by its name or else its first bytes. Raises `OSError` where it cannot be read."""
        if has_picture_name(name):
            return True
        with (root / name).open("rb") as stream:
            return is_picture(stream.read(HEAD))

    def _kind(self, root: Path, name: str) -> str | None:
        """Return the layout a file of a folder belongs to; None where it is left out."""
        suffix = PurePosixPath(name).suffix.lower()
        if has_picture_name(name):
            return "images"
        if TAR.search(name):
            return "webdataset"
        try:
            if suffix == ".parquet" and image_columns(root / name):
                return "parquet images"
            if self.is_image(root, name):
                return "images"
        except OSError as error:
            self.left_out.add("files that cannot be read", root / name, error.strerror or str(error))
        except DatasetError as error:
            self.left_out.add("shards, or the rest of them", root / name, str(error).removeprefix(f"{root / name}: "))
        else:
            if name in _MANIFESTS:
                self.left_out.add("tables without a column `path`, so no manifests", root / name, lost=False)
            elif suffix in _ARCHIVES:
                self.left_out.add("archives; unpack them", root / name)
            else:
                self.left_out.add("files that are no pictures", root / name, lost=False)
        return None

    def _is_manifest(self, file: Path) -> bool:
        """Tell whether a folder's table of that name is a manifest and not somebody's own; that is named with the other files."""
        try:
            if not file.is_file():
                return False
            return lists_images(file) or (file.suffix == ".parquet" and bool(image_columns(file)))
        except (OSError, DatasetError):  # whoever lists the folder comes by it, and says so
            return False

    def _files(self, root: Path) -> Iterator[str]:
        """Yield sorted posix paths of all visible files below. Links are followed, but not back to a folder on the way: that would not end.

        A stack, not recursion: folders may lie deeper than Python calls itself.
        """
        stack = [(iter(self._names(str(root), "")), frozenset((_identity(root),)))]
        while stack:
            names, ancestors = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
            elif not name.endswith("/"):
                yield name
            else:
                below = os.path.join(root, name)  # noqa: PTH118 - a Path would take a path of thousands of folders apart
                try:
                    if (identity := _identity(below)) not in ancestors:
                        stack.append((iter(self._names(below, name)), ancestors | {identity}))
                except OSError as error:
                    self.left_out.add("folders that cannot be listed", below, error.strerror or str(error))

    def _names(self, folder: str, prefix: str) -> list[str]:
        """Return the sorted paths, which begin with `prefix`, of what a folder holds: its files, and its folders with a slash."""
        # With its slash a folder stands where its files stand among all sorted paths.
        with os.scandir(folder) as entries:
            return sorted(name for entry in entries if (name := self._listed(entry, prefix)))

    def _listed(self, entry: os.DirEntry[str], prefix: str) -> str | None:
        if entry.name.startswith("."):
            self.left_out.add("hidden files and folders", entry.path, lost=False)
            return None
        try:
            if entry.is_dir():
                return f"{prefix}{entry.name}/"
            if entry.is_file():
                return prefix + entry.name
            why = "a broken link, a pipe or a device"
        except OSError as error:  # a link to itself
            why = error.strerror or str(error)
        self.left_out.add("names without a file", entry.path, why, lost=has_picture_name(entry.name))
        return None


def _identity(folder: str | Path) -> tuple[int, int]:
    """Return what is the same of a folder by whatever links it is reached."""
    found = os.stat(folder)  # noqa: PTH116 - the same
    return found.st_dev, found.st_ino


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
    split = next((SPLITS[folder] for folder in folders if folder in SPLITS), None)
    above = [part for part in parts[:place] if part.lower() not in SPLITS]
    below = [part for part in parts[place + 1 :] if part.lower() not in SPLITS]
    source = "/".join(above + (below[:1] if layout == "real/fake" else []))
    return make_sample(name, words[folders[place]], {"source": source, "split": split})
