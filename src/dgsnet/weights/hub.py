"""Weights from the Hugging Face hub: one commit, safetensors only, checked against the hub's own sha256."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dgsnet.core.errors import UnreachableError, WeightsError
from dgsnet.core.files import sha256_file
from dgsnet.weights.registry import HubSource


def fetch_snapshot(source: HubSource, downloads: Path, *, progress: bool = True) -> tuple[Path, str]:
    """Download the model into a folder in `downloads`; return it and the commit. A download that broke off is continued."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - heavy

    commit, files, hashes = _describe(source)
    folder = downloads / f"{source.repo.replace('/', '--')}@{commit}"
    try:
        with _progress_bars(shown=progress and sys.stderr.isatty()):
            snapshot_download(source.repo, revision=commit, allow_patterns=files, local_dir=folder)
    except _hub_errors() as error:
        raise _explained(source, error) from error
    for name, expected in hashes.items():
        if (found := sha256_file(folder / name)) != expected:
            (folder / name).unlink()
            raise WeightsError(f"{folder / name}: has sha256 {found}, the hub states {expected}; it was discarded, pull again")
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub client's notes on the download
    return folder, commit


def choose_files(names: list[str], source: HubSource) -> list[str]:
    """Choose the model's safetensors at the top of the repository, and all settings and vocabularies; never a pickle."""
    weights = [name for name in names if name == "model.safetensors"]
    weights = weights or [name for name in names if PurePosixPath(name).match("model-*-of-*.safetensors") and "/" not in name]
    if not weights:
        raise WeightsError(f"{source}: this revision has no model.safetensors, and dgsnet loads no pickles; name a revision that has one")
    return sorted(weights + [name for name in names if PurePosixPath(name).suffix in (".json", ".txt")])


def _describe(source: HubSource) -> tuple[str, list[str], dict[str, str]]:
    """Return a repository's commit, the files to fetch of it, and the sha256 that the hub states of each large one."""
    from huggingface_hub import HfApi  # noqa: PLC0415 - heavy

    try:
        info = HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
    except _hub_errors() as error:
        raise _explained(source, error) from error
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    files = choose_files(list(siblings), source)
    hashes = {name: lfs.sha256 for name in files if (lfs := siblings[name].lfs) is not None}
    return info.sha or source.revision, files, hashes


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the hub client raises when it is offline, refused, or cannot find something."""
    from huggingface_hub import errors  # noqa: PLC0415

    # A lost connection surfaces as an error of the client's HTTP library. Which library differs between versions of the client, but its
    # error is always a base of the client's own.
    xet = getattr(errors, "XetDownloadError", OSError)  # not in early versions
    return (*errors.HfHubHTTPError.__bases__, errors.HFValidationError, xet, OSError)


def _explained(source: HubSource, error: Exception) -> WeightsError:
    from huggingface_hub import errors  # noqa: PLC0415

    lines = (str(error).strip() or type(error).__name__).splitlines()
    if isinstance(error, (errors.HfHubHTTPError, errors.HFValidationError)):  # the hub answered, or was not asked
        reason = " ".join(line.strip() for line in lines if line.strip())
        return WeightsError(f"{source}: refused ({reason}); check the name and revision, or log in to the hub")
    return UnreachableError(f"{source}: the hub cannot be reached ({lines[0]})")


@contextmanager
def _progress_bars(*, shown: bool) -> Iterator[None]:
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # noqa: PLC0415
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    silence = not shown and not are_progress_bars_disabled()
    if silence:
        disable_progress_bars()
    try:
        yield
    finally:
        if silence:
            enable_progress_bars()
