"""The runtime of ONNX graphs: ONNX Runtime. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dgsnet.core.errors import DgsnetError
from dgsnet.runtimes import telemetry
from dgsnet.runtimes.base import Floats
from dgsnet.runtimes.graph import GraphContents, GraphRuntime, cannot_open

with telemetry.off():
    import onnxruntime

EXECUTION: dict[str, tuple[str, dict[str, Any]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": 0}),  # which would round fp32 to 10 bits
    "coreml": ("CoreMLExecutionProvider", {}),
}
"""ONNX Runtime's execution provider and its options, by our name."""


def providers() -> list[str]:
    """Return those of `EXECUTION` that the installed ONNX Runtime was built with."""
    built = onnxruntime.get_available_providers()
    return [name for name, (provider, _) in EXECUTION.items() if provider in built]


class OnnxRuntime(GraphRuntime):
    """Runs an ONNX graph."""

    def __init__(self, graph: Path, contents: GraphContents, provider: str = "cpu", threads: int | None = None) -> None:
        """Open an ONNX file; the arguments are those of `dgsnet.runtimes.providers.open_runtime`, `provider` one of `providers()`.

        Raises:
            ModelFolderError: the file is damaged, or its inputs and outputs are others.
            DgsnetError: the provider does not start here.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0  # 0 is ONNX Runtime's "as many as cores"
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings are about optimisation
        # The CPU takes operators that a provider does not have.
        chain = [EXECUTION[provider], EXECUTION["cpu"]] if provider != "cpu" else [EXECUTION["cpu"]]
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=chain)
        except Exception as error:  # its classes derive from RuntimeError or from Exception, by version
            raise cannot_open(graph, error) from error
        if EXECUTION[provider][0] not in self._session.get_providers():  # it goes on with the CPU and only logs that
            raise DgsnetError(f"the provider {provider!r} does not start here (its driver or libraries are missing): `cpu` always does")
        found = {one.name: one.shape[1:] for one in (*self._session.get_inputs(), *self._session.get_outputs())}
        super().__init__(graph, contents, found)

    @override
    def run(self, views: NDArray[np.float32]) -> tuple[Floats, Floats]:
        read, logits = self._session.run(["read", "logit"], {"pixels": views})
        return np.asarray(read, np.float64), np.asarray(logits, np.float64)
