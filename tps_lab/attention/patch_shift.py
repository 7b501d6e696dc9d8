"""Temporal Patch Shift (TPS): plain spatial attention over frames whose patches have been shifted.

Source: Xiang et al., ECCV 2022, arXiv 2207.13259, section 3.2. Shift, attend inside the mixed
frame, shift back; the residual branch stays where it is. All channels of a patch move together.
Cost O(N²T), that of spatial attention, and no multiply-add more.

Where we differ from the released code: it shifts back before the output projection, we do after
it. The projection works on each token alone, so under a circular border that is the same function;
under a zero border our tokens without a result keep their own value, the code's add the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tps_lab.attention._core import Mixer, ScheduledVariant
from tps_lab.attention._grid import Grid, Routes
from tps_lab.attention._look import Look
from tps_lab.errors import InputError
from tps_lab.patterns import Border, ShiftPattern, check_border, check_switch, gallery

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True)
class PatchShift(ScheduledVariant):
    """A mosaic of patches from several frames is attended to as if it were one frame, then the
    patches go back to where they came from: space and time mix at the price of spatial attention.

    The group of token (t, h, w) is (t + tile[h mod rows, w mod columns]) mod T.

    Args:
        pattern: the tile; a name, text or nested lists.
        border: what enters at the ends of the clip: "circular" (the released code), "zero" (its
            oldest version) or "edge" (the end frame again).
        shift_back: return the patches after attention; False leaves the results mixed (table 2d).
        bias: "moved" lets a relative position bias follow the patches ("Shift RPE"), "fixed" does
            not. Only windowed models have such a bias.
        every: 2 puts TPS in every second block and spatial attention in the others, the paper's
            alternation. With 1, a ViT's clip falls into T mixed frames that never exchange
            anything.
    """

    name = "tps"
    title = "TPS"
    rank = 10
    looks: ClassVar[Mapping[str, Look]] = {
        "pattern=A": Look("#56b4e9", "^", "dashed"),
        "pattern=B": Look("#3487c4", "v", "dotted"),
        "": Look("#0072b2", "s"),
        "pattern=D": Look("#003a63", "D", "dashdot"),
        "every=1": Look("#009e73", "P", "sparse"),
    }
    windowed = True

    every: int = 2
    pattern: ShiftPattern = gallery["C"]
    border: Border = "circular"
    shift_back: bool = True
    bias: Literal["moved", "fixed"] = "moved"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", ShiftPattern.parse(self.pattern))

    @property
    def label(self) -> str:
        _, _, inside = str(self).rstrip(")").partition("(")
        others = [part for part in inside.split(", ") if part and not part.startswith("pattern=")]
        pattern = self.pattern.name if gallery.get(self.pattern.name) == self.pattern else f"[{self.pattern}]"
        return f"{self.title}-{pattern}" + (f" ({', '.join(others)})" if others else "")

    def mixers(self, index: int) -> tuple[Mixer, ...]:
        return (self.patches_shifted(),)

    @lru_cache(maxsize=64)  # noqa: B019 (frozen, and one mixer is one plan in every block)
    def patches_shifted(self) -> Mixer:
        """The mixer "shift, attend in the mixed frame, shift back"."""
        return Mixer(
            lambda grid: shift_routes(grid, self.pattern, self.border, self.shift_back),
            bias_moves=self.bias == "moved",
        )


def shift_routes(grid: Grid, pattern: ShiftPattern, border: Border = "circular", shift_back: bool = True) -> Routes:
    """Routes of a patch shift: group t is the mixed frame t, its slots in the frame's own order.

    A frame's prefix tokens stay in their frame.
    """
    t, h, w = grid.coordinates()
    place = np.arange(t.size) % grid.per_frame
    offsets = np.where(h >= 0, pattern.offsets_on(grid.height, grid.width)[h, w], 0)
    pattern.check_fits(grid.frames)

    def token(frame: np.ndarray) -> np.ndarray:
        if border == "circular":
            return frame % grid.frames * grid.per_frame + place
        inside = frame.clip(0, grid.frames - 1)
        index = inside * grid.per_frame + place
        return np.where(inside == frame, index, -1) if border == "zero" else index

    # The content of mixed slot (t, place) comes from t - k; token (t, place) was sent to t + k.
    gather = token(t - offsets)
    scatter = token(t + offsets) if shift_back else np.arange(t.size)
    return Routes(gather.reshape(grid.frames, grid.per_frame), scatter)


def shift_patches(
    x_BTHWC: Tensor, pattern: ShiftPattern | str, border: Border = "circular", inverse: bool = False
) -> Tensor:
    """The patch shift alone: mixed[b, t, h, w] = x[b, t - k, h, w] with k the tile's offset there.

    Models run the same gather inside their attention; this one is for pictures, notebooks and
    benchmarks.

    Args:
        x_BTHWC: tokens or pixels (B, T, H, W, C), on any device; the tile need not divide H or W.
        pattern: a pattern, a name or a tile's text.
        border: what enters at the ends of the clip.
        inverse: shift back. Under a circular border this undoes the shift bit for bit.

    Returns:
        A new tensor of the same shape; differentiable, by a gather under a circular border.

    Raises:
        InputError: it is no such tensor, border or switch, or the clip is too short for the pattern.
    """
    import torch

    from tps_lab.attention._modules import permute_tokens, rearrange_tokens

    if not isinstance(x_BTHWC, torch.Tensor):
        raise InputError(f"expected a tensor (B, T, H, W, C), got {type(x_BTHWC).__name__}")
    if x_BTHWC.ndim != 5:
        raise InputError(f"expected a tensor (B, T, H, W, C), got {x_BTHWC.ndim} axes: {tuple(x_BTHWC.shape)}")
    check_border(border)
    check_switch(inverse=inverse)
    b, t, h, w, c = x_BTHWC.shape
    there, back = _shift_indices((t, h, w), ShiftPattern.parse(pattern), border, x_BTHWC.device)
    index, undo = (back, there) if inverse else (there, back)
    if border == "circular":
        return permute_tokens(x_BTHWC, index, undo)
    return rearrange_tokens(x_BTHWC.reshape(b, t * h * w, c), index, undo, permutes=False).reshape(x_BTHWC.shape)


@lru_cache(maxsize=64)
def _shift_indices(
    shape: tuple[int, int, int], pattern: ShiftPattern, border: Border, on: device
) -> tuple[Tensor, Tensor]:
    import torch

    routes = shift_routes(Grid(*shape), pattern, border)
    return torch.from_numpy(routes.gather.ravel()).to(on), torch.from_numpy(routes.scatter).to(on)
