"""The engine of an exported folder: ONNX Runtime on the CPU. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from typing_extensions import override

from dgsnet.engines.base import Engine, Floats
from dgsnet.errors import DgsnetError, ModelFolderError

if TYPE_CHECKING:
    from dgsnet.methods import Method


class OnnxRuntimeEngine(Engine):
    """Runs a graph with the input `pixels` (B, 3, S, S) and the outputs `read` (B, D) and `logit` (B,)."""

    def __init__(self, graph: Path, fingerprint: str, size: int, width: int, threads: int | None = None) -> None:
        """Open a graph.

        Args:
            graph: ONNX file.
            fingerprint: of the backbone in it.
            size: S, pixels.
            width: D.
            threads: that compute one image; None: as many as there are cores.

        Raises:
            ModelFolderError: the file is damaged, or its inputs and outputs are others.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0  # 0 is ONNX Runtime's "as many as cores"
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings are about optimisation
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes derive from RuntimeError or from Exception, by version
            raise ModelFolderError(f"{graph} cannot be opened: {str(error).splitlines()[0]}; export the model again") from error
        found = {one.name: one.shape[1:] for one in (*self._session.get_inputs(), *self._session.get_outputs())}
        wanted = {"pixels": [3, size, size], "read": [width], "logit": []}
        if found != wanted:
            raise ModelFolderError(f"{graph}: expected inputs and outputs {wanted}, but got {found}; export the model again")
        self._graph, self._fingerprint = graph, fingerprint

    @property
    @override
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    @override
    def batches(self) -> bool:
        return False

    @property
    @override
    def method(self) -> Method:
        raise DgsnetError(
            f"{self._graph.parent} is an exported model: it scores and does nothing else; give the model folder it was exported from"
        )

    @override
    def run(self, views: NDArray[np.float32]) -> tuple[Floats, Floats]:
        read, logits = self._session.run(["read", "logit"], {"pixels": views})
        return np.asarray(read, np.float64), np.asarray(logits, np.float64)
