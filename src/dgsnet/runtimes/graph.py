"""What the runtimes of exported folders have in common."""

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
class Contents:
    """What is known of a graph.

    Attributes:
        fingerprint: of the backbone in it.
        size: S, pixels.
        width: D.
        instead: what to say to those who need the torch method.
        mark: see `Runtime.mark`.
    """

    fingerprint: str
    size: int
    width: int
    instead: str
    mark: str = ""


class GraphRuntime(Runtime):
    """Runs a graph with the input `pixels` (B, 3, S, S) and the outputs `read` (B, D) and `logit` (B,), one image at a time.

    One at a time also where a provider could take several: so that a score does not depend on its neighbours.
    """

    def __init__(self, graph: Path, contents: Contents, found: Shapes) -> None:
        """Check a graph.

        Args:
            graph: its file.
            contents: what it should hold.
            found: shape of each of its inputs and outputs, without the batch.

        Raises:
            ModelFolderError: its inputs and outputs are others.
        """
        wanted = {"pixels": [3, contents.size, contents.size], "read": [contents.width], "logit": []}
        if found != wanted:
            raise ModelFolderError(f"{graph}: expected inputs and outputs {wanted}, but got {found}; export the model again")
        self._contents = contents

    @property
    @override
    def fingerprint(self) -> str:
        return self._contents.fingerprint

    @property
    @override
    def mark(self) -> str:
        return self._contents.mark

    @property
    @override
    def batches(self) -> bool:
        return False

    @property
    @override
    def method(self) -> Method:
        raise DgsnetError(self._contents.instead)


def unopened(graph: Path, error: Exception) -> ModelFolderError:
    """What a runtime's own error says, as one of ours."""
    return ModelFolderError(f"{graph} cannot be opened: {str(error).strip().splitlines()[0]}; export the model again")
