"""What a model cannot learn, before any training: from its mixing, depth, border and time embedding.

Two facts about a model decide it, and both follow from who attends to whom:

* **Symmetry.** Attention without positions treats its tokens as a set. If moving the frames of the
  clip about only renames the groups of tokens, the model's answer stays the same. Which movements do
  that is found by trying them on the groups themselves (`keeps`): any permutation of frames (spatial
  attention, joint attention without a time embedding), cyclic shifts (patch shift with a circular
  border), or none.
* **Reach.** Each token's output depends on the frames that influence it after L blocks, its *window*.
  The head averages over frames. So two clips that show the same windows equally often, where a window
  is counted by its place unless a cyclic shift makes places alike, get the same answer.

A data set says which pictures its clips show in which frames (`Clips.stories`): twins of a scene have
different labels. Twins that the model must answer alike give a ceiling on accuracy that holds on the
very test clips, whatever the weights. Where nothing follows, nothing is claimed. The converse, "can
be learnt", is never claimed.

What is not covered, because attention there has positions of its own or is no partition of tokens:
windowed backbones and relative position biases (no claim at all), and mixings that move channels or
nest softmaxes (no symmetry is claimed unless frames never meet in them; influence as they state it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tps_lab.attention._core import Grid, KernelMixer, Mixer, Variant

if TYPE_CHECKING:
    from tps_lab.config import RunConfig
    from tps_lab.data import Clips

_MOST_TOKENS = 4000  # who influences whom is a table of tokens × tokens


@dataclass(frozen=True, eq=False)
class Mixing:
    """A model as far as proofs go.

    Args:
        variant, grid, depth: how its tokens meet, which tokens, how many blocks.
        temporal_position: it has a learned embedding per time step.
        pools_jointly: the head pools a frame's tokens by something else than their mean or class token.
        frames_meet_behind: a module behind the blocks mixes all frames (factorised encoder); without a
            time embedding it treats them as a set.
        outside: why nothing can be proved about this backbone; empty if something can.
    """

    variant: Variant
    grid: Grid
    depth: int
    temporal_position: bool
    pools_jointly: bool = False
    frames_meet_behind: bool = False
    outside: str = ""

    @cached_property
    def mixers(self) -> list[tuple[Mixer, Grid]]:
        """Every different attention of the model, with the tokens that take part in it."""
        found: dict[Mixer, Grid] = {}
        for index in range(self.depth):
            *extra, last = self.variant.block(index, self.depth)
            found |= {mixer: mixer.step_grid(self.grid) for mixer in extra} | {last: self.grid}
        return list(found.items())

    def keeps(self, order: Sequence[int]) -> bool:
        """Whether the model gives a clip and the clip in this order of frames the same answer, whatever its weights.

        Args:
            order: (T,), a permutation of the time steps.
        """
        if self.outside or self.temporal_position:
            return False
        return all(_keeps(mixer, grid, np.asarray(order)) for mixer, grid in self.mixers)

    @cached_property
    def classes(self) -> list[list[int]]:
        """Frames that may change places without changing the answer, as classes; single frames if none may."""
        # If i may change places with j, and j with k, then i with k: one look per class is enough.
        found: list[list[int]] = []
        for t in range(self.grid.frames):
            for members in found:
                swapped = np.arange(self.grid.frames)
                swapped[[t, members[0]]] = members[0], t
                if self.keeps(swapped):
                    members.append(t)
                    break
            else:
                found.append([t])
        return found

    @cached_property
    def period(self) -> int:
        """The least number of frames by which the clip may be shifted round its ends; T if only by none."""
        frames = self.grid.frames
        divisors = [k for k in range(1, frames) if frames % k == 0]
        return next((k for k in divisors if self.keeps((np.arange(frames) + k) % frames)), frames)

    @cached_property
    def reversible(self) -> bool:
        """Whether a clip played backwards gets the same answer."""
        return self.keeps(np.arange(self.grid.frames)[::-1])

    @property
    def symmetry(self) -> str:
        """The group in words."""
        if len(self.classes) == 1:
            return "any permutation of frames"
        words = []
        if self.period < self.grid.frames:
            words.append("cyclic shifts" if self.period == 1 else f"cyclic shifts by {self.period} frames")
        shared = [members for members in self.classes if len(members) > 1]
        if shared:
            sets = ["{" + ", ".join(map(str, members)) + "}" for members in shared]
            few = len(sets) <= 2
            words.append("permutations within " + (" and ".join(sets) if few else f"{len(sets)} sets like {sets[0]}"))
        if self.reversible:
            words.append("playing backwards")
        return ", ".join(words) or "none"

    @cached_property
    def windows(self) -> list[np.ndarray]:
        """For each place of a token in its frame, which frames influence it: bool (T, T), row = its time.

        Empty if a token of the whole clip carries the answer, or frames meet behind the blocks.
        """
        if self.outside or self.grid.clip_prefix or self.frames_meet_behind:
            return []
        influence = self.variant.influence(self.grid, self.depth)
        t, n = self.grid.frames, self.grid.per_frame
        frames = influence.reshape(t, n, t, n).any(3)  # (T, places, T)
        if self.pools_jointly:
            frames = frames.any(1, keepdims=True)
        return list({frames[:, place].tobytes(): frames[:, place] for place in range(frames.shape[1])}.values())

    @cached_property
    def _apart(self) -> np.ndarray:
        """How many frames apart two frames are, round the ends of the clip if it has none: int (T, T)."""
        t = np.arange(self.grid.frames)
        apart = np.abs(t[:, None] - t)
        return np.minimum(apart, self.grid.frames - apart) if self.period == 1 else apart

    @property
    def reach(self) -> int | None:
        """How many frames away, at most, a token is influenced from; None if the answer sees all frames together."""
        return max(int((self._apart * window).max()) for window in self.windows) if self.windows else None

    @property
    def span(self) -> int | None:
        """How far apart, at most, two frames are that influence one token; None as for `reach`."""
        rows = [row for window in self.windows for row in window]
        return max(int(self._apart[np.ix_(row, row)].max()) for row in rows) if rows else None

    @property
    def worlds(self) -> int:
        """Into how many sets of tokens the clip falls that never exchange anything; 1 if all meet."""
        from scipy.sparse.csgraph import connected_components

        if self.outside or self.frames_meet_behind:
            return 1
        return int(connected_components(self.variant.influence(self.grid, self.depth), directed=False)[0])

    def alike(self, one: Sequence[int], other: Sequence[int]) -> Literal["", "symmetry", "reach"]:
        """Why two clips must get the same answer; empty if nothing forces it.

        Args:
            one, other: (T,), which picture each time step shows.
        """
        a, b = np.asarray(one), np.asarray(other)
        if self.outside:
            return ""
        shifts = range(0, self.grid.frames, self.period)
        moved = [np.roll(x, k) for x in ([a, a[::-1]] if self.reversible else [a]) for k in shifts]
        if any(all(np.array_equal(np.sort(m[c]), np.sort(b[c])) for c in self.classes) for m in moved):
            return "symmetry"
        if self.windows and all(self._seen(a, window) == self._seen(b, window) for window in self.windows):
            return "reach"
        return ""

    def _seen(self, story: np.ndarray, window: np.ndarray) -> Counter[Any]:
        """How often each content of a window is seen; counted by its place too, as far as places differ."""
        frames = len(story)
        found: Counter[Any] = Counter()
        for s in range(frames):
            later = np.flatnonzero(np.roll(window[s], -s))  # where the window lies, seen from its token
            found[s % self.period, later.tobytes(), story[(s + later) % frames].tobytes()] += 1
        return found


def _keeps(mixer: Mixer, grid: Grid, order: np.ndarray) -> bool:
    """Whether renaming tokens by a permutation of frames leaves who attends to whom as it is."""
    n, tokens = grid.per_frame, grid.frames * grid.per_frame
    moved = (order[:, None] * n + np.arange(n)).ravel()  # token → where its frame's content comes from
    if mixer.before is not None or isinstance(mixer, KernelMixer):
        return False  # stated, not derived: nothing to try a permutation on
    routes = grid.route(mixer.routes)
    keys = np.zeros((tokens, tokens + 1), int)  # how often each token, or a zero, is a key of each token's result
    query = np.full(tokens, -1)
    groups, slots = routes.gather.shape
    for token, slot in enumerate(routes.scatter):
        if slot < 0:
            continue
        group, place = divmod(int(slot), slots)
        visible = routes.gather[group]
        if routes.regions is not None:
            visible = visible[routes.regions[group] == routes.regions[group, place]]
        keys[token] = np.bincount(visible % (tokens + 1), minlength=tokens + 1)
        query[token] = routes.gather[group, place] % (tokens + 1)
    ahead = np.append(moved, tokens)
    renamed = np.where(query >= 0, ahead[query], -1)
    return np.array_equal(query[moved], renamed) and np.array_equal(keys[moved][:, ahead], keys)


def mixing(model: Any) -> Mixing:
    """A video model of `create_model`, as far as proofs go."""
    from timm.models.vision_transformer import VisionTransformer

    from tps_lab.backbones.vit import VideoViT

    variant, image_model = model.variant, model.image_model
    if not isinstance(model, VideoViT) or type(image_model) is not VisionTransformer:
        outside = f"a {type(image_model).__name__} has positions or windows of its own, which proofs do not cover"
        return Mixing(variant, Grid(model.frames // model.tubelet, 1, 1), 1, False, outside=outside)
    outside = ""
    if model.grid.tokens > _MOST_TOKENS:
        outside = (
            f"{model.grid.tokens:,} tokens are more than proofs can look at ({_MOST_TOKENS:,}); take a smaller size"
        )
    return Mixing(
        variant,
        model.grid,
        len(image_model.blocks),
        temporal_position=model.temporal_embed is not None,
        pools_jointly=image_model.global_pool not in ("token", "avg"),
        frames_meet_behind=model.after is not None,
        outside=outside,
    )


# ---------------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Certificate:
    """What the weights cannot change about a model's accuracy on the test clips.

    Args:
        ceiling_pct: it cannot exceed this; None if nothing is proved.
        reason: why, in one sentence.
    """

    ceiling_pct: float | None
    reason: str


def certify(mixing: Mixing, clips: Clips, tubelet: int = 1) -> Certificate:
    """What a model cannot learn of a data set."""
    if mixing.outside:
        return Certificate(None, f"nothing proved: {mixing.outside}")
    stories = clips.stories("test")
    if stories is None or clips.twins == 1:
        if len(mixing.classes) == 1 and clips.ceiling is not None:
            return Certificate(
                100 * clips.ceiling, f"the model is blind to the order of frames, and {clips.ceiling_reason}"
            )
        return Certificate(None, "nothing proved: the data set says nothing about clips that differ in time only")
    told, times = np.unique(_of_steps(np.asarray(stories), tubelet), axis=0, return_counts=True)
    answers, whys = np.zeros(len(told)), Counter[str]()
    for number, twins in enumerate(told):
        answers[number], found = _different_answers(mixing, twins)
        whys.update({why: int(times[number]) for why in found})
    ceiling = 100 * float((answers * times).sum() / times.sum()) / clips.twins
    if not whys:
        return Certificate(None, "nothing proved: neither symmetry nor reach forces any twins to be answered alike")
    return Certificate(ceiling, _reason(mixing, clips, whys))


def _of_steps(stories: np.ndarray, tubelet: int) -> np.ndarray:
    """Pictures by frame → by time step: a number for each different sequence of `tubelet` pictures."""
    if tubelet == 1:
        return stories
    steps = stories.reshape(*stories.shape[:-1], -1, tubelet)
    _, numbers = np.unique(steps.reshape(-1, tubelet), axis=0, return_inverse=True)
    return numbers.reshape(steps.shape[:-1])


def _different_answers(mixing: Mixing, twins: np.ndarray) -> tuple[int, set[str]]:
    """How many different answers a scene's twins (K, T) can get at most, and why not more."""
    sets: list[int] = list(range(len(twins)))
    whys: set[str] = set()
    for i, one in enumerate(twins):
        for j in range(i):
            if sets[j] != sets[i] and (why := mixing.alike(twins[j], one)):
                whys.add(why)
                sets = [sets[j] if s == sets[i] else s for s in sets]
    return len(set(sets)), whys


