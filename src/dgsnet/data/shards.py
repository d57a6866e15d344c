"""Shards, files of many images each: WebDataset tars, and Parquet with encoded images in a column."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dgsnet.core.errors import DatasetError
from dgsnet.data import parquet_images
from dgsnet.data.sample import IMAGE_SUFFIXES, Sample, make_sample, parse_label, parse_object


def parquet_samples(root: Path, shard: str) -> Iterator[Sample]:
    """Yield the rows of a Parquet shard, a path below `root`, in their order; `DatasetError` when it is damaged."""
    for number, (group, row, name) in enumerate(parquet_images.rows(root / shard)):
        path = f"{shard}/{number:06d}" + (f"-{name}" if name else "")
        yield replace(make_sample(path, None), shard=shard, offset=group, size=row)


def tar_samples(root: Path, shard: str, caption_column: str, labelled: bool) -> Iterator[Sample]:
    """Yield the images of a tar, a path below `root`, in their order; `DatasetError` when it is compressed or damaged, or lacks a label."""
    path = root / shard
    if not shard.endswith(".tar"):
        raise DatasetError(f"{path}: is compressed, so its images cannot be reached one by one; unpack it to a plain .tar")
    try:
        with tarfile.open(path, "r:") as tar:
            found = _labelled_members(path, tar, caption_column) if labelled else _image_members(tar)
            for member, fields in found:
                name = f"{shard}/{member.name.removeprefix('./')}"
                label = parse_label(fields.get("label"), str(root / name), labelled)
                yield replace(make_sample(name, label, fields, caption_column), shard=shard, offset=member.offset_data, size=member.size)
    except tarfile.TarError as error:
        raise DatasetError(f"{path}: is no plain tar archive ({error}); unpack or download it again") from error


def _image_members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, dict[str, Any]]]:
    for member, _, suffix in _members(tar):
        if suffix in IMAGE_SUFFIXES:
            yield member, {}


def _labelled_members(path: Path, tar: tarfile.TarFile, caption_column: str) -> Iterable[tuple[tarfile.TarInfo, dict[str, Any]]]:
    """List the images with the fields of the notes that share their key; those stand before or behind them."""
    images: dict[str, tarfile.TarInfo] = {}
    notes: dict[str, dict[str, Any]] = defaultdict(dict)
    for member, key, suffix in _members(tar):
        if suffix in IMAGE_SUFFIXES:
            if key in images:
                raise DatasetError(f"{path}: {images[key].name} and {member.name} share one key; give each image its own")
            images[key] = member
        elif suffix in {".cls", ".json", ".txt"} and (stream := tar.extractfile(member)):
            text, where = stream.read().decode("utf-8", "replace").strip(), f"{path}/{member.name}"
            fields = {".cls": {"label": text}, ".txt": {caption_column: text}}.get(suffix) or parse_object(text, where)
            notes[key] = {**notes[key], **fields}
    return [(member, notes[key]) for key, member in images.items()]


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Yield (member, key, suffix) of the visible regular files."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every member it has seen
        folder, _, base = member.name.removeprefix("./").rpartition("/")
        stem, _, extension = base.partition(".")
        if stem and member.isreg() and not member.issparse():
            yield member, f"{folder}/{stem}", "." + extension.lower().rpartition(".")[2]
