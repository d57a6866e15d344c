"""Writes an exported folder from the detector of a model folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnx
import torch

from dgsnet import __version__, exported_folder, model_folder
from dgsnet.detector import Detector
from dgsnet.errors import DgsnetError
from dgsnet.exported_folder import CARD, CONFIG, DOMAIN, GRAPHS, VERIFIED, ExportedConfig, Origin
from dgsnet.exporting import onnx_graph
from dgsnet.files import sha256_file, write_json, write_text

_ASIDE = ".export-"  # folder in the folder where the graph is written first


def export(source: Detector, out: Path) -> Path:
    """Write a model as a folder that scores without torch; `config.json` comes last, so that a folder which has it is whole.

    Args:
        source: detector of a model folder.
        out: the folder, new, empty or of an earlier export.

    Raises:
        DgsnetError: `out` holds something else, or `source` is exported itself.
    """
    method = source.method
    out.mkdir(parents=True, exist_ok=True)
    for killed in out.glob(f"{_ASIDE}*"):
        shutil.rmtree(killed)
    if any(out.iterdir()) and not exported_folder.is_exported(out):
        raise DgsnetError(f"cannot export to {out}: it is not empty, and what it holds is no exported model; give another folder")
    for name in (CONFIG, DOMAIN, VERIFIED):
        (out / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=out) as aside:
        graph, weights = (Path(aside) / name for name in GRAPHS["onnx"])
        onnx_graph.write(method, source.config.preprocessing.size, graph, weights)
        sums = {file.name: sha256_file(file) for file in (graph, weights)}
        for file in (weights, graph):
            file.replace(out / file.name)
    if source.domain is not None:
        model_folder.save_domain(out, source.domain)
    origin = Origin(
        opset=onnx_graph.OPSET,
        exporter=onnx_graph.EXPORTER,
        model=source.name,
        fingerprint=source.fingerprint,
        backbone=source.engine.fingerprint,
        width=method.backbone.width,
        files=sums,
        versions={"dgsnet": __version__, "torch": torch.__version__, "onnx": onnx.__version__},
    )
    known = source.config.model_dump(mode="json", exclude={"format"})
    config = ExportedConfig.model_validate(known | {"export": origin.model_dump()})
    write_text(out / CARD, _card(config))
    write_json(out / CONFIG, config.model_dump(mode="json"))
    return out


def _card(config: ExportedConfig) -> str:
    origin = config.export
    files = ", ".join(f"`{name}`" for name in origin.files)
    return f"""# dgsnet model, exported: {origin.model}

Tells photographs from AI-generated images. A score is a signal, not proof. This folder scores without torch, on ONNX Runtime.

| | |
|---|---|
| exported from | {origin.model} (fingerprint {origin.fingerprint[:16]}), method {config.method} |
| backbone in the graph | {config.backbone["name"]} (fingerprint {origin.backbone[:16]}) |
| graph | {files}: {origin.precision}, opset {origin.opset}, by {origin.exporter} of torch {origin.versions["torch"]} |
| input | `pixels` (B, 3, {config.preprocessing.size}, {config.preprocessing.size}) float32, see `preprocessing` in `{CONFIG}` |
| outputs | `read` (B, {origin.width}), what the head reads; `logit` (B,) |

Load it with `Detector.from_pretrained("path/to/this/folder")` or `dgsnet detect --model path/to/this/folder photo.jpg`. It scores and does
nothing else: heatmaps, calibration and diagnosis take the model folder. After calibrating that again, export it again. What the model was
trained on and how its scores are to be read is on the card of the model folder. The licence of the backbone holds for the graph too, which
contains its weights.
"""
