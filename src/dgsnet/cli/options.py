"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsnet.core.errors import DgsnetError

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector
    from dgsnet.watermarks import Reader

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

Watermarks = Annotated[
    bool,
    typer.Option("--watermarks", help="--provenance, and marks in the pixels (Stable Diffusion, FLUX, NovelAI, ...): docs/watermarks.md."),
]
TrustMark = Annotated[
    Path | None, typer.Option("--trustmark", metavar="DIR", help="Folder of TrustMark's decoders, decoder_Q.onnx, ...; with --watermarks.")
]

Load = Callable[[str], "Detector"]
"""From a model's name to its detector, as the options above ask for it."""


def loader(device: str, provider: str | None, threads: int | None) -> Load:
    """Return what loads this command's models; torch, where a model needs it, is imported no sooner."""

    def load(model: str) -> Detector:
        from dgsnet.inference.detector import Detector

        return Detector.from_pretrained(model, device=device, provider=provider, threads=threads)

    return load


def watermark_reader(watermarks: bool, trustmark: Path | None) -> Reader | None:
    """Return what reads marks in pixels, as the options above ask for it; None where they do not.

    Raises:
        DgsnetError: `trustmark` is given and holds no decoder, or is given without `watermarks`.
    """
    if not watermarks:
        if trustmark:
            raise DgsnetError("--trustmark says where decoders of a mark lie: give --watermarks too")
        return None
    from dgsnet.watermarks import Reader

    return Reader.load(trustmark)
