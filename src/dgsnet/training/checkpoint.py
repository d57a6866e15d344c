"""Checkpoints without pickle: everything that changes during training, in one safetensors file.

There is no random state to keep, since every step seeds its own (`dgsnet.training.loop`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dgsnet.core.errors import TrainingError
from dgsnet.core.files import replacing
from dgsnet.model.methods import Stage


@dataclass(frozen=True)
class Position:
    """Progress of a run: `step` optimiser steps of `stage` are done."""

    stage: Stage
    step: int
    run: str
    """Fingerprint of recipe and data: a checkpoint continues the run it came from and no other."""


def save_checkpoint(file: Path, position: Position, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Write weights and optimiser state, atomically."""
    state = optimizer.state_dict()["state"]
    tensors = {f"weights.{name}": tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    tensors |= {
        f"optimizer.{number}.{name}": tensor.detach().cpu().contiguous()
        for number, slots in state.items()
        for name, tensor in slots.items()
    }
    with replacing(file) as aside:
        save_file(tensors, aside, metadata={"position": json.dumps(vars(position))})


def load_position(file: Path) -> Position:
    """Return the position of a checkpoint.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        with safe_open(file, "pt") as tensors:
            return Position(**json.loads(tensors.metadata()["position"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the checkpoint {file} cannot be read ({error}): delete it to start the run again") from error


def load_weights(file: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name."""
    return _load(file, "weights.")


def load_optimizer(file: Path, optimizer: torch.optim.Optimizer) -> None:
    """Put the state of a checkpoint's optimiser into `optimizer`, which must train the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _load(file, "optimizer.").items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _load(file: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(file, "pt") as tensors:
        return {key.removeprefix(prefix): tensors.get_tensor(key) for key in tensors.keys() if key.startswith(prefix)}  # noqa: SIM118
