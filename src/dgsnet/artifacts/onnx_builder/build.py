"""Puts the weights of a model together: the slow part, done once. Only this needs the backbone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from dgsnet import weights
from dgsnet.artifacts.names import GRAPH, GRAPHS, WEIGHT_MAP
from dgsnet.artifacts.onnx_builder.built import is_whole, write_record
from dgsnet.artifacts.onnx_builder.tensors import MergedTensors
from dgsnet.artifacts.onnx_builder.weight_map import MAKE, TensorSlot, WeightMap
from dgsnet.core.cache_folder import locked
from dgsnet.core.errors import ModelFolderError, WeightsError
from dgsnet.core.files import replacing, replacing_folder, sha256_file


def build(folder: Path, weight_map: WeightMap, backbone: str, target: Path) -> None:
    """Put a model together into a folder of the cache, there whole or not at all, unless another process has done so meanwhile.

    Raises:
        ModelFolderError: the weight map is not of this model's graph, adapter and heads.
        WeightsError: the backbone cannot be had, or is not the one the model was trained on.
    """
    with locked(target):
        if not is_whole(target, weight_map):
            _build(folder, weight_map, backbone, target)


def _build(folder: Path, weight_map: WeightMap, backbone: str, target: Path) -> None:
    tower = weights.locate(backbone)
    with _shown(f"putting {folder.name} together from {backbone}; this is done once"):
        if (found := weights.folder_fingerprint(tower)) != weight_map.backbone:
            raise WeightsError(
                f"{folder} was trained on the backbone {backbone} with fingerprint {weight_map.backbone[:12]}, but {tower} has {found[:12]}"
            )
        if sha256_file(folder / GRAPH) != weight_map.graph:
            raise ModelFolderError(f"{folder / GRAPH} is not the graph that {WEIGHT_MAP} names: it is damaged; {MAKE}")
        with replacing_folder(target) as new:
            graph, values = (new / name for name in GRAPHS["onnx"])
            with replacing(values) as aside:
                if write_weights(weight_map.slots, MergedTensors(folder, tower), aside) != weight_map.weights:
                    raise ModelFolderError(f"{folder}: {WEIGHT_MAP} is of another adapter or other heads than lie beside it; {MAKE}")
            with replacing(graph) as aside:
                aside.write_bytes((folder / GRAPH).read_bytes())
            write_record(new, weight_map)


def write_weights(slots: tuple[TensorSlot, ...], tensors: MergedTensors, file: Path) -> str:
    """Write the file of weights, its slots in order with zeros between them; return its sha256.

    Raises:
        ModelFolderError: a tensor is missing or has another size than its slot.
        WeightsError: as above, of the backbone.
    """
    digest, place = sha256(), 0
    with file.open("wb") as stream:
        for slot in slots:
            tensor = tensors.tensor(slot.tensor)
            content = (tensor.T if slot.transposed else tensor).astype("<f4", copy=False).tobytes()
            if len(content) != slot.size:
                raise ModelFolderError(f"the graph reads {slot.size} bytes of {slot.tensor}, which has {len(content)}; {MAKE}")
            for part in (bytes(slot.offset - place), content):
                digest.update(part)
                stream.write(part)
            place = slot.offset + slot.size
    return digest.hexdigest()


def _shown(what: str) -> AbstractContextManager[object]:
    """Tell whoever sits at the terminal why this call takes longer."""
    console = Console(stderr=True)
    return console.status(what) if console.is_terminal else nullcontext()
