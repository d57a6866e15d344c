"""Runtimes compute features and logits: `pytorch` of model folders, `onnx_runtime` and `openvino` of graphs."""

from dgsnet.runtimes.base import Floats, Runtime

__all__ = ["Floats", "Runtime"]
