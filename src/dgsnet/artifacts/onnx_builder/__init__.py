"""A model folder that scores without torch: its graph without weights, filled from backbone, adapter and heads on first use.

`graph.onnx` and `graph.json` in the model folder, which `dgsnet export --weightless` wrote, say what is computed and where every number
comes from. The weights are put together once, in numpy, into the cache; after that the model opens in half a second.
"""

from dgsnet.artifacts.onnx_builder.cache import Assembled, list_assembled, verify
from dgsnet.artifacts.onnx_builder.folder import is_planned, load, prepare

__all__ = ["Assembled", "is_planned", "list_assembled", "load", "prepare", "verify"]
