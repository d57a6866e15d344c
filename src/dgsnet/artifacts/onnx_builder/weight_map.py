"""`graph.json`: which tensor of a model goes where in the file of weights that belongs to `graph.onnx`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dgsnet.artifacts.names import GRAPH, PLAN
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.files import sha256_bytes

FORMAT = 1

MAKE = "make it again with `dgsnet export --weightless`"


class Piece(BaseModel):
    """One tensor in the file of weights, float32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor: str
    """`backbone.` and its name in the backbone, with the adapter merged; else its name in `heads.safetensors`."""
    transposed: bool
    """A product in the graph has the inputs first, torch's linear layer the outputs."""
    offset: int = Field(ge=0)
    size: int = Field(ge=0)
    """Bytes, as `offset`."""


class Plan(BaseModel):
    """How a graph is filled, and what has to come out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    pieces: tuple[Piece, ...]
    """In the order of the file."""
    versions: dict[str, str]

    @property
    def key(self) -> str:
        """Of the graph with these weights, in hexadecimal."""
        return sha256_bytes(f"{self.graph} {self.weights}".encode())[:16]


def read(folder: Path) -> Plan:
    """The plan of a model folder.

    Raises:
        ModelFolderError: it is damaged or of another format, or there is no graph to it.
    """
    file = folder / PLAN
    try:
        plan = Plan.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelFolderError(f"{file} cannot be read ({error}); {MAKE}") from error
    if plan.plan_format != FORMAT or not (folder / GRAPH).is_file():
        raise ModelFolderError(f"{file}: expected format {FORMAT} and {GRAPH} beside it, but got format {plan.plan_format}; {MAKE}")
    return plan
