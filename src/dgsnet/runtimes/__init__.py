"""What computes a detector's features and logits: `pytorch` for model folders, `onnx_runtime` for exported ones."""

from dgsnet.runtimes.base import Floats, Runtime

__all__ = ["Floats", "Runtime"]
