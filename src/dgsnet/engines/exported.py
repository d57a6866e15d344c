"""What the engines of exported folders have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dgsnet.engines.base import Engine
from dgsnet.errors import DgsnetError, ModelFolderError

if TYPE_CHECKING:
    from dgsnet.methods import Method

Shapes = dict[str, list[Any]]
NAMES = {"pixels", "read", "logit"}
"""Input and outputs of a graph."""


class ExportedEngine(Engine):
    """Runs a graph with the input `pixels` (B, 3, S, S) and the outputs `read` (B, D) and `logit` (B,), one image at a time.

    One at a time also where a provider could take several: so that a score does not depend on its neighbours.
    """

    def __init__(self, graph: Path, fingerprint: str, found: Shapes, size: int, width: int) -> None:
        """Check a graph.

        Args:
            graph: its file.
            fingerprint: of the backbone in it.
            found: shape of each of its inputs and outputs, without the batch.
            size: S, pixels.
            width: D.

        Raises:
            ModelFolderError: its inputs and outputs are others.
        """
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


def unopened(graph: Path, error: Exception) -> ModelFolderError:
    """What a runtime's own error says, as one of ours."""
    return ModelFolderError(f"{graph} cannot be opened: {str(error).strip().splitlines()[0]}; export the model again")
