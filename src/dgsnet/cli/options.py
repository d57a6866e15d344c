"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsnet.artifacts.calibration import OperatingPoint
from dgsnet.core.errors import DgsnetError

if TYPE_CHECKING:
    from dgsnet.images.decode import DecodePolicy
    from dgsnet.inference.asked import Asked
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

Point = Annotated[
    OperatingPoint,
    typer.Option(
        "--operating-point", help="Thresholds: cautious errs and answers less, sensitive finds and errs more. The card has figures."
    ),
]

Provenance = Annotated[
    bool | None,
    typer.Option("--provenance/--no-provenance", help="Say what the files say of their origin (C2PA, XMP, EXIF, ...); changes no score."),
]
TrustAnchors = Annotated[
    Path | None,
    typer.Option(
        "--trust-anchors", metavar="FILE|DIR", help="Certificates (PEM) of authorities whose C2PA signers are trusted: docs/TRUST.md."
    ),
]
Marks = Annotated[
    Path | None,
    typer.Option("--marks", metavar="FILE", help="More marks of generators, .toml or .yaml: docs/provenance.md."),
]
Watermarks = Annotated[
    bool,
    typer.Option("--watermarks", help="--provenance, and marks in the pixels (Stable Diffusion, FLUX, NovelAI, ...): docs/watermarks.md."),
]
TrustMark = Annotated[
    Path | None, typer.Option("--trustmark", metavar="DIR", help="Folder of TrustMark's decoders, decoder_Q.onnx, ...; with --watermarks.")
]
Steadiness = Annotated[
    bool, typer.Option("--steadiness", help="Warn `unsteady` where a compressed or smaller copy would get another verdict; 2 more views.")
]

Load = Callable[[str], "Detector"]
"""From a model's name to its detector, as the options above ask for it."""


def decode_policy(max_pixels: int | None, max_bytes: int | None) -> DecodePolicy:
    """Return the limits of decoding that the options ask for; the longest side grows with the pixels."""
    from dgsnet.images.decode import DecodePolicy

    usual = DecodePolicy()
    pixels = max_pixels or usual.max_pixels
    return DecodePolicy(max_pixels=pixels, max_bytes=max_bytes or usual.max_bytes, max_side=max(usual.max_side, pixels // 4096))


def loader(
    device: str, provider: str | None, threads: int | None, point: OperatingPoint = "balanced", policy: DecodePolicy | None = None
) -> Load:
    """Return what loads this command's models; torch, where a model needs it, is imported no sooner."""

    def load(model: str) -> Detector:
        from dgsnet.inference.detector import Detector

        return Detector.from_pretrained(model, device=device, provider=provider, threads=threads, policy=policy, operating_point=point)

    return load


def asked(
    *,
    provenance: bool | None = None,
    unasked: bool = False,
    trust_anchors: Path | None = None,
    marks: Path | None = None,
    watermarks: bool = False,
    trustmark: Path | None = None,
    steadiness: bool = False,
) -> Asked:
    """Return what the options above ask of each picture beside its score.

    Args:
        provenance: as asked for; None: nobody said, and what else is asked decides, or `unasked`.

    Raises:
        DgsnetError: `provenance` is off, and options need it; `trustmark` holds no decoder, or is given without `watermarks`.
        TrustError, MarksError: the trust anchors or the marks cannot be read.
        MissingPackageError: the marks are YAML, and PyYAML is not installed.
    """
    from dgsnet.inference.asked import Asked
    from dgsnet.provenance import TrustAnchors, load_marks

    needing = [name for name, given in {"--trust-anchors": trust_anchors, "--marks": marks, "--watermarks": watermarks}.items() if given]
    if provenance is False and needing:
        raise DgsnetError(f"--no-provenance leaves {' and '.join(needing)} nothing to do: leave one of them out")
    if trustmark and not watermarks:
        raise DgsnetError("--trustmark says where decoders of a mark lie: give --watermarks too")
    found = Asked(
        provenance=bool(needing) or (unasked if provenance is None else provenance),
        anchors=TrustAnchors.load(trust_anchors) if trust_anchors else None,
        marks=load_marks(marks) if marks else None,
        watermarks=watermarks,
        trustmark=trustmark,
        steadiness=steadiness,
    )
    if found.watermarks:
        _ = found.reader  # so that what is wrong with it is said before a model is loaded
    return found
