"""Names of the files of a model folder (`dgsnet.artifacts.model_folder`), for those who read one without torch."""

CONFIG, HEADS, ADAPTER, ADAPTER_CONFIG = "config.json", "heads.safetensors", "adapter_model.safetensors", "adapter_config.json"
OOD = "domain.safetensors"
CARD, DIAGRAM = "README.md", "reliability.png"
GRAPH, PLAN = "graph.onnx", "graph.json"

FORMAT = 1
"""Of `config.json`."""
