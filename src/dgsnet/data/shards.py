"""Shards, files of many images each: WebDataset tars, and Parquet with images in a column."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from dgsnet.core.errors import DatasetError, ShardError
from dgsnet.data import parquet_images
from dgsnet.data.class_labels import ClassLabels, class_labels
from dgsnet.data.left_out import LeftOut
from dgsnet.data.parquet_columns import image_columns, schema_of
from dgsnet.data.picture_files import HEAD, has_picture_name, is_picture
from dgsnet.data.sample import SPLITS, Sample, make_sample, parse_label, parse_object

TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz|tbz2?|txz)$", re.IGNORECASE)
"""Names of tars; those of any but ``.tar`` are compressed."""

_FIELDS = ("generator", "source", "split", "group")
_NOTES = frozenset((".cls", ".json", ".txt"))


def parquet_samples(root: Path, shard: str, caption_column: str, labelled: bool, left_out: LeftOut) -> Iterator[Sample]:
    """Yield the images of a Parquet shard, a path below `root`, in their order; with `labelled` what other columns say of them too.

    The split is the column `split`, or what a folder or the beginning of the file's name says, as of ``test-00000-of-00002.parquet``.

    Raises:
        ShardError: it is damaged.
        DatasetError: a label is asked for, and there is none.
    """
    path = root / shard
    columns, schema = image_columns(path), schema_of(path)
    if not columns:
        raise ShardError(f"{path}: has no column of images")
    for other in columns[1:]:
        left_out.add(f"further columns of images, of which one a file is read ({columns[0].name})", path, other.name)
    labels = class_labels(schema, str(path)) if labelled else None
    wanted = [name for name in (*_FIELDS, caption_column) if name in schema.names] + [labels.column] if labels else []
    if labelled and caption_column != "caption" and caption_column not in schema.names:
        raise DatasetError(f"{path}: has no column {caption_column}; name the one that holds captions")
    for row in parquet_images.rows(path, columns[0], wanted):
        name = f"{shard}/{row.number:06d}" + ("" if row.item is None else f".{row.item}") + (f"-{row.name}" if row.name else "")
        label, fields = _described(shard, labels, row.fields, str(root / name)) if labels else (None, None)
        yield replace(make_sample(name, label, fields, caption_column), shard=shard, offset=row.group, size=row.row, item=row.item or 0)


def _described(shard: str, labels: ClassLabels, row: dict[str, Any], where: str) -> tuple[int, dict[str, Any]]:
    label, name = labels.parse(row[labels.column], where)
    known = {"split": split_of(shard)} | ({"generator" if label else "source": name} if name else {})
    return label, known | {field: value for field, value in row.items() if value is not None}


def split_of(shard: str) -> str | None:
    """Return the split that the folders of a shard or the beginning of its name say; None where they say none."""
    *folders, file = (part.lower() for part in PurePosixPath(shard).parts)
    return next((SPLITS[word] for word in (re.split(r"[-_.]", file)[0], *reversed(folders)) if word in SPLITS), None)


def tar_samples(root: Path, shard: str, caption_column: str, labelled: bool, left_out: LeftOut) -> Iterator[Sample]:
    """Yield the images of a tar, a path below `root`, in their order; a link is the image that it leads to.

    Raises:
        ShardError: it is compressed, or damaged from some place on.
        DatasetError: a label is asked for, and there is none.
    """
    path = root / shard
    if not shard.lower().endswith(".tar"):
        raise ShardError(f"{path}: is compressed, so its images cannot be reached one by one; unpack it to a plain .tar")
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as stream:
            members = _Members(path, tar, stream, left_out)
            for member, fields in (
                _labelled_members(members, caption_column) if labelled else ((image, {}) for image in members if image.picture)
            ):
                name = f"{shard}/{member.name}"
                label = parse_label(fields.get("label"), str(root / name), labelled)
                yield replace(make_sample(name, label, fields, caption_column), shard=shard, offset=member.offset, size=member.size)
    except (tarfile.TarError, ValueError) as error:  # the latter at some damage of extended headers
        raise ShardError(f"{path}: is no plain tar archive ({error}); unpack or download it again") from error


@dataclass(frozen=True)
class _Member:
    """An image in a tar (`picture`) or a note. `key` is the name without its suffixes, `offset` and `size` the place of its bytes."""

    name: str
    key: str
    suffix: str
    picture: bool
    offset: int
    size: int


@dataclass(frozen=True)
class _Members:
    """The images and notes of a tar, in their order."""

    path: Path
    tar: tarfile.TarFile
    stream: BinaryIO
    """The same file, to look into members."""
    left_out: LeftOut

    def __iter__(self) -> Iterator[_Member]:
        while (info := self.tar.next()) is not None:
            self.tar.members.clear()  # type: ignore[attr-defined]  # it would keep every member it has seen
            name = info.name.removeprefix("./")
            folder, _, base = name.rpartition("/")
            stem, _, extension = base.partition(".")
            if info.isdir():
                continue
            if not stem:
                self.left_out.add("hidden files", self.path / name, lost=False)
                continue
            place = self._place(info)
            if place is None:
                self.left_out.add(
                    "members of a tar that are no files (broken links, devices)", self.path / name, lost=has_picture_name(base)
                )
                continue
            suffix = "." + extension.lower().rpartition(".")[2]
            picture = has_picture_name(base) or (suffix not in _NOTES and is_picture(self.read(*place, HEAD)))
            if not picture and suffix not in _NOTES:
                self.left_out.add("files that are no pictures", self.path / name, lost=TAR.search(base) is not None)
                continue
            yield _Member(name, f"{folder}/{stem}", suffix, picture, *place)
        self._check_end()

    def _check_end(self) -> None:
        """Raise `tarfile.ReadError` where members may follow: `tarfile` takes a damaged header, or the end of the first of two tars that
        were joined, for the end of all."""
        self.stream.seek(self.tar.offset)
        while block := self.stream.read(1 << 16):
            if block.strip(b"\0"):
                raise tarfile.ReadError(f"something else than members from byte {self.tar.offset} on")

    def read(self, offset: int, size: int, limit: int | None = None) -> bytes:
        """Read the bytes of a member, at most `limit` of them."""
        self.stream.seek(offset)
        return self.stream.read(size if limit is None else min(size, limit))

    def _place(self, info: tarfile.TarInfo) -> tuple[int, int] | None:
        """Return offset and size of the bytes of a file or of what a link leads to; None where there are none."""
        name = _normal(info.name)
        for _ in range(40):  # as many links in a row as Linux follows
            if info.isreg() and not info.issparse():
                return info.offset_data, info.size
            if info.islnk():
                name = _normal(info.linkname)
            elif info.issym():
                name = _normal(posixpath.join(posixpath.dirname(name), info.linkname))
            else:
                return None
            found = self._by_name.get(name)
            if found is None:
                return None
            info = found
        return None

    @cached_property
    def _by_name(self) -> dict[str, tarfile.TarInfo]:
        """All members by name. Only a tar with links is read once more for it."""
        with tarfile.open(self.path, "r:") as tar:
            try:
                return {_normal(info.name): info for info in tar}
            except tarfile.TarError:  # damaged behind the link; whoever lists the members says so when it gets there
                return {_normal(info.name): info for info in tar.members}  # type: ignore[attr-defined]


def _normal(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")


def _labelled_members(members: _Members, caption_column: str) -> Iterable[tuple[_Member, dict[str, Any]]]:
    """List the images with the fields of the notes that share their key; those stand before or behind them."""
    images: dict[str, _Member] = {}
    notes: dict[str, dict[str, Any]] = defaultdict(dict)
    for member in members:
        if member.picture:
            if member.key in images:
                raise DatasetError(f"{members.path}: {images[member.key].name} and {member.name} share one key; give each image its own")
            images[member.key] = member
        else:
            text, where = members.read(member.offset, member.size).decode("utf-8", "replace").strip(), f"{members.path}/{member.name}"
            fields = {".cls": {"label": text}, ".txt": {caption_column: text}}.get(member.suffix) or parse_object(text, where)
            notes[member.key] = {**notes[member.key], **fields}
    return [(member, notes[key]) for key, member in images.items()]
