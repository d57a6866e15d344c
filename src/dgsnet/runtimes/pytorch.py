"""The runtime of a model folder: its method, in torch, on any device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from dgsnet.model.methods import Method
from dgsnet.runtimes.base import Floats, Runtime


class PyTorchRuntime(Runtime):
    """Runs a method where it lives."""

    def __init__(self, method: Method) -> None:
        self._method, self.fingerprint = method, method.backbone.fingerprint

    @property
    @override
    def batches(self) -> bool:
        return self._method.backbone.device.type != "cpu"

    @property
    @override
    def method(self) -> Method:
        return self._method

    @torch.inference_mode()
    @override
    def run(self, views: NDArray[np.float32]) -> tuple[Floats, Floats]:
        read = self._method.embed(torch.from_numpy(views).to(self._method.backbone.device))
        return read.double().cpu().numpy(), self._method.logits(read).double().cpu().numpy()