def _reason(mixing: Mixing, clips: Clips, whys: Counter[str]) -> str:
    parts = []
    if whys["symmetry"]:
        parts.append(f"its answer stays the same under {mixing.symmetry}, and that turns clips into their twins")
    if whys["reach"]:
        seen = "one frame at a time" if mixing.span == 0 else f"frames at most {mixing.span} apart together"
        gaps = "" if not mixing.span else f" ({_offsets(mixing)})"
        needs = f", the task needs {clips.reach}" if clips.reach is not None else ""
        parts.append(
            f"after {mixing.depth} blocks its tokens see {seen}{gaps}{needs}, and twins look alike through that"
        )
    which = "" if clips.twins == 2 else f" of each {clips.twins}"
    return (
        f"{'; and '.join(parts)}; twins{which} have different labels, so at most one of those answered alike is right"
    )


def _offsets(mixing: Mixing) -> str:
    """Which distances between two frames some token sees, in words."""
    rows = [row for window in mixing.windows for row in window]
    apart = sorted({int(d) for row in rows for d in np.unique(mixing._apart[np.ix_(row, row)])} - {0})
    return f"distances {', '.join(map(str, apart))}" if len(apart) < (mixing.span or 0) else "all distances up to that"


# ---------------------------------------------------------------------- in words


