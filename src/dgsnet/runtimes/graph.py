"""Common part of the runtimes that run a graph: checks its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dgsnet.core.errors import DgsnetError, ModelFolderError
from dgsnet.runtimes.base import Runtime

if TYPE_CHECKING:
    from dgsnet.model.methods import Method

Shapes = dict[str, list[Any]]
NAMES = {"pixels", "read", "logit"}
"""Input and outputs of a graph."""


@dataclass(frozen=True)
class GraphContents:
    """Facts about a graph.

    Attributes:
        fingerprint: of the backbone in it.
        size: S, pixels.
        width: D.
        instead: error text for those who ask for the torch method.
        graph_key: see `Runtime.graph_key`.
    """

    fingerprint: str
    size: int
    width: int
    instead: str
    graph_key: str = ""


class GraphRuntime(Runtime):
    """Runs a graph with the input `pixels` (B, 3, S, S) and the outputs `read` (B, D) and `logit` (B,), one image at a time.

    One at a time also where a provider could take several: so that a score does not depend on its neighbours.

    Attributes:
        width: D, numbers that the head reads.
    """

    batches = False

    def __init__(self, graph: Path, contents: GraphContents, found: Shapes) -> None:
        """Check a graph by the shapes found of its inputs and outputs, without the batch; `ModelFolderError` where others are expected."""
        wanted = {"pixels": [3, contents.size, contents.size], "read": [contents.width], "logit": []}
        if found != wanted:
            raise ModelFolderError(f"{graph}: expected inputs and outputs {wanted}, but got {found}; export the model again")
        self.fingerprint, self.graph_key = contents.fingerprint, contents.graph_key
        self.width, self._instead = contents.width, contents.instead

    @property
    @override
    def method(self) -> Method:
        raise DgsnetError(self._instead)


def cannot_open(graph: Path, error: Exception) -> ModelFolderError:
    """Return a runtime's own error as one of ours."""
    return ModelFolderError(f"{graph} cannot be opened: {str(error).strip().splitlines()[0]}; export the model again")
