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
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dgsnet.artifacts.config import ScoringConfig, read_config
from dgsnet.artifacts.ood_file import load_ood
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.files import sha256_bytes, sha256_file
from dgsnet.model.ood import OodDetector
from dgsnet.runtimes.graph import Contents
from dgsnet.runtimes.providers import open_runtime

if TYPE_CHECKING:
    from dgsnet.runtimes.graph import GraphRuntime

CONFIG, OOD, CARD, VERIFIED = "config.json", "domain.safetensors", "README.md", "verify.json"
FORMAT = 1

GRAPHS = {"onnx": ("model.onnx", "model.onnx.data"), "openvino": ("model.xml", "model.bin")}
"""Files of a graph, by its format: the graph, its weights."""


class Origin(BaseModel):
    """How a graph was made, and from what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["onnx", "openvino"]
    precision: Literal["fp32"]
    opset: int
    exporter: str
    model: str
    """Name of the model exported."""
    fingerprint: str
    """Of its detector: configuration, heads and adapter."""
    backbone: str
    """Fingerprint of the backbone in the graph."""
    width: int = Field(ge=1)
    """D, numbers that the head reads."""
    files: dict[str, str]
    """sha256 of the graph and of its weights, by name."""
    versions: dict[str, str]


class ExportedConfig(ScoringConfig):
    """`config.json` of an exported folder."""

    exported_format: int = FORMAT
    recipe: dict[str, Any]
    export: Origin


def is_exported(folder: Path) -> bool:
    """Whether `folder` holds an exported model, whole or damaged."""
    return any((folder / graph).is_file() for graph, _ in GRAPHS.values())


def load_config(folder: Path) -> ExportedConfig:
    """Read and check `config.json`.

    Raises:
        ModelFolderError: there is none, it is damaged, or of a newer format.
    """
    missing = f"{folder} is no exported model: {CONFIG} is missing; export the model again"
    return read_config(folder / CONFIG, ExportedConfig, "exported_format", FORMAT, missing)


def load(folder: Path, provider: str | None = None, threads: int | None = None) -> tuple[GraphRuntime, ExportedConfig, OodDetector | None]:
    """Load an exported model.

    Args:
        folder: exported folder.
        provider: what runs it (`dgsnet.runtimes.providers`); None: the default of the folder's format.
        threads: that compute one image; None: as many as there are cores.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        DgsnetError: the provider cannot be had.
    """
    config = load_config(folder)
    origin = config.export
    with ThreadPoolExecutor(1) as pool:  # beside opening the graph, which takes as long
        checked = pool.submit(_check, folder, origin.files)
        contents = Contents(
            origin.backbone,
            config.preprocessing.size,
            origin.width,
            f"{folder} is an exported model: it scores, draws heatmaps and does nothing else; give the model folder it was exported from",
        )
        runtime = open_runtime(folder / GRAPHS[origin.format][0], origin.format, provider, threads, contents)
        checked.result()
    return runtime, config, load_ood(folder / OOD, origin.width)


def _check(folder: Path, files: dict[str, str]) -> None:
    for name, sha256 in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelFolderError(f"{file} is missing; export the model again")
        if sha256_file(file) != sha256:
            raise ModelFolderError(f"{file} is not the one that {CONFIG} names: it is damaged or of another model; export the model again")


def fingerprint(folder: Path) -> str:
    """sha256 over what decides a score; the graph counts by its own hashes, which the configuration holds."""
    return sha256_bytes(f"{CONFIG} {sha256_file(folder / CONFIG)}".encode())
