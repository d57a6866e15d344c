"""Models that ship with the package, each a model folder (`dgsnet.artifacts.model_folder`) beside this file. Read, never written to."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "dgsnet-b16"


def find(name: str) -> Path | None:
    """Return the folder of the shipped model of this name; None where there is none."""
    return next((folder for folder in _folders() if folder.name == name), None)


def available() -> tuple[str, ...]:
    """Return the names of the shipped models."""
    return tuple(folder.name for folder in _folders())


def _folders() -> list[Path]:
    return sorted(file.parent for file in Path(__file__).parent.glob("*/config.json"))
