"""One image of a data set, and the reading of the fields that describe it in a manifest or a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dgsnet.core.errors import DatasetError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".avif", ".avifs", ".heic", ".heif", ".hif", ".heics", ".jxl"}
)
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split by the name of a folder, in lower case."""

_LABEL_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "real": 0, "fake": 1}


@dataclass(frozen=True)
class Sample:
    """One image. `path` is relative to `Dataset.root` where it lies below, else absolute; of a tar member, `shard/member`.

    `label` is 0 real, 1 AI-generated, None unknown. Samples of one `group` never part in a split. An image in a shard also has its `shard`
    (a path like `path`): a tar member the `offset` and `size` of its bytes, one in Parquet its row group as `offset`, its row there as
    `size` and, where a row holds a list of images, its number in the list as `item`.
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
    item: int = 0


def make_sample(path: str, label: int | None, fields: Mapping[str, Any] | None = None, caption_column: str = "caption") -> Sample:
    """Make a sample of optional fields `generator, source, split, group` and the caption's, with the defaults of `dgsnet.data.layouts`."""
    text = {name: str(value).strip() for name, value in (fields or {}).items() if value is not None}
    source = text.get("source") or text.get("generator") or "unknown"
    caption, split = (text.get(name) or None for name in (caption_column, "split"))
    return Sample(path, label, source if label == 1 else "", source, caption, split, text.get("group") or path)


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Read a JSON object; `DatasetError`, which names `where`, for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{where}: is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: is no JSON object; give one with fields such as path and label")
    return value


def parse_label(value: object, where: str, labelled: bool) -> int | None:
    """Read a label, 0 or 1. For anything else None where none is needed, otherwise `DatasetError`, which names `where`."""
    word = "" if value is None else str(value).strip().lower()
    if word in _LABEL_WORDS:
        return _LABEL_WORDS[word]
    if not labelled:
        return None
    raise DatasetError(f"{where}: {f'unknown label {value!r}' if word else 'has no label'}; write 0 or real, 1 or fake")
