"""Give a model folder the graph by which it scores without torch (`dgsnet.artifacts.onnx_builder`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from dgsnet.artifacts.names import GRAPH, GRAPHS, WEIGHT_MAP
from dgsnet.artifacts.onnx_builder.build import write_weights
from dgsnet.artifacts.onnx_builder.tensors import BACKBONE, MergedTensors
from dgsnet.artifacts.onnx_builder.weight_map import FORMAT, TensorSlot, WeightMap
from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import replacing, sha256_file, write_json
from dgsnet.export import onnx_graph
from dgsnet.inference.detector import Detector

_ROUNDING = 1e-6
"""Largest difference allowed between a tensor merged in numpy and torch's, as a share of its largest number."""

_ALIGNMENT = 64  # bytes; a runtime may map a tensor as it lies

_VISION = f"{BACKBONE}vision."  # where a method keeps its tower


def write(source: Detector, folder: Path) -> WeightMap:
    """Write `graph.onnx` and `graph.json` into the model folder a detector was loaded from.

    The weight map comes last: a folder that has it scores without torch.

    Raises:
        DgsnetError: a tensor of the graph is not one of the model's, or is merged otherwise than torch does it.
    """
    method = onnx_graph.merged(source.method)
    tensors = {name: tensor.numpy() for name, tensor in method.state_dict().items() if tensor.is_floating_point()}
    (folder / WEIGHT_MAP).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as aside:
        graph, weights = (Path(aside) / name for name in GRAPHS["onnx"])
        onnx_graph.write(method, source.config.preprocessing.size, graph)
        model = onnx.load(graph)  # with its weights
        merged = MergedTensors(folder, method.backbone.folder)
        slots = _point_constants_at_tensors(model.graph.initializer, tensors, merged)
        digest = write_weights(slots, merged, weights)
        size = weights.stat().st_size
    with replacing(folder / GRAPH) as target:
        target.write_bytes(model.SerializeToString(deterministic=True))
    weight_map = WeightMap(
        plan_format=FORMAT,
        opset=onnx_graph.OPSET,
        exporter=onnx_graph.EXPORTER,
        backbone=source.runtime.fingerprint,
        width=method.width,
        graph=sha256_file(folder / GRAPH),
        weights=digest,
        size=size,
        slots=slots,
        versions=onnx_graph.versions(),
    )
    write_json(folder / WEIGHT_MAP, weight_map.model_dump(mode="json", by_alias=True))
    return weight_map


def _point_constants_at_tensors(
    constants: Iterable[onnx.TensorProto], tensors: dict[str, NDArray[np.float32]], merged: MergedTensors
) -> tuple[TensorSlot, ...]:
    """Replace each constant that is a tensor of the model by its offset in the file of weights."""
    # The exporter keeps names, but not those of matrices that it has transposed for a product: these are found by their content.
    by_transpose = {_digest(tensor.T): name for name, tensor in tensors.items() if tensor.ndim == 2}
    slots: list[TensorSlot] = []
    offset = 0
    for constant in constants:
        content = numpy_helper.to_array(constant)
        name, transposed = constant.name.removeprefix("method."), False
        if name not in tensors:
            name, transposed = by_transpose.get(_digest(content), ""), True
        if not name:
            if content.nbytes > 1 << 16:
                raise DgsnetError(
                    f"cannot write a graph without weights: its constant {constant.name} {content.shape} is no tensor of the model"
                )
            constant.CopyFrom(numpy_helper.from_array(content, constant.name))
            continue
        slot = TensorSlot(tensor=_source_of(name), transposed=transposed, offset=offset, size=content.nbytes)
        _compare(merged.tensor(slot.tensor), tensors[name], slot.tensor)
        _point(constant, slot)
        slots.append(slot)
        offset = -(-(offset + content.nbytes) // _ALIGNMENT) * _ALIGNMENT
    return tuple(slots)


def _source_of(name: str) -> str:
    return BACKBONE + name.removeprefix(_VISION) if name.startswith(_VISION) else name


def _digest(array: NDArray[np.float32]) -> str:
    return sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()


def _compare(ours: NDArray[np.float32], torchs: NDArray[np.float32], name: str) -> None:
    if ours.shape != torchs.shape or float(np.abs(ours - torchs).max()) > _ROUNDING * float(np.abs(torchs).max()):
        raise DgsnetError(f"cannot write a graph without weights: {name} is not what torch makes of backbone and adapter")


def _point(constant: onnx.TensorProto, slot: TensorSlot) -> None:
    """Make a constant refer to the file of weights."""
    constant.ClearField("raw_data")
    constant.ClearField("float_data")
    constant.ClearField("external_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", GRAPHS["onnx"][1]), ("offset", str(slot.offset)), ("length", str(slot.size))):
        constant.external_data.add(key=key, value=value)
