"""Reads `domain.safetensors`, what the training photographs look like to a model (`dgsnet.model.ood`). No torch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from dgsnet.core.errors import ModelFolderError
from dgsnet.model.ood import OodDetector


def load_ood(file: Path, width: int) -> OodDetector | None:
    """Read a domain; None where the model has none.

    Args:
        file: `domain.safetensors` of a folder.
        width: of what the model's head reads.

    Raises:
        ModelFolderError: the file is damaged, or of a model of another width.
    """
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
