"""`graph.json`: maps each tensor of a model to its place in the file of weights that belongs to `graph.onnx`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dgsnet.artifacts.names import GRAPH, WEIGHT_MAP
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.files import sha256_bytes

FORMAT = 1

MAKE = "make it again with `dgsnet export --weightless`"


class TensorSlot(BaseModel):
    """One tensor in the file of weights, float32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor: str
    """`backbone.` and its name in the backbone, with the adapter merged; else its name in `heads.safetensors`."""
    transposed: bool
    """A product in the graph has the inputs first, torch's linear layer the outputs."""
    offset: int = Field(ge=0)
    size: int = Field(ge=0)
    """Bytes, as `offset`."""


class WeightMap(BaseModel):
    """Recipe of a file of weights, and what has to come out. The file keeps the names of its first version: `plan_format`, `pieces`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    plan_format: int
    opset: int
    exporter: str
    backbone: str
    """Fingerprint of the backbone."""
    width: int = Field(ge=1)
    """D, numbers that the head reads."""
    graph: str
    """sha256 of `graph.onnx`."""
    weights: str
    """sha256 of the file of weights."""
    size: int
    """Its bytes."""
    slots: tuple[TensorSlot, ...] = Field(alias="pieces")
    """In the order of the file."""
    versions: dict[str, str]

    @property
    def key(self) -> str:
        """Identity of the graph with these weights, 16 hexadecimal digits."""
        return sha256_bytes(f"{self.graph} {self.weights}".encode())[:16]


def read_weight_map(folder: Path) -> WeightMap:
    """Read the weight map of a model folder.

    Raises:
        ModelFolderError: it is damaged or of another format, or there is no graph to it.
    """
    file = folder / WEIGHT_MAP
    try:
        found = WeightMap.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelFolderError(f"{file} cannot be read ({error}); {MAKE}") from error
    if found.plan_format != FORMAT or not (folder / GRAPH).is_file():
        raise ModelFolderError(f"{file}: expected format {FORMAT} and {GRAPH} beside it, but got format {found.plan_format}; {MAKE}")
    return found
