"""Read nodes and constants out of an ONNX file, which is all that de-quantising needs of one.

The package `onnx` could do it, but an installation that only scores does without it and what it depends on. ONNX is protobuf, whose
wire format is three rules: a key holds a field's number and type, numbers are written seven bits a byte, everything else has its length
before it. Field numbers are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_TYPES = {1: "<f4", 2: "<u1", 3: "<i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""numpy's name of an element type of `TensorProto.DataType`."""

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_EXTERNAL = 1  # TensorProto.DataLocation


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    name: str
    op_type: str
    input: list[str]


@dataclass(frozen=True)
class Graph:
    """Content of a graph: nodes in order, constants by name."""

    nodes: list[Node]
    constants: dict[str, Array]


def read_graph(model: bytes) -> Graph:
    """Read the graph of an ONNX model.

    Raises:
        ValueError: the bytes are no ONNX model, are cut short, or hold a constant of a type or in a place that is not read here.
    """
    graphs = [value for number, kind, value in _fields(memoryview(model)) if (number, kind) == (7, _BYTES)]
    if len(graphs) != 1:
        raise ValueError(f"expected one graph, found {len(graphs)}")
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    for number, kind, value in _fields(graphs[0]):
        if (number, kind) == (1, _BYTES):
            nodes.append(_node(value))
        elif (number, kind) == (5, _BYTES):
            name, array = _tensor(value)
            constants[name] = array
    return Graph(nodes, constants)


def _fields(message: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field: an int, or the bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no protobuf: wire type {kind} at byte {place}")
        if place + length > len(message):
            raise ValueError(f"cut short: field {number} ends {place + length - len(message)} bytes beyond the end")
        yield number, kind, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Read a number; return it and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("cut short inside a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"no protobuf: a number of more than ten bytes before byte {place}")


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8")


def _node(message: memoryview) -> Node:
    name = op_type = ""
    inputs: list[str] = []
    for number, _, value in _fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 3:
            name = _text(value)
        elif number == 4:
            op_type = _text(value)
    return Node(name, op_type, inputs)


def _tensor(message: memoryview) -> tuple[str, Array]:
    name, kind, location = "", 0, 0
    raw: memoryview | None = None
    shape: list[int] = []
    typed: dict[int, Array] = {}
    for number, wire, value in _fields(message):
        if number == 1:
            shape += _numbers(value) if wire == _BYTES else [value]
        elif number == 2:
            kind = value
        elif number in (4, 10):  # float_data, double_data
            typed[number] = np.frombuffer(value, "<f4" if number == 4 else "<f8")
        elif number in (5, 7):  # int32_data, which holds the narrower types too, and int64_data
            typed[number] = np.array(_numbers(value) if wire == _BYTES else [value], np.uint64).astype(np.int64)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = value
        elif number == 14:
            location = value
    if kind not in _TYPES or location == _EXTERNAL:
        raise ValueError(f"the constant {name} is {'in another file' if location == _EXTERNAL else f'of the type {kind}'}")
    if raw is not None:
        return name, np.frombuffer(raw, _TYPES[kind]).reshape(shape)
    if kind == 10 and typed:
        raise ValueError(f"the constant {name} is of float16 in integers")
    return name, next(iter(typed.values()), np.empty(0)).astype(_TYPES[kind]).reshape(shape)


def _numbers(packed: memoryview) -> list[int]:
    numbers, place = [], 0
    while place < len(packed):
        value, place = _varint(packed, place)
        numbers.append(value)
    return numbers
