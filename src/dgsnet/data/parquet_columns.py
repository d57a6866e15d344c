"""Find the columns of a Parquet file that matter here: its images, their names, and what the `datasets` library notes of them.

| column of images | found by |
|---|---|
| a struct of `bytes` and `path`, or one of them | the features of `datasets` in the metadata; its name; a picture in its first rows |
| binary (plain, large, view) | the same |
| text: paths of image files, relative to the Parquet file | the features of `datasets`; its name and the suffix of its first value |
| a list of any of these | as its items |

`datasets` writes its features as JSON under the key ``huggingface`` (``{"info": {"features": {"img": {"_type": "Image"}}}}``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dgsnet.core.errors import DatasetError
from dgsnet.data.picture_files import has_picture_name, is_picture

_IMAGES = (
    *("bytes", "image_data", "image", "img", "jpg", "jpeg", "png", "webp", "images", "imgs", "picture", "pictures", "photo", "photos"),
    *("image_bytes", "img_bytes", "jpgs", "pngs"),
)
"""Names of columns of images, the likelier first. Of a name with dots, as WebDataset gives (``left.jpg``), the last part counts."""

_NAMES = ("path", "image_name", "file_name")
_LISTS: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_LOOKED_AT = 16
"""First rows, in which a column that neither metadata nor name tells of must have a picture."""


@dataclass(frozen=True)
class ImageColumn:
    """A column of images: encoded bytes, paths of files, or structs of both; `listed` where a row holds a list of them."""

    name: str
    kind: Literal["bytes", "path", "struct"]
    listed: bool = False


def schema_of(file: Path, complaint: str = "{file}: is no readable .parquet file ({error}); download it again") -> pa.Schema:
    """Return the columns of a Parquet file, without reading a row.

    Raises:
        DatasetError: it is no readable Parquet file; `complaint` says so of `{file}` and `{error}`.
    """
    try:
        return pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(complaint.format(file=file, error=error)) from error


def image_columns(file: Path) -> list[ImageColumn]:
    """Find the columns of images, that of the best claim first; the others are further images of the same rows.

    Raises:
        DatasetError: as `schema_of`.
    """
    schema = schema_of(file)
    features = hub_features(schema)
    typed = [column for one in schema if (column := _typed(one)) is not None]
    marked = [column for column in typed if _type_of(features.get(column.name)) == "Image"]
    if not marked:
        free = [column for column in typed if _type_of(features.get(column.name)) in (None, "Value")]  # no sound, no film
        with_bytes = [column for column in free if column.kind != "path"]
        marked = [column for column in with_bytes if _rank(column) < len(_IMAGES) or _shows(file, column, _holds_picture)]
        if not marked and "path" not in schema.names:  # of a manifest that is the column of files
            marked = [column for column in free if column.kind == "path" and _rank(column) < len(_IMAGES) and _shows(file, column, _named)]
    return sorted(marked, key=_rank)


def name_column(schema: pa.Schema, images: ImageColumn) -> str | None:
    """Find the column that names the images of `images`; ``img.path`` where that is a part of them, None where nothing does."""
    for name in _NAMES:
        if name in schema.names and _text(schema.field(name).type):
            return name
    if images.kind == "struct" and not images.listed and schema.field(images.name).type.get_field_index("path") >= 0:
        return f"{images.name}.path"
    return images.name if images.kind == "path" and not images.listed else None


def hub_features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return the features that `datasets` noted, by column; none where it noted nothing that can be read."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: _feature(feature) for name, feature in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _feature(noted: Any) -> dict[str, Any]:
    """Return a feature as a dictionary; a list of one feature is how older versions write a sequence."""
    if isinstance(noted, list) and len(noted) == 1:
        return {"_type": "Sequence", "feature": noted[0]}
    return noted if isinstance(noted, dict) else {}


def _type_of(feature: dict[str, Any] | None) -> str | None:
    """Return the type of a feature; of a sequence that of its items."""
    while feature and feature.get("_type") in {"Sequence", "List", "LargeList"}:
        feature = _feature(feature.get("feature"))
    return feature.get("_type") if feature else None


def _typed(field: pa.Field) -> ImageColumn | None:
    listed = any(is_list(field.type) for is_list in _LISTS)
    kind = field.type.value_type if listed else field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        parts = {name: kind.field(name).type if kind.get_field_index(name) >= 0 else None for name in ("bytes", "path")}
        known = (parts["bytes"] is not None and binary(parts["bytes"])) or (parts["path"] is not None and _text(parts["path"]))
        return ImageColumn(field.name, "struct", listed) if known else None
    if binary(kind):
        return ImageColumn(field.name, "bytes", listed)
    return ImageColumn(field.name, "path", listed) if _text(kind) else None


def binary(kind: pa.DataType) -> bool:
    """Tell whether a type is that of bytes of any length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _rank(column: ImageColumn) -> int:
    name = column.name.lower().rpartition(".")[2]
    return _IMAGES.index(name) if name in _IMAGES else len(_IMAGES)


def _shows(file: Path, column: ImageColumn, shown: Callable[[Any], bool]) -> bool:
    """Tell whether one of the first images of a column is what `shown` asks for."""
    try:
        batch = next(pq.ParquetFile(file, pre_buffer=False).iter_batches(_LOOKED_AT, columns=[column.name]), None)
        rows = [] if batch is None else batch.column(column.name).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); download it again") from error
    return any(shown(value) for row in rows for value in (row or () if column.listed else (row,)))


def _holds_picture(value: Any) -> bool:
    if isinstance(value, dict):
        return _holds_picture(value.get("bytes")) or (value.get("bytes") is None and _named(value.get("path")))
    return isinstance(value, bytes) and is_picture(value)


def _named(value: Any) -> bool:
    return isinstance(value, str) and has_picture_name(value)
