"""Puts the weights of a planned model together: the slow part, done once. Only this needs the backbone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from dgsnet import weights as backbones
from dgsnet.artifacts.exported import GRAPHS
from dgsnet.artifacts.names import GRAPH, PLAN
from dgsnet.artifacts.onnx_builder.cache import is_whole, write_record
from dgsnet.artifacts.onnx_builder.tensors import Sources
from dgsnet.artifacts.onnx_builder.weight_map import MAKE, Piece, Plan
from dgsnet.core.errors import ModelFolderError, WeightsError
from dgsnet.core.files import replacing, replacing_folder, sha256_file
from dgsnet.core.lock import locked


def build(folder: Path, plan: Plan, backbone: str, target: Path) -> None:
    """Put a model together into a folder of the cache, unless another process has done so meanwhile.

    Args:
        folder: model folder.
        plan: its plan.
        backbone: name or folder of its backbone.
        target: folder of the cache; it is there whole or not at all.

    Raises:
        ModelFolderError: the plan is not of this model's graph, adapter and heads.
        WeightsError: the backbone cannot be had, or is not the one the model was trained on.
    """
    with locked(target):
        if not is_whole(target, plan):
            _build(folder, plan, backbone, target)


def _build(folder: Path, plan: Plan, backbone: str, target: Path) -> None:
    tower = backbones.locate(backbone)
    with _said(f"putting {folder.name} together from {backbone}; this is done once"):
        if (found := backbones.folder_fingerprint(tower)) != plan.backbone:
            raise WeightsError(
                f"{folder} was trained on the backbone {backbone} with fingerprint {plan.backbone[:12]}, but {tower} has {found[:12]}"
            )
        if sha256_file(folder / GRAPH) != plan.graph:
            raise ModelFolderError(f"{folder / GRAPH} is not the graph that {PLAN} names: it is damaged; {MAKE}")
        with replacing_folder(target) as new:
            graph, weights = (new / name for name in GRAPHS["onnx"])
            with replacing(weights) as aside:
                if write_weights(plan.pieces, Sources(folder, tower), aside) != plan.weights:
                    raise ModelFolderError(f"{folder}: {PLAN} is of another adapter or other heads than lie beside it; {MAKE}")
            with replacing(graph) as aside:
                aside.write_bytes((folder / GRAPH).read_bytes())
            write_record(new, plan)


def write_weights(pieces: tuple[Piece, ...], sources: Sources, file: Path) -> str:
    """Write the file of weights; its sha256.

    Args:
        pieces: in the order of the file; between them lie zeros.
        sources: where they come from.
        file: to write.

    Raises:
        ModelFolderError: a tensor is missing or has another size than its piece.
        WeightsError: as above, of the backbone.
    """
    digest, place = sha256(), 0
    with file.open("wb") as stream:
        for piece in pieces:
            tensor = sources.tensor(piece.tensor)
            content = (tensor.T if piece.transposed else tensor).astype("<f4", copy=False).tobytes()
            if len(content) != piece.size:
                raise ModelFolderError(f"the graph reads {piece.size} bytes of {piece.tensor}, which has {len(content)}; {MAKE}")
            for part in (bytes(piece.offset - place), content):
                digest.update(part)
                stream.write(part)
            place = piece.offset + piece.size
    return digest.hexdigest()


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Tell whoever sits at the terminal why this call takes longer."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
