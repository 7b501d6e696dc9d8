"""Any video model on the bench: clips that fit it, one answer per clip, and what floating point alone changes.

An answer is a vector per clip. Logits and pooled features are taken as they are. Tokens and feature maps are
taken as a set of values (a few moments of them that no rearrangement changes), so that features which merely
move with their frames count as the same: a head that pools them could not tell.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from tps_lab.errors import InputError, shortened
from tps_lab.measure.step import refuse_lazy
from tps_lab.plugins import told

_FREQUENCIES = torch.linspace(0.5, 4, 8, dtype=torch.float64)
_LARGEST_CLIP = 1 << 28  # numbers; 64 frames of 512² have a fifth of it
SAFETY = 300  # a difference counts if it is this many times the floor


@dataclass(frozen=True)
class Layout:
    """A clip's axes, without the batch's.

    Args:
        axes: a letter an axis, T is time: "CTHW".
        shape: their lengths.
        how: whether the axes were given or guessed, in words.
    """

    axes: str
    shape: tuple[int, ...]
    how: str

    @classmethod
    def of(cls, shape: Sequence[int], axes: str | None) -> Layout:
        """The layout that was asked for, or the one that the three colours give away.

        Raises:
            InputError: axes and shape do not fit, or the axes cannot be told from the shape.
        """
        given = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (None,)
        if any(not isinstance(n, (int, np.integer)) or n < 1 for n in given):
            raise InputError(f"a clip's shape is whole numbers such as (3, 8, 32, 32), got {shortened(repr(shape))}")
        if (numbers := math.prod(map(int, given))) > _LARGEST_CLIP:
            raise InputError(f"a clip has at most {_LARGEST_CLIP:,} numbers, one of shape {given} has {numbers:.1e}")
        if axes is not None:
            if not isinstance(axes, str):
                raise InputError(f"axes are a letter each, e.g. 'CTHW', got {shortened(repr(axes))}")
            axes = axes.upper().removeprefix("B")
            if len(axes) != len(given) or len(set(axes)) != len(axes) or "T" not in axes:
                raise InputError(
                    f"axes {axes!r} do not fit a clip of shape {given}: a letter an axis, T is time, e.g. CTHW"
                )
            return cls(axes, given, "as given")
        threes = [i for i, n in enumerate(given) if n == 3]
        found = {0: "CTHW", 1: "TCHW", 3: "THWC"}.get(threes[0]) if len(given) == 4 and len(threes) == 1 else None
        if found is None:
            raise InputError(
                f"cannot tell which axis of a clip of shape {given} is time: say axes='CTHW' (or TCHW, THWC, …)"
            )
        return cls(found, given, f"guessed: only {found[threes[0]]} can be the axis of 3")

    @property
    def time(self) -> int:
        """The axis of time, behind the batch's."""
        return 1 + self.axes.index("T")

    @property
    def frames(self) -> int:
        return self.shape[self.axes.index("T")]

    @property
    def batch_text(self) -> str:
        """(B, 3, 8, 32, 32) = (B, C, T, H, W)."""
        return f"(B, {', '.join(map(str, self.shape))}) = (B, {', '.join(self.axes)})"


@dataclass(eq=False)
class Bench:
    """A model that is ready to be asked.

    Args:
        call: clips (B, …) to whatever the model gives.
        module: the same as a module, whose inside can be watched; None for a plain function.
        layout: of one clip.
        values: clips are uniform in this interval; None for normal numbers, as after normalisation.
        dtype: of clips and weights.
    """

    call: Callable[[Tensor], Any]
    module: nn.Module | None
    layout: Layout
    values: tuple[float, float] | None = None
    dtype: torch.dtype = torch.float64

    def clips(self, count: int, seed: int = 0) -> Tensor:
        """Random clips (count, *shape): the witnesses that a certificate names by their seed."""
        generator = torch.Generator().manual_seed(1000 + seed)
        shape = (count, *self.layout.shape)
        if self.values is None:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)
        low, high = self.values
        return (low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)).to(self.dtype)

    def moved(self, clips: Tensor, order: Any) -> Tensor:
        """Clips with their frames in this order; frames may be left out and repeated."""
        return clips.index_select(self.layout.time, torch.as_tensor(np.array(order), dtype=torch.long))

    def replaced(self, clips: Tensor, frame: int, other: Tensor) -> Tensor:
        """Clips with one frame from other clips."""
        changed = clips.clone()
        changed.select(self.layout.time, frame).copy_(other.select(self.layout.time, frame))
        return changed

    def answer(self, clips: Tensor) -> Tensor:
        """(B, K) in float64."""
        return as_answer(first_tensor(self.call(clips)), len(clips)).double()

    def distance(self, one: Tensor, other: Tensor) -> float:
        """How far answers are apart, as a share of the largest; infinite if a number is not finite."""
        one, other = one.detach(), other.detach()
        off = (one - other).abs().max() / one.abs().max().clamp_min(1e-300)
        return float(off) if torch.isfinite(off) else float("inf")


