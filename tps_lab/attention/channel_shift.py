"""Temporal channel shift (TCS): a few channels of every patch come from the neighbouring frames.

Two published forms of one idea, both followed by plain spatial attention at no extra multiply-add:

* TCS, the partner of TPS in PST (arXiv 2207.13259 and its code): in every head, 1/8 of the
  channels from t - 1 and 1/8 from t + 1; at the clip's ends the frame keeps its own.
* TSM (Lin et al., ICCV 2019, arXiv 1811.08383): the first 1/8 of all channels from t + 1, the next
  1/8 from t - 1; zeros enter at the ends.

The shift happens on the normed input of the attention; the residual branch is not shifted. It is
not a partition of tokens, because one token carries channels of three frames: who sees whom is
stated in `Mixer.content_from`, not derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from tps_lab.attention._core import Mixer, ScheduledVariant, frame_by_frame
from tps_lab.attention._look import Look
from tps_lab.errors import InputError
from tps_lab.specs import Limits


@dataclass(frozen=True)
class ChannelShift(ScheduledVariant):
    """In every head, an eighth of the channels comes from the frame before and an eighth from the
    frame after; then each patch attends within its own frame. One frame of reach per block.

    Args:
        fraction: one n-th of the channels moves each way.
    """

    name = "tcs"
    title = "TCS"
    rank, looks = 20, {"": Look("#e69f00", "<", "dashed")}
    windowed = True
    stated = (
        "A shifted token holds channels of three frames, so it is no partition: who sees whom is stated, not derived."
    )
    form: ClassVar[Literal["tcs", "tsm"]] = "tcs"

    # With halves nothing of the frame itself would be left, and `content_from` says that it is.
    limits: ClassVar[Limits] = {"fraction": (3, 10_000)}

    fraction: int = 8

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (channels_shifted(self.form, self.fraction),)


@dataclass(frozen=True)
class TSM(ChannelShift):
    """An eighth of all channels comes from the frame after and an eighth from the frame before,
    zeros at the ends of the clip; then each patch attends within its own frame.
    """

    name = "tsm"
    title = "TSM"
    rank, looks = 30, {"": Look("#a6761d", ">", "dotted")}
    form = "tsm"


@lru_cache(maxsize=64)
def channels_shifted(form: Literal["tcs", "tsm"] = "tcs", fraction: int = 8) -> Mixer:
    """The mixer "shift channels, attend in the frame"."""

    def before(x_BTNC: Any, heads: int) -> Any:
        return channel_shift(x_BTNC, form, fraction, heads)

    return Mixer(frame_by_frame.routes, before=before, content_from=(-1, 0, 1))


def channel_shift(x_BTNC: Any, form: Literal["tcs", "tsm"], fraction: int, heads: int) -> Any:
    """Shift 1/fraction of the channels each way along time.

    Args:
        x_BTNC: tensor (B, T, tokens, C).
        heads: for TCS, into how many equal parts the channels are split before shifting.

    Returns:
        A new tensor of the same shape.
    """
    b, t, n, c = x_BTNC.shape
    x = x_BTNC.reshape(b, t, n, heads if form == "tcs" else 1, -1)
    fold = x.shape[-1] // fraction
    if fold == 0:
        raise InputError(f"{x.shape[-1]} channels cannot give 1/{fraction} to each neighbour: none would move")
    first, second, y = slice(0, fold), slice(fold, 2 * fold), x.clone()
    if form == "tcs":
        y[:, 1:, ..., first] = x[:, :-1, ..., first]
        y[:, :-1, ..., second] = x[:, 1:, ..., second]
    else:
        y[:, :, ..., : 2 * fold] = 0
        y[:, :-1, ..., first] = x[:, 1:, ..., first]
        y[:, 1:, ..., second] = x[:, :-1, ..., second]
    return y.reshape(b, t, n, c)


def from_offsets(x_BTNC: Any, fraction: int, offsets: list[int]) -> Any:
    """1/fraction of the channels from the frame at each offset in turn, as far as the clip goes; else its own.

    Args:
        x_BTNC: tensor (B, T, tokens, C).

    Returns:
        A new tensor of the same shape.
    """
    frames, fold, y = x_BTNC.shape[1], x_BTNC.shape[-1] // fraction, x_BTNC.clone()
    if fold == 0:
        raise InputError(f"{x_BTNC.shape[-1]} channels cannot give 1/{fraction} to each neighbour: none would move")
    for number, offset in enumerate(offsets):
        first, end, part = max(-offset, 0), frames - max(offset, 0), slice(number * fold, (number + 1) * fold)
        if first < end:
            y[:, first:end, :, part] = x_BTNC[:, first + offset : end + offset, :, part]
    return y
