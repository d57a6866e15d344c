"""Convert ONNX graphs to OpenVINO's IR."""

from __future__ import annotations

from pathlib import Path

from dgsnet.runtimes import telemetry
from dgsnet.runtimes.openvino import runtime

with telemetry.off():
    import openvino


def convert(graph: Path, ir: Path) -> None:
    """Write an ONNX graph as an IR, fp32 as it is.

    Args:
        graph: `.onnx` file.
        ir: `.xml` file; the weights go beside it, into a `.bin` file of the same name.
    """
    openvino.save_model(runtime().read_model(graph), ir, compress_to_fp16=False)
