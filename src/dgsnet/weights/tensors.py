"""Tensors of a folder's safetensors, whatever files they are spread over."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsnet.core.errors import WeightsError

VISION_PREFIXES = ("vision_model.", "visual_projection.")
_HEADER_LIMIT = 100_000_000  # the format's own limit
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Tensor:
    """One tensor in a safetensors file, not read yet."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    size: int


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors that make up the model in `folder`: one file, or the shards its index names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{index}: not an index of safetensors shards ({error}); pull the weights again") from error
        return [folder / name for name in sorted(names)]
    raise WeightsError(f"{folder}: holds no model.safetensors; give the folder of a model saved in the safetensors format")


def read_header(file: Path) -> list[Tensor]:
    """Read name, type, shape and place of every tensor in a safetensors file.

    The header is read here rather than through the safetensors package so that tensors of any type, bfloat16 too, can be hashed as the
    bytes they are, without numpy or torch knowing the type.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= min(_HEADER_LIMIT, size - 8):
                raise ValueError("no safetensors header")
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = []
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= size - 8 - length:
                raise ValueError(f"{name} reaches beyond the end of the file")
            tensors.append(Tensor(name, entry["dtype"], tuple(entry["shape"]), file, 8 + length + start, end - start))
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}); pull the weights again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file}: not a whole safetensors file ({error}); pull the weights again") from error
    return tensors


def folder_fingerprint(path: Path) -> str:
    """Hash the tensors in `path`, sha256 of name, type, shape and bytes in order of name; files and metadata do not matter.

    Only image tensors count where there are any, so a whole CLIP and its image tower alone agree. Position ids do not count: they are a
    buffer that some versions of transformers save and others do not.
    """
    tensors = [tensor for file in weight_files(path) for tensor in read_header(file) if not tensor.name.endswith(".position_ids")]
    vision = [tensor for tensor in tensors if tensor.name.startswith(VISION_PREFIXES)]
    digest = hashlib.sha256()
    for tensor in sorted(vision or tensors, key=lambda tensor: tensor.name):
        digest.update(json.dumps([tensor.name, tensor.dtype, tensor.shape]).encode())
        with tensor.file.open("rb") as stream:
            stream.seek(tensor.offset)
            left = tensor.size
            while left:
                chunk = stream.read(min(left, _CHUNK))
                if not chunk:
                    raise WeightsError(f"{tensor.file}: ends inside {tensor.name}; pull the weights again")
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()
