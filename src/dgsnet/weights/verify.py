"""Comparison of pulled weights with their records: quickly by size, or in full by hash."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dgsnet.core.errors import WeightsError
from dgsnet.core.files import changed_files
from dgsnet.weights.cache import RECORD, Record, folder_of, read_record
from dgsnet.weights.registry import KNOWN, find
from dgsnet.weights.tensors import folder_fingerprint

State = Literal["absent", "present", "damaged"]


def verify(name: str) -> list[str]:
    """Hash the files of pulled weights again; return what is wrong, one sentence each, or nothing."""
    path = Path(name).expanduser()
    folder = path if name not in KNOWN and (path / RECORD).is_file() else folder_of(find(name))
    if not folder.exists():
        raise WeightsError(f"{name} is not in the cache ({folder}); run `dgsnet weights pull {name}`")
    return _problems(folder)


def missing_or_resized(folder: Path, record: Record) -> list[str]:
    """Name the files that are not there or not of their size: the quick check, without hashing."""
    problems = []
    for name, facts in record.files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing")
        elif (size := file.stat().st_size) != facts["size"]:
            problems.append(f"{file}: has {size} bytes, expected {facts['size']}")
    return problems


def state_of(folder: Path) -> State:
    """Say if the folder is there and looks whole, by the quick check."""
    if not folder.exists():
        return "absent"
    try:
        return "damaged" if missing_or_resized(folder, read_record(folder)) else "present"
    except WeightsError:  # no record to check against: the state says so, `pull` and `verify` say why
        return "damaged"


def _problems(folder: Path) -> list[str]:
    """Hash every file again and name those that changed; empty when all is well."""
    record = read_record(folder)
    pinned = KNOWN[record.name].fingerprint if record.name in KNOWN else None
    if pinned not in (None, record.fingerprint):
        return [f"{folder / RECORD}: states fingerprint {record.fingerprint}, expected {pinned}"]
    problems = missing_or_resized(folder, record)
    if problems:
        return problems
    problems = changed_files(folder, {name: facts["sha256"] for name, facts in record.files.items()})
    if not problems and (found := folder_fingerprint(folder)) != record.fingerprint:
        problems.append(f"{folder}: its tensors have fingerprint {found}, expected {record.fingerprint}")
    return problems
