"""Builds the graph of a model folder that scores without torch: filled from backbone, adapter and heads on first use.

`graph.onnx`, which has no weights, and `graph.json` in the model folder, which `dgsnet export --weightless` wrote, say what is computed and
where every number comes from. The weights are put together once, in numpy, into the cache; after that the model opens in half a second.
"""

from dgsnet.artifacts.onnx_builder.built import BuiltModel, list_built, verify
from dgsnet.artifacts.onnx_builder.open import build_graph, has_graph, load

__all__ = ["BuiltModel", "build_graph", "has_graph", "list_built", "load", "verify"]
