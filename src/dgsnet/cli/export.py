"""`dgsnet export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dgsnet.artifacts.shipped import DEFAULT
from dgsnet.core.errors import DgsnetError

if TYPE_CHECKING:
    from dgsnet.data.dataset import Dataset
    from dgsnet.inference.detector import Detector


def export(
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the exported model.")] = None,
    model: Annotated[str, typer.Option("--model", help="Shipped model, model folder or hub id.")] = DEFAULT,
    format: Annotated[str, typer.Option("--format", help="`onnx` or `openvino`.")] = "onnx",  # noqa: A002 - the option's name
    precision: Annotated[str, typer.Option("--precision", help="`fp32`.")] = "fp32",
    data: Annotated[
        Path | None, typer.Option("--verify", metavar="DATA", help="Compare with torch on these images; exit 2 where logits differ.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --verify: images, spread evenly over DATA.")] = 100,
    weightless: Annotated[
        bool,
        typer.Option(
            "--weightless", help="Instead of --out: give the model folder itself a graph without weights, so that it scores without torch."
        ),
    ] = False,
) -> None:
    """Write a model as one graph that `detect --model` runs without torch."""
    if weightless and (out is not None or data is not None or format != "onnx"):
        raise DgsnetError("--weightless writes into the model folder: leave out --out, --verify and --format")
    if not weightless and out is None:
        raise DgsnetError("nowhere to export to: give --out FOLDER, or --weightless")
    if format not in ("onnx", "openvino"):
        raise DgsnetError(f"cannot export to the format {format!r}: expected onnx or openvino")
    if precision == "int8":
        raise DgsnetError("int8 is not kept: measured, it was not faster than fp32 and changed verdicts, see docs/export.md")
    if precision != "fp32":
        raise DgsnetError(f"cannot export with the precision {precision!r}: expected fp32")

    import dgsnet.export
    from dgsnet.data.dataset import load_dataset
    from dgsnet.inference.detector import Detector

    dataset = load_dataset(data, labelled=False) if data else None  # before the model is: a wrong path costs a second then
    source = Detector.from_pretrained(model, provider="torch")
    if out is None:
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise DgsnetError(f"{model} is no folder: --weightless writes into it, so give its path")
        plan = dgsnet.export.write_weightless(source, folder)
        typer.echo(f"{folder} scores without torch now: {len(plan.pieces)} tensors, {plan.size / 1e6:,.0f} MB once put together", err=True)
        return
    dgsnet.export.export(source, out, cast("dgsnet.export.Format", format))
    typer.echo(f"exported to {out}", err=True)
    if dataset is not None:
        _verify(source, out, dataset, limit)


def _verify(source: Detector, out: Path, dataset: Dataset, limit: int) -> None:
    import dgsnet.export
    from dgsnet.artifacts.exported import VERIFIED
    from dgsnet.core.files import write_json
    from dgsnet.inference.detector import Detector

    number = min(limit, len(dataset))
    samples = [dataset.samples[place * len(dataset) // number] for place in range(number)]
    found: dict[str, Any] = dgsnet.export.verify(source, Detector.from_pretrained(out), dataset, samples)
    write_json(out / VERIFIED, found)
    said = (
        f"{found['images']} images: logits differ by at most {found['max_logit_difference']:.1e}, "
        f"{found['verdict_flips']} verdicts differ, and {found['rows_that_differ']} rows in their warnings"
    )
    if not found["passed"]:
        raise DgsnetError(
            f"the exported model differs from torch by more than {found['tolerance']:g}: do not use it, see {out / VERIFIED}. {said}"
        )
    typer.echo(said, err=True)
    if found["unscored"]:
        typer.echo(f"{found['unscored']} images could not be scored", err=True)
        raise typer.Exit(1)
