"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dgsnet.images.decode import DecodePolicy
    from dgsnet.inference.detector import Detector

Model = Annotated[str, typer.Option("--model", help="Shipped model, model folder or hub id.")]
OptionalModel = Annotated[str | None, typer.Option("--model", help="Shipped model, model folder or hub id.")]
ModelOut = Annotated[Path, typer.Option("--out", help="The model folder to write.")]
Data = Annotated[Path, typer.Option("--data", help="Folder or manifest of labelled images.")]
OptionalData = Annotated[Path | None, typer.Option("--data", help="Folder or manifest of labelled images.")]
DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Folder or manifest of labelled images.")]
TestSplit = Annotated[str | None, typer.Option("--split", help="Split to score. Default: `test` where the data names one, else all.")]
Baseline = Annotated[str | None, typer.Option("--baseline", help="With --compare: whom to compare with. Default: the first.")]
Resamples = Annotated[int, typer.Option("--resamples", min=1, help="Bootstrap resamples.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images a GPU gets at once; changes no score on the CPU.")]
Device = Annotated[str, typer.Option("--device", help="torch device; others than `cpu` ask for torch.")]
TorchDevice = Annotated[str, typer.Option("--device", help="torch device.")]
Provider = Annotated[str | None, typer.Option("--provider", help="What runs the model: `cpu`, `cuda`, `openvino`, `coreml`, or `torch`.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads that compute one image; not of torch. Default: all cores.")]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, help="A picture with more pixels is not decoded. Default: 67,108,864.", show_default=False),
]
MaxBytes = Annotated[
    int | None, typer.Option("--max-bytes", min=1, help="A file with more bytes is not decoded. Default: 67,108,864.", show_default=False)
]

Load = Callable[[str], "Detector"]
"""From a model's name to its detector, as the options above ask for it."""


def decode_policy(max_pixels: int | None, max_bytes: int | None) -> DecodePolicy:
    """Return the limits of decoding that the options ask for; the longest side grows with the pixels."""
    from dgsnet.images.decode import DecodePolicy

    usual = DecodePolicy()
    pixels = max_pixels or usual.max_pixels
    return DecodePolicy(max_pixels=pixels, max_bytes=max_bytes or usual.max_bytes, max_side=max(usual.max_side, pixels // 4096))


def loader(device: str, provider: str | None, threads: int | None, policy: DecodePolicy | None = None) -> Load:
    """Return what loads this command's models; torch, where a model needs it, is imported no sooner."""

    def load(model: str) -> Detector:
        from dgsnet.inference.detector import Detector

        return Detector.from_pretrained(model, device=device, provider=provider, threads=threads, policy=policy)

    return load
