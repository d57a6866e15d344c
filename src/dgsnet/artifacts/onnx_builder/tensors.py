"""Tensors of a model as its graph has them, the adapter merged, in numpy.

The bits do not depend on the machine: products are taken number by number in float64 and rounded once, where BLAS would add up in an order
that differs between processors. So the sha256 of what is put together is known beforehand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from dgsnet.artifacts.names import ADAPTER, ADAPTER_CONFIG, HEADS
from dgsnet.core.errors import ModelFolderError, WeightsError
from dgsnet.weights.tensors import Tensor, read_header, weight_files

Floats = NDArray[np.float32]

BACKBONE = "backbone."
"""Prefix of the names of the backbone's tensors; the others are those of the heads."""

_PEFT = "base_model.model."


class MergedTensors:
    """Backbone, adapter and heads of a model folder."""

    def __init__(self, folder: Path, tower: Path) -> None:
        """Find what there is in the model folder and in `tower`, the folder of its backbone.

        Raises:
            ModelFolderError: heads or adapter are damaged, or the adapter is of a kind that is not merged here.
            WeightsError: the backbone is damaged.
        """
        self._folder, self._tower = folder, tower
        self._backbone: dict[str, Tensor] = {tensor.name: tensor for file in weight_files(tower) for tensor in read_header(file)}
        self._heads = _load(folder / HEADS)
        self._adapter = _load(folder / ADAPTER) if (folder / ADAPTER).is_file() else {}
        self._scaling = _scaling(folder / ADAPTER_CONFIG) if self._adapter else 0.0

    def tensor(self, name: str) -> Floats:
        """Return one tensor, float32, in the layout torch has it.

        Raises:
            ModelFolderError: there is none of this name in the heads, or the adapter does not fit.
            WeightsError: there is none in the backbone, or it is not of float32.
        """
        if not name.startswith(BACKBONE):
            if name not in self._heads:
                raise ModelFolderError(f"{self._folder / HEADS} has no tensor {name}, which the graph of the model reads")
            return self._heads[name].astype(np.float32)
        name = name.removeprefix(BACKBONE)
        found = self._backbone.get(name)
        if found is None or found.dtype != "F32":
            raise WeightsError(f"{self._tower}: expected the tensor {name} of F32, but got {found.dtype if found else 'none'}")
        with found.file.open("rb") as stream:
            stream.seek(found.offset)
            weight = np.frombuffer(stream.read(found.size), "<f4").reshape(found.shape)
        return self._merged(name.removesuffix(".weight"), weight)

    def _merged(self, module: str, weight: Floats) -> Floats:
        down = self._adapter.get(f"{_PEFT}{module}.lora_A.weight")
        up = self._adapter.get(f"{_PEFT}{module}.lora_B.weight")
        if down is None or up is None:
            return weight
        if (len(up), down.shape[1]) != weight.shape or up.shape[1] != len(down):
            raise ModelFolderError(f"{self._folder / ADAPTER}: {module} is {weight.shape}, its update {up.shape} times {down.shape}")
        update = np.zeros(weight.shape)
        for column, row in zip(up.T.astype(np.float64), down.astype(np.float64), strict=True):
            update += column[:, None] * row
        return (weight + self._scaling * update).astype(np.float32)


def _load(file: Path) -> dict[str, NDArray[np.float32]]:
    try:
        return dict(load_file(file))
    except Exception as error:  # safetensors raises a class of its own and, on some damage, plain ones
        raise ModelFolderError(f"{file} is missing or damaged: {error}") from error


def _scaling(file: Path) -> float:
    """Return the factor by which PEFT multiplies the low-rank product."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        unlike = [name for name in ("use_dora", "fan_in_fan_out", "lora_bias", "rank_pattern", "alpha_pattern") if settings.get(name)]
        if unlike or settings.get("bias", "none") != "none":
            raise ModelFolderError(f"{file}: only plain LoRA can be merged without torch, not {', '.join(unlike) or 'biases'}")
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
        return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFolderError(f"{file} is missing or damaged: {error!r}") from error
