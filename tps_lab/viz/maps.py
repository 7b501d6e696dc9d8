"""Where one patch of a trained model looks: attention weights over the frames of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError
from tps_lab.viz.mosaics import _image, _pixels
from tps_lab.viz.style import INK, QUIET, insets, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def attention_maps(
    clip_THWC: Any, weights_THW: Any, token: tuple[int, int, int], title: str = "", ax: Axes | None = None
) -> Figure:
    """The frames of a clip, pale where a patch looks little and clear where it looks much.

    Below each frame stands the share of all attention that it gets. Clearness is relative to the
    most attended patch of the clip; patches that get more than twice an equal share are outlined in blue.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), one frame per step in time of the weights.
        weights_THW: how much attention each patch gets (`measure.inspection.attention_of_token`, one
            head or their mean).
        token: frame, row and column of the patch that looks; it is outlined in black.
        title: above the frames.
        ax: where to draw, all frames inside it; None makes a figure.

    Raises:
        InputError: clip and weights have different numbers of frames, or the patch is not in them.

    >>> figure = attention_maps(np.zeros((4, 16, 16, 3)), np.ones((4, 2, 2)) / 16, (1, 0, 1))
    """
    from matplotlib.figure import Figure

    clip, weights = _pixels(clip_THWC), np.asarray(weights_THW, float)
    if weights.ndim != 3 or len(weights) != len(clip):
        raise InputError(f"expected weights of {len(clip)} frames (T, H, W), got {weights.shape}")
    if not all(0 <= at < length for at, length in zip(token, weights.shape, strict=True)):
        raise InputError(f"token {token} is not in weights of shape {weights.shape}")
    frames, height, width = clip.shape[:3]
    rows, columns = weights.shape[1:]
    across = min(frames, 8)
    down = -(-frames // across)
    if ax is None:
        figure = Figure(figsize=(1.25 * across, (1.25 * height / width + 0.28) * down + 0.3))
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.02)
        axes = figure.subplots(down, across, squeeze=False).ravel()
    else:
        figure = ax.figure.get_figure(root=True)  # type: ignore[assignment]
        axes = insets(ax, down, across).ravel()
    y, x = np.indices((height, width))
    strongest = weights.max() or 1.0
    much = 2 * weights.sum() / weights.size
    for t, panel in enumerate(axes):
        if t >= frames:
            panel.set_axis_off()
            continue
        clear = (weights[t] / strongest)[y * rows // height, x * columns // width]
        clear = 0.12 + 0.88 * clear[..., None] ** 0.6
        _image(panel, 1 - clear * (1 - clip[t]))
        panel.set_xlabel(f"{t}: {100 * weights[t].sum():.0f} %", fontsize=8, color=INK if t == token[0] else QUIET)
        for row, column in np.argwhere(weights[t] > much):
            panel.add_patch(_square(row, column, clip.shape, weights.shape, "#0072b2", 1.2))
        if t == token[0]:
            for shade, thick in (("white", 3.4), (INK, 1.8)):
                panel.add_patch(_square(token[1], token[2], clip.shape, weights.shape, shade, thick))
    if title and ax is None:
        figure.suptitle(title, x=0.005, ha="left", fontsize=10, fontweight="bold")
    elif title and ax is not None:
        ax.set_title(title)
    return figure


def _square(row: int, column: int, pixels: tuple[int, ...], patches: tuple[int, ...], edge: str, thick: float) -> Any:
    from matplotlib.patches import Rectangle

    high, wide = pixels[1] / patches[1], pixels[2] / patches[2]
    corner = column * wide - 0.5, row * high - 0.5
    return Rectangle(corner, wide, high, fill=False, edgecolor=edge, linewidth=thick)
