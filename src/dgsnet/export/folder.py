"""Write an exported folder from the detector of a model folder."""

from __future__ import annotations

import shutil
import tempfile
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Literal

from dgsnet import __version__
from dgsnet.artifacts import exported, model_folder
from dgsnet.artifacts.exported import CARD, CONFIG, GRAPHS, OOD, VERIFIED, ExportedConfig, Origin
from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import sha256_file, write_json, write_text
from dgsnet.export import onnx_graph
from dgsnet.inference.detector import Detector
from dgsnet.runtimes.providers import require

_ASIDE = ".export-"  # folder in the folder where the graph is written first

_RUNTIMES = {"onnx": "ONNX Runtime or OpenVINO", "openvino": "OpenVINO"}

Format = Literal["onnx", "openvino"]


def export(source: Detector, out: Path, form: Format = "onnx") -> Path:
    """Write a model as a folder that scores without torch; `config.json` comes last, so that a folder which has it is whole.

    Args:
        source: detector of a model folder.
        out: the folder, new, empty or of an earlier export.
        form: format of the graph.

    Raises:
        DgsnetError: `out` holds something else, `source` is exported itself, or what makes the format is not installed.
    """
    method = source.method
    if form == "openvino":
        require("openvino")
    out.mkdir(parents=True, exist_ok=True)
    for killed in out.glob(f"{_ASIDE}*"):
        shutil.rmtree(killed)
    if any(out.iterdir()) and not exported.is_exported(out):
        raise DgsnetError(f"cannot export to {out}: it is not empty, and what it holds is no exported model; give another folder")
    with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=out) as aside:
        files = _graph(source, Path(aside), form)
        sums = {file.name: sha256_file(file) for file in files}
        for name in (CONFIG, OOD, VERIFIED, *chain(*GRAPHS.values())):
            (out / name).unlink(missing_ok=True)
        for file in files:
            file.replace(out / file.name)
    if source.ood is not None:
        model_folder.save_ood(out, source.ood)
    origin = Origin(
        format=form,
        precision="fp32",
        opset=onnx_graph.OPSET,
        exporter=onnx_graph.EXPORTER,
        model=source.name,
        fingerprint=source.fingerprint,
        backbone=source.runtime.fingerprint,
        width=method.backbone.width,
        files=sums,
        versions=_versions(form),
    )
    settings = source.config.model_dump(mode="json", exclude={"format"})
    config = ExportedConfig.model_validate(settings | {"export": origin.model_dump()})
    write_text(out / CARD, _card(config))
    write_json(out / CONFIG, config.model_dump(mode="json"))
    return out


def _graph(source: Detector, folder: Path, form: Format) -> list[Path]:
    """Write the graph of a detector's method into a folder; return its files."""
    graph, weights = (folder / name for name in GRAPHS["onnx"])
    onnx_graph.write(onnx_graph.merged(source.method), source.config.preprocessing.size, graph)
    if form == "onnx":
        return [graph, weights]
    from dgsnet.export import openvino_ir  # noqa: PLC0415 - it needs an extra

    ir, content = (folder / name for name in GRAPHS[form])
    openvino_ir.convert(graph, ir)
    return [ir, content]


def _versions(form: Format) -> dict[str, str]:
    used = ["torch", "onnx", "onnxscript", *["openvino"] * (form == "openvino")]
    return {"dgsnet": __version__} | {name: metadata.version(name) for name in used}


def _card(config: ExportedConfig) -> str:
    origin = config.export
    files = ", ".join(f"`{name}`" for name in origin.files)
    return f"""# dgsnet model, exported: {origin.model}

Tells photographs from AI-generated images. A score is a signal, not proof. This folder scores without torch, on {_RUNTIMES[origin.format]}.

| | |
|---|---|
| exported from | {origin.model} (fingerprint {origin.fingerprint[:16]}), method {config.method} |
| backbone in the graph | {config.backbone["name"]} (fingerprint {origin.backbone[:16]}) |
| graph | {files}: {origin.precision}, opset {origin.opset}, by {origin.exporter} of torch {origin.versions["torch"]} |
| input | `pixels` (B, 3, {config.preprocessing.size}, {config.preprocessing.size}) float32, see `preprocessing` in `{CONFIG}` |
| outputs | `read` (B, {origin.width}), what the head reads; `logit` (B,), of one view: see `quadrants` in `preprocessing` |

Load it with `Detector.from_pretrained("path/to/this/folder")` or `dgsnet detect --model path/to/this/folder photo.jpg`. It scores and does
nothing else: heatmaps, calibration and diagnosis take the model folder. After calibrating that again, export it again. What the model was
trained on and how its scores are to be read is on the card of the model folder. The licence of the backbone holds for the graph too, which
contains its weights.
"""
