"""Inside a model: from which block on order matters and frames meet, and whether time steps get a position at all.

Every block is watched while frames of a clip are replaced and moved:

* Entries that change when frame t is replaced are those that *depend* on frame t. As long as each entry
  depends on one frame (or one tubelet), frames are **apart**, and which entries belong to which time step is known.
  Where entries depend on several, frames have **met**; how far, in frames, is the reach.
* **Order matters** at a block if the set of its values changes when frames change places. A block that only
  moves its values along with their frames keeps the set.
* On a **frozen** clip, the same picture T times, only a temporal position (or an end of the clip) can make the
  time steps differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tps_lab.explain.bench import Bench, moments

# nothing happens in them, or nobody can look
_PASS = (nn.ModuleList, nn.ModuleDict, nn.Identity, nn.Dropout, torch.jit.ScriptModule)


@dataclass(frozen=True)
class Inside:
    """What was seen inside a model; None and empty where nothing can be said.

    Args:
        order_from: where order first matters.
        meet_from: where frames first meet.
        position: whether time steps get a position: True, False, or None if frames meet in the first layer.
        position_from: where time steps of a frozen clip first differ, or whose argument the position is.
        reach: block → how many frames away, at most, its tokens are influenced.
        fields: at the last block whose tokens still have a time: bool (steps, frames), the frames that influence
            each step.
    """

    order_from: str = ""
    meet_from: str = ""
    position: bool | None = None
    position_from: str = ""
    reach: dict[str, int] = field(default_factory=dict)
    fields: np.ndarray | None = None


@dataclass(eq=False)
class _Seen:
    """One value that passed by: the output of a module, or the input of the first block of a row."""

    where: str
    value: Tensor


def watched(module: nn.Module) -> list[str]:
    """Names of blocks (children of lists and sequences, to the last number) and of what stands beside them."""
    names = []
    for name, part in module.named_modules():
        parts = name.split(".")
        numbers = [i for i, p in enumerate(parts) if p.isdigit()]
        ahead = not numbers or numbers[-1] == len(parts) - 1 == numbers[0] + len(numbers) - 1
        if name and ahead and not isinstance(part, _PASS):
            names.append(name)
    return names


def label(name: str) -> str:
    """ "encoder.layer.3" → "block 3"; other names as they are."""
    head, _, last = name.rpartition(".")
    plain = last.isdigit() and not any(p.isdigit() for p in head.split("."))
    return f"block {last}" if plain and head.rpartition(".")[2] in ("blocks", "layers", "layer") else name


class _Watch:
    """Records what passes through the watched modules of one call, in order."""

    def __init__(self, bench: Bench) -> None:
        assert bench.module is not None
        self.bench, self.module = bench, bench.module
        self.names = watched(self.module)
        self.labels: dict[str, str] = {}  # block 3 is one of the first row; those of another keep their names
        for name in self.names:
            self.labels[name] = name if label(name) in self.labels.values() else label(name)
        self.positions: list[tuple[str, Tensor]] = []

    def __call__(self, clips: Tensor) -> list[_Seen]:
        seen: list[_Seen] = []
        self.positions = []

        def note(where: str, passed: Any) -> None:
            if (value := _tensor(passed)) is not None:
                seen.append(_Seen(where, value.detach().clone()))

        def before(where: str, _: nn.Module, args: Any, kwargs: Any) -> None:
            note(where, [*args, *kwargs.values()])

        def after(where: str, _: nn.Module, args: Any, output: Any) -> None:
            note(where, output)

        def position(name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
            for value in [kwargs["position_ids"]] if "position_ids" in kwargs else args:
                if isinstance(value, Tensor) and not value.is_floating_point() and value.ndim == 3:
                    self.positions.append((name, value.detach().clone()))

        parts, handles = dict(self.module.named_modules()), []
        for name in self.names:
            handles.append(parts[name].register_forward_hook(partial(after, self.labels[name])))
            if name.endswith(".0") and label(name) != name:
                begin = partial(before, f"before {self.labels[name]}")
                handles.append(parts[name].register_forward_pre_hook(begin, with_kwargs=True))
        for name, part in parts.items():
            if "rotary" in type(part).__name__.lower() or "decoderlayer" in type(part).__name__.lower():
                handles.append(part.register_forward_pre_hook(partial(position, name), with_kwargs=True))
        try:
            with torch.no_grad():
                self.bench.call(clips)
        finally:
            for handle in handles:
                handle.remove()
        return seen


def _tensor(output: Any) -> Tensor | None:
    several = output if isinstance(output, (list, tuple)) else [output]
    return next((v for v in several if isinstance(v, Tensor) and v.is_floating_point() and v.numel() > 1), None)


def look_inside(bench: Bench, tolerance: float, orders: Sequence[np.ndarray]) -> Inside:
    """Watch one clip go through the model, with its frames replaced, moved and frozen.

    Args:
        tolerance: what counts as a change, as a share of the largest value.
        orders: (T,) each, permutations of the frames.
    """
    if bench.module is None or bench.layout.frames == 1:
        return Inside()
    watch, frames = _Watch(bench), bench.layout.frames
    clip, other = bench.clips(1, seed=1), bench.clips(1, seed=2)
    base = watch(clip)
    positions = watch.positions
    where = [seen.where for seen in base]

    def again(clips: Tensor) -> list[Tensor] | None:
        found = watch(clips)
        same = len(found) == len(base) and all(a.value.shape == b.value.shape for a, b in zip(base, found, strict=True))
        return [seen.value for seen in found] if same else None

    changed = []  # by frame, by event: which entries moved
    for t in range(frames):
        values = again(bench.replaced(clip, t, other))
        if values is None:
            return Inside()  # what happens depends on the content of the clip: no event can be compared
        pairs = zip(base, values, strict=True)
        changed.append([((a.value - b).abs() > tolerance * a.value.abs().max()).flatten() for a, b in pairs])
    steps = _steps(base, changed)
    known = {base[i].value.shape: groups for i, groups in reversed(steps.items())}  # the first of each shape
    met = [
        i
        for i, seen in enumerate(base)
        if i not in steps and seen.value.shape in known and _depends_on_many(changed, i)
    ]
    early = [
        i
        for i in range(len(base))
        if i not in steps and _depends_on_many(changed, i) and not _all_depend_on_all(changed, i)
    ]
    meet = min(met[:1] + early[:1], default=None)
    position, position_from = _given(positions, base, known)
    if position is None and known:
        position, position_from = _frozen(bench, again, where, base, known, tolerance)
        if position is False and meet is not None and not any(seen.value.shape in known for seen in base[meet:]):
            position = None  # behind the layer in which frames meet, nothing can be compared
    orders = _of_steps(orders, next(iter(steps.values()), []))
    order_from = _order_from(base, [again(bench.moved(clip, order)) for order in orders], tolerance)
    if position is False and meet is None and order_from:
        position = None  # frames meet outside the modules, where they may also be given a position
    reach, fields = _reach(base, changed, known, where, frames)
    return Inside(
        order_from=order_from,
        meet_from="" if meet is None else where[meet],
        position=position,
        position_from=position_from,
        reach=reach,
        fields=fields,
    )


Groups = list[tuple[list[int], np.ndarray]]  # by time step: its frames, its entries


def _steps(base: list[_Seen], changed: list[list[Tensor]]) -> dict[int, Groups]:
    """Event → its time steps, for events in which frames are apart: entries of two frames are the same or disjoint."""
    found = {}
    for i in range(len(base)):
        groups: Groups = []
        for t in range(len(changed)):
            entries = changed[t][i].numpy()
            same = next((k for k, (_, others) in enumerate(groups) if _overlap(others, entries) > 0.9), None)
            if same is None:
                groups.append(([t], entries))
            else:  # a tubelet; some of its entries may by chance have moved too little for one of its frames
                groups[same] = [*groups[same][0], t], groups[same][1] | entries
        count = np.sum([entries for _, entries in groups], axis=0)
        if len(groups) > 1 and count.max() == 1 and all(entries.any() for _, entries in groups):
            found[i] = groups
    return found


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _depends_on_many(changed: list[list[Tensor]], event: int) -> bool:
    return bool((torch.stack([frames[event] for frames in changed]).sum(0) > 1).any())


def _all_depend_on_all(changed: list[list[Tensor]], event: int) -> bool:
    """Whether every entry that depends on any frame depends on all: frames are pooled, or all met at once."""
    depends = torch.stack([frames[event] for frames in changed])
    return bool((depends.all(0) == depends.any(0)).all())


def _of_steps(orders: Sequence[np.ndarray], groups: Groups) -> list[np.ndarray]:
    """Orders of frames as orders of tubelets, inside which frames stay as they are."""
    lengths = {len(frames) for frames, _ in groups}
    if len(lengths) != 1 or lengths == {1}:
        return list(orders)
    return [np.concatenate([groups[g][0] for g in np.argsort(np.asarray(order)[: len(groups)])]) for order in orders]


def _order_from(base: list[_Seen], moved: list[list[Tensor] | None], tolerance: float) -> str:
    for i, seen in enumerate(base):
        own = moments(seen.value.reshape(1, -1))
        if not seen.value.std():
            continue
        for values in moved:
            if values is not None and (moments(values[i].reshape(1, -1)) - own).abs().max() > tolerance:
                return seen.where
    return ""


def _frozen(
    bench: Bench, again: Any, where: list[str], base: list[_Seen], known: dict[Any, Groups], tolerance: float
) -> tuple[bool | None, str]:
    values = again(bench.moved(bench.clips(1, seed=1), [0] * bench.layout.frames))
    if values is None:
        return None, ""
    for i, value in enumerate(values):
        groups = known.get(base[i].value.shape)
        if groups is None:
            continue
        flat = value.flatten()
        rows = [flat[torch.from_numpy(entries)] for _, entries in groups]
        if any(len(r) != len(rows[0]) for r in rows):
            continue
        if any((r - rows[0]).abs().max() > tolerance * flat.abs().max() for r in rows[1:]):
            return True, where[i]
    return False, ""


def _given(positions: list[tuple[str, Tensor]], base: list[_Seen], known: dict[Any, Groups]) -> tuple[bool | None, str]:
    """Position ids of (axes, B, L), the first axis with time first, compared between the time steps of L tokens."""
    for name, ids in positions:
        for shape, groups in known.items():
            if len(shape) != 3 or shape[:2] != ids.shape[1:]:
                continue
            times = ids[0]
            said = [
                sorted(set(times[torch.from_numpy(entries.reshape(shape)).any(-1)].tolist())) for _, entries in groups
            ]
            return any(one != said[0] for one in said[1:]), f"position ids of {name}"
    return None, ""


def _reach(
    base: list[_Seen], changed: list[list[Tensor]], known: dict[Any, Groups], where: list[str], frames: int
) -> tuple[dict[str, int], np.ndarray | None]:
    reach: dict[str, int] = {}
    fields: np.ndarray | None = None
    for i, seen in enumerate(base):
        groups = known.get(seen.value.shape)
        if groups is None or not any(changed[t][i].any() for t in range(frames)):
            continue
        depends = np.array([[changed[t][i].numpy()[entries].any() for t in range(frames)] for _, entries in groups])
        away = [
            min(abs(t - own) for own in group)
            for (group, _), row in zip(groups, depends, strict=True)
            for t in np.flatnonzero(row)
        ]
        if any(p.isdigit() for p in where[i].replace(" ", ".").split(".")):
            reach[where[i]] = int(max(away, default=0))
        fields = depends
    return reach, fields
