"""Opens a model folder that has a graph, its weights built first where they are not in the cache. No torch."""

from __future__ import annotations

from pathlib import Path

from dgsnet.artifacts.config import ModelConfig, read_config
from dgsnet.artifacts.names import GRAPHS, WEIGHT_MAP
from dgsnet.artifacts.onnx_builder.built import built_dir, is_whole
from dgsnet.artifacts.onnx_builder.weight_map import WeightMap, read_weight_map
from dgsnet.runtimes.graph import GraphContents, GraphRuntime
from dgsnet.runtimes.providers import open_runtime


def has_graph(folder: Path) -> bool:
    """Tell whether a model folder has a graph and so scores without torch."""
    return (folder / WEIGHT_MAP).is_file()


def build_graph(folder: Path) -> Path:
    """Return the graph of a model folder with its weights, in the cache; they are put together first where they are not there or not whole.

    The backbone is pulled when it is needed and missing.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        WeightsError: the backbone cannot be had, or is not the one the model was trained on.
    """
    return _built(folder, read_weight_map(folder), read_config(folder, "format"))


def load(folder: Path, provider: str | None = None, threads: int | None = None) -> tuple[GraphRuntime, ModelConfig]:
    """Load a model folder with a graph.

    `provider` and `threads` are as in `dgsnet.runtimes.providers.open_runtime`.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        WeightsError: the backbone cannot be had.
        DgsnetError: the provider cannot be had.
    """
    config, weight_map = read_config(folder, "format"), read_weight_map(folder)
    without = f"{folder.absolute().name} is run without torch here, which scores and draws heatmaps and does nothing else"
    contents = GraphContents(
        weight_map.backbone,
        config.preprocessing.size,
        weight_map.width,
        instead=f'{without}: ask for torch (`--provider torch`, `from_pretrained(..., provider="torch")`)',
        graph_key=weight_map.key,
    )
    return open_runtime(_built(folder, weight_map, config), "onnx", provider, threads, contents), config


def _built(folder: Path, weight_map: WeightMap, config: ModelConfig) -> Path:
    target = built_dir() / f"{folder.absolute().name}-{weight_map.key}"
    if not is_whole(target, weight_map):
        from dgsnet.artifacts.onnx_builder.build import build  # noqa: PLC0415 - what it imports costs a start a tenth of a second

        build(folder, weight_map, config.backbone["name"], target)
    return target / GRAPHS["onnx"][0]
