"""Finds a model by the name a user gives: shipped, a folder, or on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from dgsnet.artifacts import shipped
from dgsnet.core.errors import ModelFolderError, first_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w./-]*)?")


def locate(name: str | Path) -> Path:
    """Return the folder of a model, downloaded first where it is on the hub.

    Args:
        name: a shipped model, a folder, or a hub id ``owner/name[@revision]``; a `Path` is always a folder.

    Raises:
        ModelFolderError: there is no such model.
        MissingPackageError: the hub's client is not installed.
    """
    if isinstance(name, str) and (ours := shipped.find(name)) is not None:
        return ours
    folder, name = Path(name).expanduser(), str(name)
    if folder.is_dir():
        return folder
    # Where the part before the slash is a folder here, a mistyped path is more likely than a hub id.
    if _HUB_ID.fullmatch(name) and not folder.exists() and not folder.parent.is_dir():
        return _from_hub(name)
    why = (
        "it is a file, not a folder"
        if folder.exists()
        else f"there is no such folder, and no model ships under that name (these do: {', '.join(shipped.available())})"
    )
    raise ModelFolderError(
        f"no model {name!r}: {why}. Train one (`dgsnet train --out FOLDER`), or give a model folder or a hub id owner/name"
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for models on the hub

    repository, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.onnx", "*.onnx.data", "*.xml", "*.bin", "README.md"]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # the client's own errors, those of its HTTP library (which one differs by version), the system's
        raise ModelFolderError(f"no model {name!r}: there is no such folder, and the hub did not give one ({first_line(error)})") from error
