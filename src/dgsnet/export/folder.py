"""Write an exported folder from the detector of a model folder."""

from __future__ import annotations

import shutil
import tempfile
from itertools import chain
from pathlib import Path
from typing import Literal

from dgsnet.artifacts import exported
from dgsnet.artifacts.card import exported_card
from dgsnet.artifacts.config import Origin
from dgsnet.artifacts.names import CARD, CONFIG, FORMAT, GRAPHS, OOD, VERIFIED
from dgsnet.artifacts.ood_file import save_ood
from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import sha256_file, write_json, write_text
from dgsnet.export import onnx_graph
from dgsnet.inference.detector import Detector
from dgsnet.runtimes import telemetry
from dgsnet.runtimes.providers import require

_ASIDE = ".export-"  # folder in the folder where the graph is written first

Format = Literal["onnx", "openvino"]


def export(source: Detector, out: Path, form: Format = "onnx") -> Path:
    """Write the model of a model folder as a folder that scores without torch: `out`, new, empty or of an earlier export.

    `config.json` comes last, so that a folder which has it is whole.

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
        save_ood(out, source.ood)
    origin = Origin(
        format=form,
        precision="fp32",
        opset=onnx_graph.OPSET,
        exporter=onnx_graph.EXPORTER,
        model=source.name,
        fingerprint=source.fingerprint,
        backbone=source.runtime.fingerprint,
        width=method.width,
        files=sums,
        versions=onnx_graph.versions(*["openvino"] * (form == "openvino")),
    )
    config = source.config.model_copy(update={"format": None, "exported_format": FORMAT, "export": origin})
    write_text(out / CARD, exported_card(config))
    write_json(out / CONFIG, config.as_json())
    return out


def _graph(source: Detector, folder: Path, form: Format) -> list[Path]:
    """Write the graph of a detector's method into a folder; return its files."""
    graph, weights = (folder / name for name in GRAPHS["onnx"])
    onnx_graph.write(onnx_graph.merged(source.method), source.config.preprocessing.size, graph)
    if form == "onnx":
        return [graph, weights]
    from dgsnet.runtimes.openvino import runtime  # noqa: PLC0415 - it needs an extra

    with telemetry.off():
        import openvino  # noqa: PLC0415
    ir, content = (folder / name for name in GRAPHS[form])
    openvino.save_model(runtime().read_model(graph), ir, compress_to_fp16=False)
    return [ir, content]
