"""Does a video model see time at all? A certificate for any model, from random weights: no data, no training.

Whether a model *can* tell the order of frames follows from its symmetries, and random weights show them: an
identity that holds for several draws of random weights and clips in float64 holds for all weights (but for a
set of measure zero), and one witness clip disproves it. Whether the answer uses a frame is tried by replacing
it, and by gradients. The model's own weights are tried too: a network that can see order but whose position is
zero as built does not, yet.

Nothing is proved by experiment about weights that are special: a certificate speaks of almost all of them. Nor about
clips that are rare: where order matters only if something shows that random clips lack, no draw can tell.
Proofs for the variants of this package are in `tps_lab.explain.mixing`; tests hold both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tps_lab.data import opened
from tps_lab.errors import InputError
from tps_lab.explain.bench import SAFETY, Bench, Failed, Layout, coarsest, floor, randomise, ready
from tps_lab.explain.ceilings import Tried, ceiling
from tps_lab.explain.inside import Inside, look_inside
from tps_lab.explain.symmetry import Symmetry
from tps_lab.measure import time_use

_TOO_COARSE = 0.1  # of the largest number of an answer: where rounding could hide so much, no "same" is a proof
_RANDOM = "not deterministic: two calls with the same clip give different answers"
_AGAIN = 8  # times the same clip: by chance a random model may repeat itself
_DRAWS = 8  # of weights, each with its own clip: what a model does to half of all clips, 1 in 256 certificates misses


@dataclass(frozen=True)
class Witness:
    """Two clips with the same pictures that the model answers differently.

    Args:
        order: the frames of the second clip, as indices of the first's.
        seed: of the random weights and of the first clip, `Bench.clips(1, seed)`.
        difference: between the answers, as a share of the largest number.
        clip: the first clip, (1, *shape).
    """

    order: tuple[int, ...]
    seed: int
    difference: float
    clip: Tensor


@dataclass(frozen=True)
class Certificate:
    """What a model can tell of the order of frames.

    Args:
        model: its name.
        layout: axes of its clips.
        symmetry: which rearrangements leave the answer as it is, for random weights.
        witness: a clip and its rearrangement that get different answers; None if every order gets the same.
        repetition: how long each picture stays makes no difference.
        floor: what rounding changes, as a share of the largest number; differences count from `SAFETY` times that.
        dtype: in which the model was made to compute, its coarsest part.
        uses: which frames the answer depends on, by replacing them.
        gradient: the same by gradients; None if there are none.
        inside: from which block on, and whether there is a temporal position.
        faults: what no video model should do; a sentence each.
        as_given: what the model's own weights make of it, where that is less than other weights could.
        data, ceiling_pct: a data set, if one was named, and what the model cannot exceed on it.
        trained: `tps_lab.measure.time_use.facts` on that data set's test clips, if the model was trained on it.
    """

    model: str
    layout: Layout
    symmetry: Symmetry
    witness: Witness | None
    repetition: bool
    floor: float
    dtype: str
    uses: tuple[bool, ...]
    gradient: tuple[bool, ...] | None
    inside: Inside
    faults: tuple[str, ...] = ()
    as_given: str = ""
    data: str = ""
    ceiling_pct: float | None = None
    trained: dict[str, Any] | None = None

    @property
    def verdict(self) -> str:
        """In one line."""
        if self.faults:
            return self.faults[0]
        said = self.symmetry.verdict(self.inside.order_from)
        if self.witness is None and self.symmetry.frames > 1 and self.dtype != "float64":
            said += f", as far as {self.dtype} shows: to {SAFETY * self.floor:.0e} of it"
        if self.kind == "sees order" and self.inside.fields is not None and not self.inside.meet_from:
            said += ", but none of its modules lets frames meet before they are pooled"
        if self.inside.position is False and self.inside.position_from:
            said += ", though every frame has the same temporal position"
        if self.ceiling_pct is not None:
            said += f"; cannot exceed {self.ceiling_pct:.1f} % on {self.data}"
        return said

    @property
    def random(self) -> bool:
        """Whether it answers the same clip differently each time, so that nothing else was found out."""
        return self.faults[:1] == (_RANDOM,)

    @property
    def kind(self) -> str:
        """In a word, for badges: broken, order-blind, cyclic, blind to direction, partly or sees order."""
        if self.faults:
            return "broken"
        s = self.symmetry
        if s.blind:
            return "order-blind"
        if s.step < s.frames:
            return f"blind to steps of {s.step}"
        if s.period < s.frames:
            return "cyclic"
        if s.reversible:
            return "blind to direction"
        return "sees order" if len(s.classes) == s.frames else "sees part of the order"

    def facts(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        s, inside, witness = self.symmetry, self.inside, self.witness
        return {
            "model": self.model,
            "verdict": self.verdict,
            "kind": self.kind,
            "clip_shape": list(self.layout.shape),
            "axes": self.layout.axes,
            "axes_how": self.layout.how,
            "invariant": None
            if self.random
            else {
                "permutation": s.blind,
                "reversal": s.reversible,
                "cyclic_shift": s.period == 1,
                "neighbour_swaps": [t for t in range(s.frames - 1) if any(t in c and t + 1 in c for c in s.classes)],
                "repetition": self.repetition,
            },
            "interchangeable_frames": [list(members) for members in s.classes],
            "step": s.step,
            "cyclic_period": s.period,
            "witness": None
            if witness is None
            else {"order": list(witness.order), "seed": witness.seed, "difference": witness.difference},
            "floating_point_floor": self.floor,
            "computed_in": self.dtype,
            "uses_frames": [t for t, used in enumerate(self.uses) if used],
            "uses_by_gradient": None if self.gradient is None else [t for t, used in enumerate(self.gradient) if used],
            "order_from": inside.order_from or None,
            "frames_meet_from": inside.meet_from or None,
            "temporal_position": inside.position,
            "temporal_position_from": inside.position_from or None,
            "reach_by_block": inside.reach,
            "faults": list(self.faults),
            "as_given": self.as_given or None,
            "data": self.data or None,
            "ceiling_pct": self.ceiling_pct,
            "trained": self.trained,
        }

    def text(self) -> str:
        """For a terminal."""
        inside, witness = self.inside, self.witness
        lines = [("model", self.model), ("clips", f"{self.layout.batch_text}, axes {self.layout.how}")]
        if self.random:
            return _table([*lines, ("verdict", self.verdict)])
        lines += [
            ("same under", str(self.symmetry) + (", how long a picture stays" if self.repetition else "")),
        ]
        if witness is not None:
            lines.append(
                ("witness", f"frames {', '.join(map(str, witness.order))} of clip {witness.seed}: the answer moves by "
                            f"{witness.difference:.1e}, rounding by {self.floor:.0e} ({self.dtype})")
            )  # fmt: skip
        else:
            lines.append(("rounding", f"no answer moves by more than {SAFETY} × {self.floor:.0e} ({self.dtype})"))
        lines.append(("uses", _ranges(self.uses) + _unlike(self.uses, self.gradient)))
        if inside.meet_from:
            lines.append(("meet", f"frames first meet: {inside.meet_from}"))
        if inside.position is not None:
            where = f" ({inside.position_from})" if inside.position_from else ""
            said = "changes over frames" if inside.position else "the same for every frame"
            lines.append(("position", said + where))
        if self.as_given:
            lines.append(("as given", self.as_given))
        lines += [("fault", fault) for fault in self.faults[1:]]
        if self.trained is not None:
            lines.append(("trained", self.trained["answer"]))
            lines += [("", _rearranged(row)) for row in self.trained["probes"]]
        return _table([*lines, ("verdict", self.verdict)])


def _table(lines: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{term:<12}{said}" for term, said in lines)


def _rearranged(row: dict[str, Any]) -> str:
    """How a trained model took one rearrangement of its test clips."""
    if row["probe"] == "as it is":
        return f"{row['probe']:<10}{row['top1_pct']:5.1f} % right"
    return (
        f"{row['probe']:<10}{row['top1_pct']:5.1f} % right, {row['same_answer_pct']:5.1f} % answered as before, "
        f"{row['divergence_bits']:.2f} bits apart"
    )


def certify(
    model: Callable[[Tensor], Any],
    clip_shape: Sequence[int],
    *,
    axes: str | None = None,
    values: tuple[float, float] | None = None,
    data: str | None = None,
    trained: bool = False,
    name: str | None = None,
) -> Certificate:
    """What a model can tell of the order of frames, for almost all weights.

    Args:
        model: clips (B, *clip_shape) to logits (B, K), features, tokens, or an object with `logits` or
            `last_hidden_state`; of several tensors, the only one with a vector per clip. Of a `torch.nn.Module` a copy
            gets random weights, with dropout and the like off; a plain function is asked as it is. Both compute in
            float64 where they can be made to.
        clip_shape: of one clip, without the batch: (C, T, H, W), or as `axes` says.
        axes: a letter an axis, "TCHW"; guessed where only one axis can be the three colours.
        values: the interval of pixel values that the model takes; None for normalised ones (mean 0, variance 1).
        data: a data set, e.g. "direction": what the model cannot exceed on it.
        trained: the model was trained on `data`: try its test clips shuffled, reversed, frozen and thinned out too.

    Raises:
        InputError: it is no video model of such clips.

    >>> mean_of_frames = lambda clips: clips.mean((2, 3, 4))
    >>> certify(mean_of_frames, (3, 8, 4, 4)).verdict
    'order-blind: any order of the frames gets the same answer'
    """
    layout = Layout.of(clip_shape, axes)
    clips = None if data is None else opened(data)
    if clips is not None and layout.frames != clips.clip_shape[1]:
        raise InputError(f"the model takes {layout.frames} frames, but clips of '{data}' have {clips.clip_shape[1]}")
    bench = ready(model, layout, values)
    trial = _Trial(bench, range(1 if bench.module is not None else _DRAWS), own=True)
    if not trial.finite:
        raise InputError(
            f"the model's answers are not finite (nan or infinite) for clips {layout.batch_text} of "
            + ("normal numbers: does it want others, such as values=(0, 1)?" if values is None else f"values {values}")
        )
    faults, as_given = trial.faults(), ""  # whatever the weights
    if not faults:
        trial.check_fine_enough()
    if bench.module is not None:
        given_constant, given_blind = trial.constant(), trial.seems_blind()
        trial = _Trial(bench, range(1, 1 + _DRAWS), own=False)
        if not trial.finite:  # weights that this model cannot stand
            bench.module.load_state_dict(model.state_dict())  # type: ignore[attr-defined]
            trial = _Trial(bench, [0], own=True)
        if not faults:
            trial.check_fine_enough()
        if faults:
            pass  # nothing more can be said of its weights
        elif given_constant and not trial.constant():
            as_given = "its own weights give every clip the same answer, other weights do not"
        elif given_blind and not trial.seems_blind():
            as_given = "its own weights are blind to the order of frames, other weights are not"
    if not faults and trial.constant():
        faults = (*faults, "constant: every clip gets the same answer")
    uses = trial.uses()
    if any(uses) and not all(uses):
        faults = (*faults, f"uses only {_ranges(uses)} of {layout.frames}")
    found = Certificate(
        model=name or str(getattr(model, "__name__", type(model).__name__)),
        layout=layout,
        symmetry=Symmetry.find(layout.frames, trial.keeps),
        witness=trial.witness,
        repetition=layout.frames > 2 and trial.alike(*_repetition(layout.frames)),
        floor=trial.floor,
        dtype=str(trial.dtype).removeprefix("torch."),
        uses=uses,
        gradient=trial.gradient(),
        inside=trial.inside(),
        faults=faults,
        as_given=as_given,
    )
    if clips is None:
        return found
    tried = time_use.facts(time_use.rearrangements(model, clips), clips) if trained else None  # type: ignore[arg-type]
    return replace(found, ceiling_pct=ceiling(Tried(found.symmetry), clips).ceiling_pct, data=data or "", trained=tried)


@dataclass(frozen=True)
class _Draw:
    """A seed of weights and of a clip, the answer to it (1, K), and what rounding changes in that."""

    seed: int
    clip: Tensor
    base: Tensor
    floor: float


class _Trial:
    """A bench with several draws of weights and clips, and what they say together: one witness is enough.

    Args:
        seeds: of the draws.
        own: leave the weights as they are.
    """

    def __init__(self, bench: Bench, seeds: Iterable[int], own: bool) -> None:
        self.bench, self.own, self._at = bench, own, -1
        self.dtype = coarsest(bench)
        self.witness: Witness | None = None
        self._seeds = list(seeds)
        self._drawn: list[_Draw] = []

    def draws(self) -> Iterator[_Draw]:
        """One after another, as they are needed: most questions are settled by the first."""
        for k, seed in enumerate(self._seeds):
            if k == len(self._drawn):
                clip = self.bench.clips(1, seed)
                base = self._answer(seed, clip)
                self._drawn.append(_Draw(seed, clip, base, floor(self.bench, clip, base, self.dtype)))
            yield self._drawn[k]

    @property
    def floor(self) -> float:
        return max(draw.floor for draw in self._drawn)

    @property
    def finite(self) -> bool:
        return all(np.isfinite(draw.floor) for draw in self.draws())

    def check_fine_enough(self) -> None:
        """Refuse a model of which "the same answer" could mean no more than that rounding hides the difference."""
        if not self.finite:
            return
        other, kind = self.bench.clips(1, seed=99), str(self.dtype).removeprefix("torch.")
        moves = max(self.bench.distance(draw.base, self._answer(draw.seed, other)) for draw in self.draws())
        hidden = SAFETY * self.floor
        if hidden > _TOO_COARSE:
            finer = "" if self.dtype is torch.float64 else "; certify it in float32 or float64"
            raise InputError(
                f"rounding moves the model's answers by {self.floor:.0e} of the largest number, as it computes in "
                f"{kind}: too much to tell what the order of frames changes{finer}"
            )
        if hidden > _TOO_COARSE * moves and moves > hidden:  # below that every clip gets the same answer
            raise InputError(
                f"other clips move the model's answers by no more than {moves:.0e} of the largest number, rounding in "
                f"{kind} by {self.floor:.0e}: too little to tell what the order of frames changes"
            )

    @torch.no_grad()
    def _answer(self, seed: int, clips: Tensor) -> Tensor:
        self._load(seed)
        return self.bench.answer(clips)

    def _load(self, seed: int) -> None:
        if not self.own and self._at != seed:
            assert self.bench.module is not None
            randomise(self.bench.module, seed)
            self._at = seed

    def _differs(
        self, change: Callable[[Tensor], Tensor], since: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[_Draw, float] | None:
        """The first draw that answers a changed clip differently, and by how much; None if all answer alike."""
        for draw in self.draws():
            before = draw.base if since is None else self._answer(draw.seed, since(draw.clip))
            off = self.bench.distance(before, self._answer(draw.seed, change(draw.clip)))
            if off > SAFETY * draw.floor:
                return draw, off
        return None

    def keeps(self, order: Any) -> bool:
        found = self._differs(lambda clip: self.bench.moved(clip, order))
        if found is not None and self.witness is None:
            draw, off = found
            self.witness = Witness(tuple(int(t) for t in order), draw.seed, off, draw.clip)
        return found is None

    def alike(self, one: Any, other: Any) -> bool:
        return not self._differs(lambda clip: self.bench.moved(clip, other), lambda clip: self.bench.moved(clip, one))

    def seems_blind(self) -> bool:
        return not any(self._differs(partial(self.bench.moved, order=order)) for order in self._orders())

    def _orders(self) -> list[np.ndarray]:
        frames, rng = self.bench.layout.frames, np.random.default_rng(0)
        return [np.arange(frames)[::-1], *(rng.permutation(frames) for _ in range(3))]

    def constant(self) -> bool:
        return not self._differs(lambda clip: self.bench.clips(1, seed=99))

    def faults(self) -> tuple[str, ...]:
        """What no model should do; later questions make little sense then."""
        draw = next(self.draws())
        clip, other = draw.clip, self.bench.clips(1, seed=98)
        again = max(self.bench.distance(draw.base, self._answer(draw.seed, clip)) for _ in range(_AGAIN))
        if again > 1000 * torch.finfo(self.dtype).eps:
            return (_RANDOM,)
        among = self._answer(draw.seed, torch.cat([other, clip, other]))[1:2]
        if self.bench.distance(draw.base, among) > SAFETY * draw.floor:
            return ("mixes the clips of a batch: an answer changes with its neighbours; is an axis folded wrongly?",)
        return ()

    def uses(self) -> tuple[bool, ...]:
        # several, and larger ones: a model may look at some frames only if something in them asks for it
        others = [self.bench.clips(1, seed=seed) for seed in (97, 96, 95)]
        others += [] if self.bench.values else [4 * other for other in others]
        return tuple(
            any(self._differs(partial(self.bench.replaced, frame=t, other=other)) for other in others)
            for t in range(self.bench.layout.frames)
        )

    def gradient(self) -> tuple[bool, ...] | None:
        """Which frames the answer has a gradient of; None if it has none at all."""
        draw = next(self.draws())
        self._load(draw.seed)
        clip = draw.clip.clone().requires_grad_()
        towards = torch.randn(draw.base.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        try:
            (slope,) = torch.autograd.grad((self.bench.answer(clip) * towards).sum(), clip)
        except (RuntimeError, Failed):
            return None
        return tuple((slope.movedim(self.bench.layout.time, 0).flatten(1).abs().amax(1) > 0).tolist())

    def inside(self) -> Inside:
        draw = next(self.draws())
        self._load(draw.seed)
        tolerance = max(1000 * torch.finfo(self.dtype).eps, SAFETY * draw.floor)
        return look_inside(self.bench, tolerance, self._orders())


def _repetition(frames: int) -> tuple[list[int], list[int]]:
    """The same pictures in the same order, once the first one stays longest, once the last."""
    pictures = max(2, frames // 2)
    stays = frames - pictures
    return [0] * stays + list(range(pictures)), list(range(pictures)) + [pictures - 1] * stays


def _ranges(used: Sequence[bool]) -> str:
    """ "frames 0 to 3, 6"; "no frame"."""
    runs: list[list[int]] = []
    for t in (t for t, yes in enumerate(used) if yes):
        if runs and runs[-1][-1] == t - 1:
            runs[-1].append(t)
        else:
            runs.append([t])
    if not runs:
        return "no frame"
    said = ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
    return f"frame {said}" if len(runs) == 1 == len(runs[0]) else f"frames {said}"


def _unlike(used: Sequence[bool], gradient: Sequence[bool] | None) -> str:
    if gradient is None:
        return " (it has no gradients)"
    return "" if list(gradient) == list(used) else f"; by gradients {_ranges(gradient)}"
