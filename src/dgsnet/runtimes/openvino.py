"""The runtime of OpenVINO's IR, which runs ONNX graphs as well: OpenVINO on the CPU. No torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dgsnet.runtimes import telemetry
from dgsnet.runtimes.base import Floats
from dgsnet.runtimes.graph import NAMES, GraphContents, GraphRuntime, cannot_open

with telemetry.off():
    import openvino


@cache
def runtime() -> openvino.Core:
    """Return the one OpenVINO of this process, which is never given back.

    Its CPU plugin puts the signal stack of the calling thread on memory of its own. When two are opened and the older goes first, the
    thread is left with freed memory, and the next signal that Python handles (a child that ended, SIGTERM) is a segmentation fault.
    """
    return openvino.Core()


class OpenVinoRuntime(GraphRuntime):
    """Runs an IR or an ONNX graph; what is fp32 in it is computed in fp32."""

    def __init__(self, graph: Path, contents: GraphContents, threads: int | None = None) -> None:
        """Open an ONNX file, or an `.xml` file with its weights beside it; see `dgsnet.runtimes.providers.open_runtime`.

        Raises:
            ModelFolderError: a file is damaged, or its inputs and outputs are others.
        """
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads or 0}
        try:
            self._model = runtime().compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise cannot_open(graph, error) from error
        # A place may go by several names, such as that of a cast that does nothing.
        places = [
            (place.names, [side.get_length() if side.is_static else None for side in list(place.partial_shape)[1:]])
            for place in (*self._model.inputs, *self._model.outputs)
        ]
        found = {name: sides for names, sides in places for name in names & NAMES or names}
        super().__init__(graph, contents, found)

    @override
    def run(self, views: NDArray[np.float32]) -> tuple[Floats, Floats]:
        given = self._model({"pixels": views})
        return np.asarray(given["read"], np.float64), np.asarray(given["logit"], np.float64)
