"""What a user would pick instead of this package's shift: copies to hold it against, and whole models.

The released code (MartinXM/TPS) shifts by a clone and one roll per cell of the tile, in windows that are cut
already; timm's image models run on frames; torchvision has a Swin that attends across frames (Video Swin).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tps_lab.attention._core import frame_by_frame
from tps_lab.attention._modules import SpaceTimeAttention, rearrange_tokens
from tps_lab.attention.patch_shift import shift_patches
from tps_lab.backbones._windowed import WindowedAttention
from tps_lab.patterns import gallery

if TYPE_CHECKING:
    from tps_lab.patterns import ShiftPattern


def clone_and_roll(x_BTHWC: Tensor, pattern: ShiftPattern, inverse: bool = False) -> Tensor:
    """The patch shift with a circular border, as the released code computes it."""
    y, rows, columns = x_BTHWC.clone(), pattern.rows, pattern.columns
    for i, row in enumerate(pattern.tile):
        for j, k in enumerate(row):
            if k:
                y[:, :, i::rows, j::columns] = x_BTHWC[:, :, i::rows, j::columns].roll(-k if inverse else k, 1)
    return y


class Copy(torch.autograd.Function):
    """The floor of a shift: one copy forward and one backward, so that both move the tokens once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.clone()


COPY, OURS = "a plain copy", "one gather (ours)"
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    COPY: Copy.apply,
    OURS: lambda x: shift_patches(x, gallery["C"]),
    "clone and roll (released code)": lambda x: clone_and_roll(x, gallery["C"]),
}


def both_passes(way: str, shape: tuple[int, ...], device: str = "cpu") -> Callable[[], None]:
    """One way of `WAYS`, forward and backward, on random tokens."""
    x, grad = torch.randn(shape, requires_grad=True, device=device), torch.randn(shape, device=device)

    def both() -> None:
        x.grad = None
        WAYS[way](x).backward(grad)

    return both


class ReleasedShift(nn.Module):
    """A windowed attention with patch shift whose shift is clone-and-roll; the same function, one clip at a time."""

    kind: Tensor

    def __init__(self, ours: WindowedAttention, pattern: ShiftPattern) -> None:
        super().__init__()
        self.ours, self.pattern = ours, pattern
        plain = ours.grid.route(frame_by_frame.routes)  # (windows · frames, S), frame after frame in every window
        self.register_buffer("order", torch.from_numpy(plain.gather.ravel()), persistent=False)
        self.register_buffer("back", torch.from_numpy(plain.scatter), persistent=False)
        # the mask of every mixed frame: ours stand in another order
        mixed = clone_and_roll(self.in_windows(self.order[:, None]), pattern).reshape(len(plain.gather), -1)
        group = {tuple(tokens): i for i, tokens in enumerate(ours.order.reshape(ours.groups, -1).tolist())}
        kinds = [int(ours.kind_of_group[group[tuple(tokens)]]) for tokens in mixed.tolist()]
        self.register_buffer("kind", torch.tensor(kinds), persistent=False)

    def in_windows(self, x_NC: Tensor) -> Tensor:
        """(windows, T, h, w, C)"""
        return x_NC.reshape(-1, self.ours.grid.frames, *self.ours.grid.window[1:], x_NC.shape[-1])

    def forward(self, x_NHWC: Tensor) -> Tensor:
        ours, c = self.ours, x_NHWC.shape[-1]
        x = rearrange_tokens(x_NHWC.reshape(1, -1, c), self.order, self.back, permutes=True)
        x = clone_and_roll(self.in_windows(x), self.pattern)
        q, k, v, scale = ours.project(x.reshape(len(self.kind), -1, c))
        y = ours._weighted(q, k, v, ours.masks().to(q.dtype).index_select(0, self.kind), 0.0, scale)
        y = clone_and_roll(self.in_windows(y.transpose(1, 2).reshape(-1, c)), self.pattern, inverse=True)
        y = ours.proj_drop(ours.proj(y.reshape(1, -1, c)))
        return rearrange_tokens(y, self.back, self.order, permutes=True).reshape(x_NHWC.shape)


def with_released_shift(model: nn.Module, pattern: str = "C") -> nn.Module:
    """A Swin of ours with TPS, every shift in it replaced."""
    for block in list(model.modules()):
        attention = getattr(block, "attn", None)
        if isinstance(attention, WindowedAttention) and attention.mixer is not frame_by_frame:
            block.attn = ReleasedShift(attention, gallery[pattern])  # type: ignore[assignment]
    return model


def with_plain_copies(model: nn.Module) -> nn.Module:
    """A ViT of ours with TPS whose shifts copy and move nothing: no shift that runs on its own can be faster."""
    for block in model.modules():
        if isinstance(block, SpaceTimeAttention) and not block.in_order:
            block.rearrange = lambda x, *_: Copy.apply(x)  # type: ignore[method-assign]
    return model


class OnFrames(nn.Module):
    """An image model on every `step`-th frame, its logits averaged; clips (B, 3, T, H, W)."""

    def __init__(self, image_model: nn.Module, step: int = 1) -> None:
        super().__init__()
        self.image_model, self.step = image_model, step

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips[:, :, :: self.step].transpose(1, 2)
        logits: Tensor = self.image_model(frames.flatten(0, 1))
        return logits.unflatten(0, frames.shape[:2]).mean(1)