def ready(model: Callable[[Tensor], Any], layout: Layout, values: tuple[float, float] | None) -> Bench:
    """A copy of the model on the bench, in eval mode, in float64 if it works in that, or if it can be made to.

    Raises:
        InputError: it is no video model of such clips: expected and actual shapes in one line.
    """
    if not callable(model):
        raise InputError(f"a model is called with a batch of clips, but {type(model).__name__} cannot be called")
    if values is not None and not is_interval(values):
        raise InputError(f"values are a finite interval such as (0, 1), got {shortened(repr(values))}")
    module = _copied(model) if isinstance(model, nn.Module) else None
    tried = []
    for dtype in (torch.float64, torch.float32):
        call = module.to(dtype) if module is not None else model
        bench = Bench(_guarded(call), module, layout, values, dtype)
        try:
            with torch.no_grad():
                bench.answer(bench.clips(2))
        except Failed as failed:
            tried.append(failed.why)
        except InputError:
            raise
        except Exception as error:  # clips that memory cannot hold, answers that nobody can calculate with
            raise InputError(f"no answers to clips {layout.batch_text} to compare: {told(error)}") from error
        else:
            return _finest(bench)
    size = [layout.shape[layout.axes.index(letter)] for letter in "CHW" if letter in layout.axes]
    if len(size) == 3 and _takes(call, size):
        raise InputError(
            f"not a video model: it takes images (B, {', '.join(map(str, size))}), expected one that takes "
            f"clips {layout.batch_text}"
        )
    raise InputError(f"the model does not take clips {layout.batch_text}: {tried[-1]}")


def _finest(bench: Bench) -> Bench:
    """The same model with every float as float64, if it computes coarser ones and gives the same answers with finer."""
    if coarsest(bench) is torch.float64:
        return bench

    def call(clips: Tensor) -> Any:
        with _Fine(), _FineConvolutions():
            return bench.call(clips)

    fine = replace(bench, call=call, dtype=torch.float64)
    try:
        with torch.no_grad():
            apart = bench.distance(bench.answer(bench.clips(2)), fine.answer(bench.clips(2).double()))
            return fine if apart < 0.1 and coarsest(fine) is torch.float64 else bench
    except InputError:  # it looks at types itself, as recurrent layers do
        return bench


