"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector

Device = Annotated[str, typer.Option("--device", help="torch device; others than `cpu` ask for torch.")]
TorchDevice = Annotated[str, typer.Option("--device", help="torch device.")]
Provider = Annotated[str | None, typer.Option("--provider", help="What runs the model: `cpu`, `cuda`, `openvino`, `coreml`, or `torch`.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads that compute one image; not of torch. Default: all cores.")]

Load = Callable[[str], "Detector"]
"""From a model's name to its detector, as the options above ask for it."""


def loader(device: str, provider: str | None, threads: int | None) -> Load:
    """How this command loads a model; torch, where a model needs it, is imported no sooner."""

    def load(model: str) -> Detector:
        from dgsnet.inference.detector import Detector

        return Detector.from_pretrained(model, device=device, provider=provider, threads=threads)

    return load
