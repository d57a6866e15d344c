"""Opens a graph in the runtime of a named provider. No runtime is imported before it is asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from dgsnet.core.errors import DgsnetError
from dgsnet.runtimes.graph import GraphContents, GraphRuntime

TORCH = "torch"
"""Not a runtime of graphs: the name by which one asks for the torch runtime of a model folder."""

INSTALL = {
    "cpu": "pip install onnxruntime",
    "cuda": "pip uninstall onnxruntime, then pip install onnxruntime-gpu, on a machine with CUDA",
    "openvino": 'pip install "dgsnet[openvino]"',
    "coreml": "pip install onnxruntime, on a Mac",
}
"""Command that installs a provider, by its name."""

OF_FORMAT = {"onnx": ("cpu", "cuda", "openvino", "coreml"), "openvino": ("openvino",)}
"""Providers that run a format, the default first."""


def available() -> list[str]:
    """Return the names of the providers that are installed."""
    return [name for name in INSTALL if _is_here(name)]


def _is_here(name: str) -> bool:
    if name == "openvino" or not importlib.util.find_spec("onnxruntime"):
        return name == "openvino" and importlib.util.find_spec("openvino") is not None
    from dgsnet.runtimes import onnx_runtime  # noqa: PLC0415 - only where it is installed and asked for

    return name in onnx_runtime.providers()


def require(name: str) -> None:
    """Make sure that a provider is installed; else `DgsnetError`, whose text says which ones are, and what to install."""
    if not _is_here(name):
        raise DgsnetError(f"the provider {name!r} is missing here (available: {', '.join(available()) or 'none'}): {INSTALL[name]}")


def open_runtime(graph: Path, form: str, provider: str | None, threads: int | None, contents: GraphContents) -> GraphRuntime:
    """Open a graph.

    Args:
        graph: its file.
        form: format, one of `OF_FORMAT`.
        provider: None: the format's default.
        threads: that compute one image; None: as many as there are cores.
        contents: what it should hold.

    Raises:
        DgsnetError: the provider is unknown, runs no such format, or is missing here; the text says what to install.
        ModelFolderError: the graph is damaged.
    """
    name = provider or OF_FORMAT[form][0]
    if name not in INSTALL:
        torch = ", which runs model folders only" if name == TORCH else ""
        raise DgsnetError(f"no provider {name!r} for {graph.parent}{torch}: expected one of {', '.join(INSTALL)}")
    if name not in OF_FORMAT[form]:
        raise DgsnetError(
            f"{graph.parent} is in the format {form}, which runs on {', '.join(OF_FORMAT[form])}, not on {name!r}: export it as onnx"
        )
    require(name)
    if name == "openvino":
        from dgsnet.runtimes.openvino import OpenVinoRuntime  # noqa: PLC0415 - an extra

        return OpenVinoRuntime(graph, contents, threads)
    from dgsnet.runtimes.onnx_runtime import OnnxRuntime  # noqa: PLC0415 - what runs on OpenVINO does without

    return OnnxRuntime(graph, contents, name, threads)
