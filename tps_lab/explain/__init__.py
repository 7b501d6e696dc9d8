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

A data set says which pictures its clips show in which frames (`Clips.pictures_shown`): the clips of a scene
have different labels. Those that the model must answer alike give a ceiling on accuracy that holds on the
very test clips, whatever the weights. Where nothing follows, nothing is claimed. The converse, "can
be learnt", is never claimed.

Partitions and relations are covered alike, and so is what says which relations it is made of (`made_of`): channel
shifts, nested softmaxes. Not covered, because attention there has positions of its own: windowed backbones and
relative position biases (no claim at all).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tps_lab.data import ready
from tps_lab.explain.ceilings import Ceiling, ceiling
from tps_lab.explain.certificates import Certificate, certify
from tps_lab.explain.mixing import Mixing, mixing
from tps_lab.explain.symmetry import Symmetry
from tps_lab.text import counted
from tps_lab.training.model import build

if TYPE_CHECKING:
    from tps_lab.data import Clips
    from tps_lab.training.config import RunConfig

__all__ = [
    "Ceiling", "Certificate", "Explanation", "Mixing", "Symmetry", "ceiling", "certify", "explain", "mixing",
]  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """What is proved about a model on a data set, and from what."""

    model: str
    data: str
    mixing: Mixing
    clips: Clips
    ceiling: Ceiling

    def facts(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        mixing, ceiling = self.mixing, self.ceiling
        known, kept = not mixing.outside, mixing.symmetry_of_frames
        return {
            "model": self.model,
            "data": self.data,
            "symmetry": str(kept) if known else None,
            "interchangeable_frames": [list(members) for members in kept.classes] if known else None,
            "sees": kept.verdict(mixing.order_from) if known else None,
            "order_from": mixing.order_from or None,
            "cyclic_period": kept.period if known else None,
            "reach": mixing.reach if known else None,
            "span": mixing.span if known else None,
            "own_place_after_blocks": mixing.own_place_after if known else None,
            "components": mixing.components if known else None,
            "temporal_position": mixing.temporal_position if known else None,
            "needed_reach": self.clips.reach,
            "chance_pct": 100 / len(self.clips.classes),
            "order_blind_ceiling_pct": None if self.clips.ceiling is None else 100 * self.clips.ceiling,
            "ceiling_pct": ceiling.ceiling_pct,
            "reason": ceiling.reason,
        }

    def text(self) -> str:
        """For a terminal."""
        mixing, clips = self.mixing, self.clips
        lines = [("model", self.model), ("data", self.data)]
        if not mixing.outside:
            time = "; each time step has a learned embedding" if mixing.temporal_position else ""
            kept = mixing.symmetry_of_frames
            lines.append(("symmetry", str(kept) + time))
            lines.append(("sees", kept.verdict(mixing.order_from)))
            lines.append(("reach", self._reach()))
            lines.append(("own place", self._own_place()))
            if mixing.components > 1:
                lines.append(("parts", f"the clip falls into {mixing.components} sets of tokens that never meet"))
        chance = f"chance {100 / len(clips.classes):.1f} %"
        blind = "not capped" if clips.ceiling is None else f"at most {100 * clips.ceiling:.1f} %"
        lines.append(("task", f"{chance}, blind to frame order {blind}" + self._needs()))
        highest, reason = self.ceiling.ceiling_pct, self.ceiling.reason
        lines.append(("verdict", reason if highest is None else f"cannot exceed {highest:.1f} %: {reason}"))
        return "\n".join(f"{term:<10}{said}" for term, said in lines)

    def _reach(self) -> str:
        if self.mixing.reach is None:
            return "the answer sees all frames together"
        if self.mixing.reach == 0:
            own = f"step of {self.mixing.tubelet} frames" if self.mixing.tubelet > 1 else "frame"
            return f"its own {own} only, after {self.mixing.blocks}"
        return (
            f"up to {counted(self.mixing.reach, 'frame')} away after {self.mixing.blocks}; "
            f"two frames that meet in a token are up to {self.mixing.span} apart"
        )

    def _own_place(self) -> str:
        after, tubelet = self.mixing.own_place_after, self.mixing.tubelet
        if after is None:
            inside = "" if tubelet == 1 else f", but for the {tubelet} frames of their step"
            return f"patches never meet their own place at another time{inside}"
        inside = "within one block" if after == 1 else f"only over {after} blocks, never within one"
        return f"patches meet their own place at another time {inside}"

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
    clips = ready(config.data)
    found = mixing(build(config, clips))
    if depth is not None and not found.outside:
        found = dataclasses.replace(found, depth=depth)
    blocks = "" if found.outside else f", {found.blocks}"
    model = f"{config.attention} in {config.backbone}{blocks}"
    return Explanation(model, str(config.data), found, clips, ceiling(found, clips, config.tubelet))