@dataclass(frozen=True)
class Explanation:
    """What is proved about a model on a data set, and from what."""

    model: str
    data: str
    mixing: Mixing
    clips: Clips
    certificate: Certificate

    def facts(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        mixing, certificate = self.mixing, self.certificate
        known = not mixing.outside
        return {
            "model": self.model,
            "data": self.data,
            "symmetry": mixing.symmetry if known else None,
            "interchangeable_frames": mixing.classes if known else None,
            "cyclic_period": mixing.period if known else None,
            "reach": mixing.reach if known else None,
            "span": mixing.span if known else None,
            "worlds": mixing.worlds if known else None,
            "temporal_position": mixing.temporal_position if known else None,
            "needed_reach": self.clips.reach,
            "chance_pct": 100 / len(self.clips.classes),
            "order_blind_ceiling_pct": None if self.clips.ceiling is None else 100 * self.clips.ceiling,
            "ceiling_pct": certificate.ceiling_pct,
            "reason": certificate.reason,
        }

    def text(self) -> str:
        """For a terminal."""
        mixing, clips = self.mixing, self.clips
        lines = [("model", self.model), ("data", self.data)]
        if not mixing.outside:
            time = "; each time step has a learned embedding" if mixing.temporal_position else ""
            lines.append(("symmetry", mixing.symmetry + time))
            lines.append(("reach", self._reach()))
            if mixing.worlds > 1:
                lines.append(("worlds", f"the clip falls into {mixing.worlds} sets of tokens that never meet"))
        chance = f"chance {100 / len(clips.classes):.1f} %"
        blind = "not capped" if clips.ceiling is None else f"at most {100 * clips.ceiling:.1f} %"
        lines.append(("task", f"{chance}, blind to frame order {blind}" + self._needs()))
        ceiling, reason = self.certificate.ceiling_pct, self.certificate.reason
        lines.append(("verdict", reason if ceiling is None else f"cannot exceed {ceiling:.1f} %: {reason}"))
        return "\n".join(f"{term:<10}{said}" for term, said in lines)

    def _reach(self) -> str:
        if self.mixing.reach is None:
            return "the answer sees all frames together"
        if self.mixing.reach == 0:
            return f"its own frame only, after {self.mixing.depth} blocks"
        return (
            f"up to {self.mixing.reach} frames away after {self.mixing.depth} blocks; "
            f"two frames that meet in a token are up to {self.mixing.span} apart"
        )

    def _needs(self) -> str:
        reach = self.clips.reach
        if reach is None:
            return ""
        if reach == 0:
            return "; single frames are enough"
        return f"; frames {reach} apart must be seen together where time has no embedding and no ends"


def explain(config: RunConfig, depth: int | None = None) -> Explanation:
    """What a run's model cannot learn of its data, from the configuration alone.

    Args:
        depth: blocks, other than the backbone's own.

    Raises:
        InputError: the configuration cannot work.
    """
    import dataclasses

    from tps_lab import data
    from tps_lab.train import build

    clips = data.parse(config.data).opened()
    found = mixing(build(config, clips))
    if depth is not None and not found.outside:
        found = dataclasses.replace(found, depth=depth)
    blocks = "" if found.outside else f", {found.depth} blocks"
    model = f"{config.attention} in {config.backbone}{blocks}"
    return Explanation(model, config.data, found, clips, certify(found, clips, config.tubelet))


def needed_reach(stories: np.ndarray) -> int | None:
    """How far apart frames must be seen together to tell all twins of all scenes apart, on a ring without ends.

    Args:
        stories: (scenes, twins, T), see `Clips.stories`.

    Returns:
        The least r for which windows of r + 1 frames in a row differ; None if not even the whole ring does.
    """
    told = np.unique(stories, axis=0)
    for reach in range(told.shape[-1]):
        if all(len({_ring(story, reach) for story in twins}) == len(twins) for twins in told):
            return reach
    return None


def _ring(story: Iterable[int], reach: int) -> tuple[Any, ...]:
    story = [int(picture) for picture in story]
    around = story + story
    return tuple(sorted(Counter(tuple(around[s : s + reach + 1]) for s in range(len(story))).items()))