class _Fine(TorchDispatchMode):
    """Computes in float64 what a model would compute in a coarser type: there, rounding could hide a difference."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        changed = [a.alias_info.is_write for a in func._schema.arguments if a.alias_info is not None]
        if changed and not any(changed):  # a view: it stays one
            return func(*args, **(kwargs or {}))
        # what is written to keeps its type, and what is written is as coarse
        kind = next(x.dtype for x in _tensors(args)) if changed else torch.float64

        def finer(x: Any) -> Any:
            if isinstance(x, torch.dtype):
                return torch.float64 if x.is_floating_point else x
            return x.to(kind) if isinstance(x, Tensor) and x.is_floating_point() and kind.is_floating_point else x

        out = func(*tree_map(finer, args), **tree_map(finer, kwargs or {}))
        return out if changed else tree_map(finer, out)


class _FineConvolutions(TorchFunctionMode):
    """Convolutions compare types before they come to `_Fine`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").startswith("conv"):
            args, kwargs = tree_map(_doubled, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _doubled(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


class Failed(InputError):
    """The model raised an error.

    Args:
        why: which error, in one line.
    """

    def __init__(self, clips: Tensor, why: str) -> None:
        super().__init__(f"the model fails on clips {tuple(clips.shape)}: {why}")
        self.why = why


def _guarded(call: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """The same, with whatever the model does to clips that it does not expect as one line."""

    def asked(clips: Tensor) -> Any:
        try:
            return call(clips.clone())  # its own copy, as some models normalise their clips in place
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise Failed(clips, told(error)) from error

    return asked


def _copied(model: nn.Module) -> nn.Module:
    refuse_lazy(model)
    try:
        with torch.no_grad():  # of a scripted module a copy would be a step of the graph
            copied = copy.deepcopy(model).cpu().eval()
        for parameter in copied.parameters():
            parameter.requires_grad_(False)
        return copied
    except Exception as error:  # weights on the meta device, or something in it that cannot be copied
        raise InputError(f"the model cannot be copied to the CPU: {told(error)}") from error


def is_interval(values: Any) -> bool:
    """Whether these are two numbers, the lower one first, that are finitely far apart."""
    if isinstance(values, str):
        return False
    try:
        low, high = map(float, values)
    except (TypeError, ValueError, OverflowError):
        return False
    return low < high and math.isfinite(high - low)


def _takes(call: Callable[[Tensor], Any], size: Sequence[int]) -> bool:
    try:
        with torch.no_grad():
            call(torch.zeros(2, *size))
    except (Exception, SystemExit):
        return False
    return True


def first_tensor(output: Any) -> Tensor:
    """Logits, features or tokens in what a model gives back."""
    if isinstance(output, Tensor):
        if not output.is_floating_point():
            raise InputError(f"expected logits, features or tokens as floats, got {output.dtype} {tuple(output.shape)}")
        if output.is_meta:
            raise InputError("expected answers with numbers in them, got a tensor on the meta device")
        return output
    for name in ("logits", "last_hidden_state"):
        named = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(named, Tensor):
            return first_tensor(named)
    several = (
        output.items()
        if isinstance(output, Mapping)
        else enumerate(output if isinstance(output, (list, tuple)) else ())
    )
    found = {key: part for key, part in several if isinstance(part, Tensor) and part.is_floating_point()}
    if not found:
        raise InputError(f"expected logits, features or tokens as a tensor, got {type(output).__name__}")
    if len(found) > 1:  # which one is meant? one may be blind and another not
        vectors = [part for part in found.values() if part.ndim == 2]
        if len(vectors) == 1:  # an answer, and what it was made from
            return vectors[0]
        sizes = ", ".join(f"{key}: {tuple(part.shape)}" for key, part in found.items())
        raise InputError(f"the model gives {len(found)} tensors ({sizes}): which is the answer? Let it give only that")
    return next(iter(found.values()))


def as_answer(output: Tensor, clips: int) -> Tensor:
    """Logits (B, K) as they are; anything larger as moments of its values, (B, 10)."""
    if output.ndim < 1 or len(output) != clips or not output.numel():
        raise InputError(f"expected an answer for each of {clips} clips, ({clips}, …), got {tuple(output.shape)}")
    return output.reshape(clips, -1) if output.ndim < 3 else moments(output.reshape(clips, -1))


def moments(values: Tensor) -> Tensor:
    """(B, N) numbers as (B, 10) that say which numbers there are, not where: equal sets, equal moments."""
    values = values.double()
    spread = values.std(1, keepdim=True).clamp_min(1e-300)
    waves = [(f * values / spread + f).cos().mean(1) for f in _FREQUENCIES]
    return torch.stack([*waves, (values.mean(1) / spread[:, 0]), spread[:, 0].log()], 1)


def randomise(module: nn.Module, seed: int) -> None:
    """Weights that are nowhere zero and keep signals at their size, so that none hides a difference."""
    generator = torch.Generator().manual_seed(seed)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    with torch.no_grad():
        for name, p in module.named_parameters():
            if not p.is_floating_point():
                continue
            drawn = torch.randn(p.shape, generator=generator)
            if p.ndim < 2:
                drawn = 0.3 * drawn + (0 if name.endswith("bias") else 1)
            elif id(p) not in tables and p.shape[0] > 1:  # what multiplies; positions and tokens are added instead
                drawn = 1.3 * drawn / (p.numel() / p.shape[0]) ** 0.5
            p.copy_(drawn)


class _Coarsest(TorchDispatchMode):
    """The coarsest floating type of what is computed from a clip; tables of constants may be as coarse as they like."""

    def __init__(self, clips: Tensor) -> None:
        super().__init__()
        self.dtype, self._made = clips.dtype, {_memory(clips): clips}  # kept, so that no memory is given out again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(_memory(x) in self._made for x in _tensors((*args, *(kwargs or {}).values()))):
            for x in _tensors((out,)):
                self._made[_memory(x)] = x
                if x.is_floating_point():
                    self.dtype = max(self.dtype, x.dtype, key=lambda kind: torch.finfo(kind).eps)
        return out


def _tensors(several: Iterable[Any]) -> Iterator[Tensor]:
    for x in several:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _tensors(x)


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def coarsest(bench: Bench) -> torch.dtype:
    """The coarsest type in which the model computes anything: some norms work in float32 whatever they are given."""
    clips = bench.clips(1)
    with torch.no_grad(), _Coarsest(clips) as seen:
        bench.call(clips)
    return seen.dtype


def floor(bench: Bench, clips: Tensor, base: Tensor, dtype: torch.dtype) -> float:
    """What rounding alone may change: the move of the answer when every input number moves by one rounding."""
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(7)
    found = [eps]
    for _ in range(2):
        noise = torch.randn(clips.shape, generator=generator, dtype=torch.float64).sign().to(clips.dtype)
        found.append(bench.distance(base, bench.answer(clips * (1 + eps * noise))))
    return max(found)
