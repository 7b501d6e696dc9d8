"""Weights out of an ONNX file, without the onnx package: its tensors are a few fields of protobuf.

Only what a conversion of weights needs is read: the graph's nodes (operator, inputs, outputs) and
its float initialisers. Nothing in the file is executed.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (field numbers below) in protobuf's
wire encoding, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tps_lab.errors import InputError

_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_INPUT, _OUTPUT, _OPERATOR = 1, 2, 4  # of NodeProto
_DIMS, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9  # of TensorProto
_FLOAT = 1  # TensorProto.DataType


@dataclass(frozen=True)
class Node:
    """One operator of the graph, with the names of the tensors that it reads and writes."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> tuple[list[Node], dict[str, np.ndarray]]:
    """The nodes in their order, and the float32 initialisers by name (read-only views of the file).

    Raises:
        InputError: the file is not ONNX, or ends too early.
    """
    data = memoryview(path.read_bytes())
    nodes, tensors = [], {}
    try:
        for _, graph in _only(data, _GRAPH):
            for field, value in _only(graph, _NODE, _INITIALIZER):
                if field == _NODE:
                    nodes.append(_node(value))
                elif (found := _tensor(value)) is not None:
                    tensors[found[0]] = found[1]
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} cannot be read as ONNX: {error}") from error
    if not nodes:
        raise InputError(f"{path} cannot be read as ONNX: it has no graph")
    return nodes, tensors


def _node(data: memoryview) -> Node:
    found: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATOR: []}
    for field, value in _only(data, *found):
        found[field].append(bytes(value).decode())
    return Node("".join(found[_OPERATOR]), tuple(found[_INPUT]), tuple(found[_OUTPUT]))


def _tensor(data: memoryview) -> tuple[str, np.ndarray] | None:
    """Name and values of a float32 tensor; None for other types."""
    dims: list[int] = []
    name, kind, values = "", 0, np.empty(0, np.float32)
    for field, value in _fields(data):
        if field == _DIMS:
            dims += _integers(value)
        elif field == _TYPE and isinstance(value, int):
            kind = value
        elif isinstance(value, memoryview):
            if field == _NAME:
                name = bytes(value).decode()
            elif field in (_RAW, _FLOATS):
                values = np.frombuffer(value, "<f4") if kind in (0, _FLOAT) and len(value) % 4 == 0 else values
    return (name, values.reshape(dims)) if kind == _FLOAT else None


# ---------------------------------------------------------------------- protobuf's wire encoding


def _only(data: memoryview, *wanted: int) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message with these numbers, which hold bytes, text or messages."""
    for field, value in _fields(data):
        if field in wanted and isinstance(value, memoryview):
            yield field, value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field of a message; a length-delimited value is a view of the data."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"field {field} ends after the file's end")
        yield field, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _integers(value: int | memoryview) -> list[int]:
    if isinstance(value, int):
        return [value]
    found, at = [], 0  # packed
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found
