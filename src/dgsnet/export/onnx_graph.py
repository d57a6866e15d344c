"""Write a method as an ONNX graph, by torch's exporter."""

from __future__ import annotations

import copy
import logging
import warnings
from importlib import metadata
from pathlib import Path

import onnx
import torch
from peft import PeftModel
from torch import Tensor, nn
from typing_extensions import override

from dgsnet import __version__
from dgsnet.model.methods import Method

OPSET = 20
"""Version of ONNX's operators in the graph."""

EXPORTER = "torch.onnx.export(dynamo=True)"


def versions(*others: str) -> dict[str, str]:
    """Return the versions of the packages that make a graph, and of others."""
    return {"dgsnet": __version__} | {name: metadata.version(name) for name in ("torch", "onnx", "onnxscript", *others)}


class _Outputs(nn.Module):
    """A method with the outputs of the graph: (B, 3, S, S) -> the head's input, (B, D), and the logit, (B,)."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    @override
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.method.embed(pixels)
        return features, self.method.logits(features)


def merged(method: Method) -> Method:
    """Return a copy of a method on the CPU, its adapter merged into the weights."""
    copied = copy.deepcopy(method).to("cpu").eval().requires_grad_(False)
    if isinstance(copied.backbone.vision, PeftModel):
        copied.backbone.vision = copied.backbone.vision.merge_and_unload()
    return copied


def write(method: Method, size: int, graph: Path) -> None:
    """Write the graph of a method whose adapter is merged.

    The weights lie beside the graph, not in it: ONNX Runtime then maps them into memory, and opens the model in half the time.

    Args:
        method: as `merged` returns it.
        size: S, pixels.
        graph: the `.onnx` file; the weights go beside it, into a file that is named like it and ends in `.data`.
    """
    example = torch.zeros(2, 3, size, size)  # two, since an exporter takes a batch of one for a constant
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what torch deprecates in itself
        torch.onnx.export(
            _Outputs(method),
            (example,),
            graph,
            input_names=["pixels"],
            output_names=["read", "logit"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=True,
            verbose=False,
        )
    _strip(graph)


def _strip(graph: Path) -> None:
    """Remove the exporter's notes on where each operation came from: fifteen times the graph, and folders of this machine."""
    model = onnx.load(graph, load_external_data=False)
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")  # shapes, which runtimes infer
    model.graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    graph.write_bytes(model.SerializeToString(deterministic=True))
