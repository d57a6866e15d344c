"""The exported folder: a model as one graph, with what scoring needs beside it. Read without torch; `dgsnet.export` writes it.

| file | what |
|---|---|
| `model.onnx`, `model.onnx.data` | the graph and its weights, adapter merged: pixels -> what the head reads, and the logit |
| `model.xml`, `model.bin` | the same where the format is OpenVINO's |
| `config.json` | the configuration of the model folder it was exported from, and `export`: how, from what, the graph's hashes |
| `domain.safetensors` | as in the model folder (`dgsnet.model.ood`); absent where that has none |
| `README.md` | card |
| `verify.json` | how far the graph's logits lie from torch's; only of a folder exported with `--verify` |
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dgsnet.artifacts.config import ModelConfig, read_config
from dgsnet.artifacts.names import CONFIG, GRAPHS
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.files import sha256_file
from dgsnet.runtimes.graph import GraphContents, GraphRuntime
from dgsnet.runtimes.providers import open_runtime


def is_exported(folder: Path) -> bool:
    """Tell whether `folder` holds an exported model, whole or damaged."""
    return any((folder / graph).is_file() for graph, _ in GRAPHS.values())


def load(folder: Path, provider: str | None = None, threads: int | None = None) -> tuple[GraphRuntime, ModelConfig]:
    """Load an exported model.

    `provider` and `threads` are as in `dgsnet.runtimes.providers.open_runtime`.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        DgsnetError: the provider cannot be had.
    """
    config = read_config(folder, "exported_format")
    origin = config.export
    if origin is None:
        raise ModelFolderError(f"{folder / CONFIG} does not say how the graph was made; export the model again")
    with ThreadPoolExecutor(1) as pool:  # beside opening the graph, which takes as long
        checked = pool.submit(_check, folder, origin.files)
        contents = GraphContents(
            origin.backbone,
            config.preprocessing.size,
            origin.width,
            f"{folder} is an exported model: it scores, draws heatmaps and does nothing else; give the model folder it was exported from",
        )
        runtime = open_runtime(folder / GRAPHS[origin.format][0], origin.format, provider, threads, contents)
        checked.result()
    return runtime, config


def _check(folder: Path, files: dict[str, str]) -> None:
    for name, sha256 in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelFolderError(f"{file} is missing; export the model again")
        if sha256_file(file) != sha256:
            raise ModelFolderError(f"{file} is not the one that {CONFIG} names: it is damaged or of another model; export the model again")
