"""Operators on tensors without memory: what they make is worked out once, and made again the next time.

A step runs the same operators on the same shapes block after block, and so does the next step. torch's
`FakeTensorMode` remembers them, too, but takes several times as long to find and to make them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tps_lab.measure.memory import WHICH_DEVICE

_EMPTY = torch.ops.aten.empty_strided.default
_SET = torch.ops.aten.set_.source_Storage_storage_offset
_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})


class Remembering(FakeTensorMode):
    """torch's mode with a memory for shapes, strides, types and storages, which depend on nothing else.

    Left to torch as ever: calls that take or return other things than tensors and plain values, that have values
    after all (constants), or that change the shape of an argument.
    """

    _known: ClassVar[dict[tuple[Any, ...], _Results]] = {}  # of all modes: models are alike, and results small

    def __init__(self) -> None:
        super().__init__()
        self.cache_enabled = False  # torch's own memory
        self._attributes: dict[torch.device, dict[str, Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, so nothing need be kept from the compiler, call by call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is WHICH_DEVICE:
            return args[0].device
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            call = _Call(func, args, kwargs)
            if call.plain and (known := self._known.get(key := call.key())) is not None:
                return known.again(self, call.tensors)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if call.plain:
            with torch._C.DisableTorchFunction():
                results = _results(out, call.tensors)
                if results is not None and key == _Call(func, args, kwargs).key():
                    self._known[key] = results
        return out

    def tensor(self, meta: Tensor, device: torch.device) -> FakeTensor:
        """`FakeTensor(self, meta, device)`, whose attributes are worked out once, as they are the same for all."""
        if device not in self._attributes:
            self._attributes[device] = dict(FakeTensor(self, _EMPTY((0,), (1,), device="meta"), device).__dict__)
        new = Tensor._make_subclass(FakeTensor, meta, False, dispatch_device=True, device_for_backend_keys=device)
        torch._C._set_throw_on_mutable_data_ptr(new)
        new.__dict__.update(self._attributes[device])
        return new


class _Call:
    """An operator's arguments.

    Attributes:
        tensors: those among them, in their order.
        plain: whether results depend on `key` alone.
    """

    __slots__ = ("plain", "tensors", "words")

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.words: list[Any] = [func, torch.get_default_dtype()]
        self.tensors: list[FakeTensor] = []
        self.plain = True
        self._add(args)
        for name, value in kwargs.items():
            self.words.append(name)
            self._add((value,))

    def key(self) -> tuple[Any, ...]:
        return tuple(self.words)

    def _add(self, values: Sequence[Any]) -> None:
        words = self.words
        for value in values:
            kind = type(value)
            if kind is FakeTensor:
                self.plain &= value.constant is None and _is_ordinary(value)
                words += (value.shape, value.stride(), value.storage_offset(), value.dtype, value.fake_device)
                self.tensors.append(value)
            elif kind in _PLAIN:
                words += (kind, value)  # 1 is not 1.0, and neither is True
            elif kind is list or kind is tuple:
                words += (kind, len(value))
                self._add(value)
            else:
                self.plain = False


@dataclass(frozen=True)
class _Made:
    """A tensor that an operator makes: a new one, or a view of the argument with that number."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    view_of: int | None

    def again(self, mode: Remembering, tensors: Sequence[FakeTensor]) -> FakeTensor:
        if self.view_of is None:
            meta = _EMPTY(self.shape, self.strides, dtype=self.dtype, device="meta")
        else:
            meta = _EMPTY((0,), (1,), dtype=self.dtype, device="meta")
            _SET(meta, tensors[self.view_of].untyped_storage(), self.offset, self.shape, self.strides)
        return mode.tensor(meta, self.device)


@dataclass(frozen=True)
class _Results:
    """What an operator returns: what it made, or the number of an argument, or None; alone, or in a list or tuple."""

    parts: tuple[_Made | int | None, ...]
    container: type[list] | type[tuple] | None

    def again(self, mode: Remembering, tensors: Sequence[FakeTensor]) -> Any:
        found = [
            part.again(mode, tensors) if isinstance(part, _Made) else None if part is None else tensors[part]
            for part in self.parts
        ]
        return found[0] if self.container is None else self.container(found)


def _results(out: Any, tensors: Sequence[FakeTensor]) -> _Results | None:
    """How to make what an operator returned; None where it takes more than that."""
    container = next((kind for kind in (list, tuple) if isinstance(out, kind)), None)
    arguments = {id(tensor): place for place, tensor in enumerate(tensors)}
    storages = {tensor.untyped_storage()._cdata: place for place, tensor in enumerate(tensors)}
    parts: list[_Made | int | None] = []
    for one in (out,) if container is None else out:
        if one is None or id(one) in arguments:
            parts.append(arguments.get(id(one)))
            continue
        if type(one) is not FakeTensor or one.constant is not None or not _is_ordinary(one):
            return None
        storage = one.untyped_storage()
        made = _Made(
            tuple(one.shape),
            one.stride(),
            int(one.storage_offset()),
            one.dtype,
            one.fake_device,
            storages.get(storage._cdata),
        )
        if made.view_of is None:
            alike = _EMPTY(made.shape, made.strides, dtype=made.dtype, device="meta").untyped_storage()
            if made.offset or alike.nbytes() != storage.nbytes():
                return None
            storages[storage._cdata] = -1
        elif made.view_of < 0:  # two results in one new storage
            return None
        parts.append(made)
    return _Results(tuple(parts), container)


def _is_ordinary(tensor: FakeTensor) -> bool:
    return tensor.layout is torch.strided and not tensor.dtype.is_complex
