"""Where one patch of a trained model looks: attention weights over the frames of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError
from tps_lab.viz.mosaics import _image, _pixels
from tps_lab.viz.style import INK, QUIET, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def attention_maps(clip_THWC: Any, weights_THW: Any, token: tuple[int, int, int], title: str = "") -> Figure:
    """The frames of a clip, dark where a patch looks little and clear where it looks much.

    Below each frame stands the share of all attention that it gets. Brightness is relative to the
    most attended patch of the clip.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), one frame per step in time of the weights.
        weights_THW: how much attention each patch gets (`measure.looking.attention_of_token`, one
            head or their mean).
        token: frame, row and column of the patch that looks; it is outlined.

    Raises:
        InputError: clip and weights have different numbers of frames, or the patch is not in them.

    >>> figure = attention_maps(np.zeros((4, 16, 16, 3)), np.ones((4, 2, 2)) / 16, (1, 0, 1))
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    clip, weights = _pixels(clip_THWC), np.asarray(weights_THW, float)
    if weights.ndim != 3 or len(weights) != len(clip):
        raise InputError(f"expected weights of {len(clip)} frames (T, H, W), got {weights.shape}")
    if not all(0 <= at < length for at, length in zip(token, weights.shape, strict=True)):
        raise InputError(f"token {token} is not in weights of shape {weights.shape}")
    frames, height, width = clip.shape[:3]
    rows, columns = weights.shape[1:]
    across = min(frames, 8)
    down = -(-frames // across)
    figure = Figure(figsize=(1.25 * across, (1.25 * height / width + 0.28) * down + 0.3), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.02)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    y, x = np.indices((height, width))
    strongest = weights.max() or 1.0
    for t, ax in enumerate(axes):
        if t >= frames:
            ax.set_axis_off()
            continue
        light = (weights[t] / strongest)[y * rows // height, x * columns // width]
        _image(ax, clip[t] * (0.18 + 0.82 * light[..., None] ** 0.6))
        ax.set_xlabel(f"{t}: {100 * weights[t].sum():.0f} %", fontsize=8, color=INK if t == token[0] else QUIET)
        if t == token[0]:
            corner = token[2] * width / columns - 0.5, token[1] * height / rows - 0.5
            for shade, thick in (("white", 3.0), (INK, 1.4)):
                square = Rectangle(corner, width / columns, height / rows, fill=False, edgecolor=shade, linewidth=thick)
                ax.add_patch(square)
    if title:
        figure.suptitle(title, x=0.005, ha="left", fontsize=10, fontweight="bold")
    return figure
