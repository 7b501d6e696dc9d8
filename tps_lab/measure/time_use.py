"""Does a trained model use time at all? Its test clips with their frames rearranged, and how far accuracy falls.

Each rearrangement shows the model the same clips with a change that leaves single frames as they are::

    as it is     0 1 2 3 4 5 6 7      reversed      7 6 5 4 3 2 1 0
    shuffled     5 0 3 6 1 7 2 4      every 2nd     0 0 2 2 4 4 6 6
    frozen       3 3 3 3 3 3 3 3      every 4th     0 0 0 0 4 4 4 4

A model that is blind to the order of frames answers a shuffled clip exactly as the clip itself: where its
accuracy does not fall by that, order was not used. If reversal turns answers into the opposite class of a
pair, the direction of time was read. A fall under `frozen` alone shows that frames differ, not that their
order counts. Nothing is trained here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from tps_lab.data import Clips, batch_of
from tps_lab.measure.accuracy import asked

_LN2 = log(2)
_DRAWS = 3  # orders that each clip is shuffled into


@dataclass(frozen=True)
class Rearranged:
    """One change of the frames' order.

    Args:
        name: of the rearrangement.
        top1_pct: accuracy on the changed clips, labels as they were.
        fall: percentage points below the unchanged clips; negative if it rose.
        same_answer_pct: clips that get the same answer as unchanged.
        opposite_answer_pct: clips that are now taken for the other class of their pair; None without pairs.
        divergence_bits: how far the probabilities move, from 0 to 1: the Jensen-Shannon divergence between the
            answers to a clip and to the changed clip, averaged (Lin, IEEE Trans. Inf. Theory 37, 1991).
        clips: how many; several orders of one clip count as several.
    """

    name: str
    top1_pct: float
    fall: float
    same_answer_pct: float
    opposite_answer_pct: float | None
    divergence_bits: float
    clips: int


def orders(frames: int, rng: torch.Generator) -> dict[str, list[Tensor]]:
    """Rearrangement → the frames (T,) that a clip is made of, once or several times.

    Shuffled orders are never the clip's own. With one frame there is nothing to rearrange.
    """
    own = torch.arange(frames)
    shuffled: list[Tensor] = []
    while len(shuffled) < _DRAWS and frames > 1:
        order = torch.randperm(frames, generator=rng)
        if not torch.equal(order, own):
            shuffled.append(order)
    return {
        "as it is": [own],
        "shuffled": shuffled or [own],
        "reversed": [own.flip(0)],
        "frozen": [own * 0 + frames // 2],
        **{f"every {name}": [own // step * step] for step, name in ((2, "2nd"), (4, "4th")) if step < frames},
    }


def rearrangements(model: nn.Module, clips: Clips, batch: int = 64) -> list[Rearranged]:
    """Accuracy of a trained model under each rearrangement, on all test clips, which are shuffled alike."""
    changes = orders(clips.clip_shape[1], torch.Generator().manual_seed(0))
    every = [order for several in changes.values() for order in several]

    def ask(index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        x, y = batch_of(clips, "test", index, device)
        return torch.stack([model(x[:, :, order.to(device)]).float() for order in every], 1), y

    answers, labels = asked(model, clips.size("test"), batch, ask, (len(every), len(clips.classes)))
    logits = dict(zip(changes, answers.split([len(several) for several in changes.values()], 1), strict=True))
    label = labels[:, None]
    other = torch.full((len(clips.classes),), -1)
    for a, b in clips.pairs:
        other[a], other[b] = b, a
    unchanged = logits["as it is"]
    whole = unchanged.argmax(2)
    base = _percent(whole == label)
    rows = []
    for name, changed in logits.items():
        said = changed.argmax(2)
        top1 = _percent(said == label)
        opposite = _percent(said == other[label]) if clips.pairs else None
        apart = round(_divergence(unchanged, changed), 4)
        rows.append(
            Rearranged(name, top1, round(base - top1, 4), _percent(said == whole), opposite, apart, said.numel())
        )
    return rows


def facts(rows: list[Rearranged], clips: Clips) -> dict[str, Any]:
    """The rearrangements as plain data, with what they should be read against."""
    return {
        "probes": [{"probe" if key == "name" else key: value for key, value in asdict(row).items()} for row in rows],
        "chance_pct": 100 / len(clips.classes),
        "ceiling_pct": None if clips.ceiling is None else 100 * clips.ceiling,
        "answer": answer(rows),
    }


def answer(rows: list[Rearranged]) -> str:
    """What the rearrangements say, in a sentence, and no more than that."""
    by = {row.name: row for row in rows}
    shuffled, backwards = by["shuffled"], by["reversed"]
    if shuffled.same_answer_pct == 100 and shuffled.divergence_bits:
        return (
            "Every clip gets the same answer shuffled, though not with the same confidence: "
            f"{shuffled.divergence_bits:.2g} bits apart."
        )
    if shuffled.same_answer_pct == 100:
        return "It does not use the order of frames: every clip gets the same answer shuffled."
    said = (
        f"Shuffled frames cost {shuffled.fall:.1f} points of accuracy and change "
        f"{100 - shuffled.same_answer_pct:.1f} % of the answers"
    )
    if backwards.opposite_answer_pct is not None:
        said += f"; reversed, {backwards.opposite_answer_pct:.1f} % of the clips are taken for the opposite class"
    return said + "."


def _divergence(one: Tensor, other: Tensor) -> float:
    """Mean Jensen-Shannon divergence in bits between the softmax of logits (N, orders, classes)."""
    p, q = one.double().softmax(2).expand_as(other), other.double().softmax(2)
    middle = (p + q) / 2
    return (
        float((torch.special.entr(middle) - (torch.special.entr(p) + torch.special.entr(q)) / 2).sum(2).mean()) / _LN2
    )


def _percent(right: Tensor) -> float:
    return round(100 * right.float().mean().item(), 4)
