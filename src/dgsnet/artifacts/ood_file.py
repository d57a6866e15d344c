"""`domain.safetensors`: the training photographs as a model reads them (`dgsnet.model.ood`). No torch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from dgsnet.artifacts.names import OOD
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.files import replacing
from dgsnet.model.ood import OodDetector


def save_ood(folder: Path, ood: OodDetector) -> None:
    """Write the out-of-distribution detector of a model on disk."""
    with replacing(folder / OOD) as aside:
        save_file({name: np.array(value, np.float32) for name, value in vars(ood).items()}, aside, metadata={"format": "pt"})


def load_ood(folder: Path, width: int) -> OodDetector | None:
    """Read the out-of-distribution detector of a model on disk; None where it has none.

    Args:
        folder: model folder or exported folder.
        width: D, numbers that the model's head reads.

    Raises:
        ModelFolderError: the file is damaged, or of a model of another width.
    """
    file = folder / OOD
    if not file.is_file():
        return None
    try:
        arrays = {name: np.asarray(value, np.float64) for name, value in load_file(file).items()}
    except Exception as error:  # safetensors raises a class of its own and, on some damage, plain ones
        raise ModelFolderError(f"{file} is damaged: {error}") from error
    wanted = {field.name for field in fields(OodDetector)}
    if arrays.keys() != wanted or arrays["mean"].shape != (width,):
        raise ModelFolderError(
            f"{file}: expected {', '.join(sorted(wanted))} of width {width}; copy the file from the model's origin again"
        )
    rest, bound = float(arrays.pop("rest")), float(arrays.pop("bound"))
    return OodDetector(rest=rest, bound=bound, **arrays)
