"""Names of the files of a model on disk, for readers with and without torch.

A *model folder* is what training writes (`dgsnet.artifacts.model_folder`), an *exported folder* a model as one graph
(`dgsnet.artifacts.exported`). Both have `CONFIG`, `OOD` and `CARD`.
"""

CONFIG, OOD, CARD = "config.json", "domain.safetensors", "README.md"

HEADS, ADAPTER, ADAPTER_CONFIG = "heads.safetensors", "adapter_model.safetensors", "adapter_config.json"
DIAGRAM = "reliability.png"
GRAPH, WEIGHT_MAP = "graph.onnx", "graph.json"
"""Graph without weights of a model folder that scores without torch, and where its weights come from."""

GRAPHS = {"onnx": ("model.onnx", "model.onnx.data"), "openvino": ("model.xml", "model.bin")}
"""Files of a graph with weights, by its format: the graph, its weights."""
VERIFIED = "verify.json"

FORMAT = 1
"""Of `config.json` in a model folder (key `format`) and in an exported one (key `exported_format`)."""
