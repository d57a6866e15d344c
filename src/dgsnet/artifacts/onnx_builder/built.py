"""Built models in the cache: the graph of a model folder with its weights, put together once, opened as it lies afterwards.

Each has a folder of its own below ``assembled``, named by the model and by what it consists of, with a record of sizes, hashes and the time
the files were last written. While sizes and times are those of the record, the files are taken as they are: hashing 345 MB takes half a
second, a third of a start. Where they are not, the hashes decide. `dgsnet weights verify` always hashes.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsnet.artifacts.names import GRAPHS
from dgsnet.artifacts.onnx_builder.weight_map import WeightMap
from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.files import changed_files, write_json

RECORD = "dgsnet_assembled.json"


@dataclass(frozen=True)
class BuiltModel:
    """One folder of the cache."""

    name: str
    folder: Path
    size: int


def list_built() -> list[BuiltModel]:
    """List all that lie in the cache, by name."""
    root = built_dir()
    found = sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith(".")) if root.is_dir() else []
    return [BuiltModel(one.name, one, sum(file.stat().st_size for file in one.iterdir())) for one in found]


def verify(folder: Path) -> list[str]:
    """Hash the files of a built model again; return what is wrong, one sentence each, or nothing."""
    files = _read_record(folder)
    if files is None:
        return [f"{folder}: there is no record of what it should hold"]
    return changed_files(folder, {name: facts["sha256"] for name, facts in files.items()})


def built_dir() -> Path:
    """Return the folder of all built models."""
    return cache_dir() / "assembled"


def is_whole(target: Path, weight_map: WeightMap) -> bool:
    """Tell whether a folder of the cache holds what a weight map says, by its record; see the module."""
    files = _read_record(target)
    if files is None or {name: facts["sha256"] for name, facts in files.items()} != _sums(weight_map):
        return False
    try:
        if all(_stamp(target / name) == (facts["size"], facts["mtime_ns"]) for name, facts in files.items()):
            return True
    except OSError:  # a file is missing
        return False
    if verify(target):
        return False
    with suppress(OSError):  # copied, and to where it cannot be written: then it is hashed each time
        write_record(target, weight_map)
    return True


def _sums(weight_map: WeightMap) -> dict[str, str]:
    return dict(zip(GRAPHS["onnx"], (weight_map.graph, weight_map.weights), strict=True))


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def write_record(folder: Path, weight_map: WeightMap) -> None:
    """Note sizes, hashes and times of the files of a built model, which are those that its weight map names."""
    for name in GRAPHS["onnx"]:
        seconds = int((folder / name).stat().st_mtime)  # whole ones: that is what archives and layers of images keep of a time
        os.utime(folder / name, (seconds, seconds))
    stamps = {name: _stamp(folder / name) for name in GRAPHS["onnx"]}
    files = {name: {"sha256": sha, "size": stamps[name][0], "mtime_ns": stamps[name][1]} for name, sha in _sums(weight_map).items()}
    write_json(folder / RECORD, {"files": files})


def _read_record(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Return facts by file name; None where there is no whole record."""
    try:
        files: dict[str, dict[str, Any]] = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return files if all({"sha256", "size", "mtime_ns"} == facts.keys() for facts in files.values()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
