"""Window attention over space and time with a timm block's own weights.

    one gather: cyclic roll, padding, window partition and the variant's regrouping
    → QKV → fused attention, relative position bias and window mask as its mask → projection
    → one scatter: all of it back

Parameters keep timm's names, so image weights load and save as they do there. The masks of shifted
windows and the zeros of padded maps are timm's too (-100, and padding is seen), hence the same
features to float precision.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tps_lab.attention._core import Mixer
from tps_lab.attention._modules import rearrange_tokens, remember, remembered
from tps_lab.attention._windows import Extent, PositionBias, WindowGrid, plan
from tps_lab.backbones._macs import Attending, linear_macs

# One call of fused attention per kind of group up to this many; beyond, one call with the masks
# laid out per group. The first keeps nothing larger than one mask; the second saves small calls.
_CALLS = 8


class WindowedAttention(nn.Module):
    """Attention inside the windows of `grid`, grouped by `mixer`; x (B·T, H, W, C) to the same shape.

    Args:
        attention: timm's window attention, whose parameters it takes over.
        mixer: who meets whom in a window.
        grid: the clip's tokens and its windows.
        position_bias: see `attention._windows.plan`.
        extent: of the bias table, zeros where the offsets decide; None lets them decide all.
    """

    order: Tensor
    back: Tensor
    bias_index: Tensor
    region: Tensor
    bias_of_kind: Tensor
    region_of_kind: Tensor
    kind_of_group: Tensor

    def __init__(
        self,
        attention: nn.Module,
        mixer: Mixer,
        grid: WindowGrid,
        position_bias: PositionBias = "diagonal",
        extent: Extent | None = None,
    ) -> None:
        super().__init__()
        laid_out = plan(mixer, grid, position_bias, extent)
        source: Any = attention
        self.mixer, self.grid, self.extent = mixer, grid, laid_out.extent
        self.counts = [groups for groups, _, _ in laid_out.kinds]
        self.groups = sum(self.counts)
        self.permutes = laid_out.routes.is_permutation
        self.masked = bool(laid_out.region.any())
        self.fused_attn = True  # timm's switch: False keeps scores and weights as tensors
        self.num_heads: int = source.num_heads
        self.qkv, self.proj = source.qkv, source.proj
        self.attn_drop, self.proj_drop = source.attn_drop, source.proj_drop
        device = source.qkv.weight.device
        for name, array in {
            "order": laid_out.routes.gather.ravel(),
            "back": laid_out.routes.scatter,
            "bias_index": laid_out.bias_index,
            "region": laid_out.region,
            "bias_of_kind": np.array([kind[1] for kind in laid_out.kinds]),
            "region_of_kind": np.array([kind[2] for kind in laid_out.kinds]),
            "kind_of_group": np.repeat(np.arange(len(self.counts)), self.counts),
        }.items():
            self.register_buffer(name, torch.from_numpy(array.copy()).to(device), persistent=False)
        self.take_position_bias(source)

    # ------------------------------------------------------------------ what Swin v1 and v2 do each their own way

    def take_position_bias(self, source: Any) -> None:
        """Take the image model's parameters of relative position over, extended to time."""
        raise NotImplementedError

    def bias_table(self) -> Tensor:
        """Biases (rows, heads) in the order of `attention._windows`."""
        raise NotImplementedError

    def project(self, x_NSC: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Q, K, V as (N, heads, S, channels per head), and the scale of the scores."""
        raise NotImplementedError

    def bias_macs(self) -> int:
        """Multiply-adds for the bias table."""
        return 0

    # ------------------------------------------------------------------ forward

    def forward(self, x_NHWC: Tensor) -> Tensor:
        grid, c = self.grid, x_NHWC.shape[-1]
        b = x_NHWC.shape[0] // grid.frames
        x = x_NHWC
        if self.mixer.before is not None:
            x = self.mixer.before(x.reshape(b, grid.frames, grid.per_frame, c), self.num_heads)
        order, back = self._rows(b)
        x = rearrange_tokens(x.reshape(1, -1, c), order, back, self.permutes)
        q, k, v, scale = self.project(x.reshape(self.groups * b, -1, c))
        y = self.attend(q, k, v, scale).transpose(1, 2).flatten(2)
        y = self.proj_drop(self.proj(y))
        return rearrange_tokens(y.reshape(1, -1, c), back, order, self.permutes).reshape(x_NHWC.shape)

    def _rows(self, b: int) -> tuple[Tensor, ...]:
        # Clips stand inside groups, so that a kind's groups of all clips are one slice.
        if b == 1:
            return self.order, self.back
        return remembered(self.order, b) or remember(self.order, b, self._rows_of_clips(b))

    def _rows_of_clips(self, b: int) -> tuple[Tensor, ...]:
        clip = torch.arange(b, device=self.order.device)
        order = self.order.reshape(self.groups, 1, -1)
        slots = order.shape[2]
        order = torch.where(order < 0, -1, order + self.grid.tokens * clip[:, None])
        back = torch.where(self.back < 0, -1, (self.back // slots * b + clip[:, None]) * slots + self.back % slots)
        return order.reshape(-1), back.reshape(-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention, (groups·B, heads, S, channels) each, 4-D: on 5-D torch takes its slow kernel."""
        clips, drop = q.shape[0] // self.groups, self.attn_drop.p if self.training else 0.0
        masks = self.masks().to(q.dtype)
        if len(self.counts) > _CALLS:
            kind = self.kind_of_group[:, None].expand(-1, clips).reshape(-1)
            return self._weighted(q, k, v, masks.index_select(0, kind), drop, scale)
        counts = [n * clips for n in self.counts]
        parts = zip(q.split(counts), k.split(counts), v.split(counts), masks.split(1), strict=True)
        found = [self._weighted(q, k, v, mask, drop, scale) for q, k, v, mask in parts]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _weighted(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, drop: float, scale: float) -> Tensor:
        if self.fused_attn:
            return F.scaled_dot_product_attention(q, k, v, mask, drop, scale=scale)
        return F.dropout((q * scale @ k.transpose(-2, -1) + mask).softmax(-1), drop) @ v

    def masks(self) -> Tensor:
        """Bias and mask of every kind of group, (kinds, heads, S, S)."""
        # contiguous: CUDA's fused kernel takes no mask whose keys are not neighbours in memory
        bias = F.embedding(self.bias_index, self.bias_table()).permute(0, 3, 1, 2).contiguous()
        if not self.masked:  # kinds differ in their bias alone
            return bias
        region = self.region.index_select(0, self.region_of_kind)
        return bias.index_select(0, self.bias_of_kind) - 100.0 * (region[:, None, :, None] != region[:, None, None])

    # ------------------------------------------------------------------ closed form

    def macs(self) -> int:
        """Multiply-adds for one clip: padded slots count, for they are computed."""
        return self.attending().total + self.bias_macs()

    def attending(self) -> Attending:
        linears, width = linear_macs(self.qkv) + linear_macs(self.proj), self.proj.in_features
        return Attending(self.mixer.meetings(self.grid), linears, 2 * width, width, fused=self.fused_attn)

    def offset_macs(self) -> int:
        """Of `bias_macs`, those whose input is offsets, which want no gradient."""
        return 0

    def extra_repr(self) -> str:
        return f"window={self.grid.window}, roll={self.grid.roll}, groups={self.groups}, kinds={len(self.counts)}"


class TableAttention(WindowedAttention):
    """Swin v1: a learned table of biases.

    The image model's table holds (Δh, Δw). Where frames meet it is repeated over Δt, so that all
    frames are alike at first ("Shift RPE" and its initialisation, arXiv 2207.13259, section 3.2).
    """

    def take_position_bias(self, source: Any) -> None:
        old = source.relative_position_bias_table
        (h, w), sizes = source.window_size, [2 * extent - 1 for extent in self.extent]
        table = old.detach().reshape(2 * h - 1, 2 * w - 1, -1)
        for axis, size in enumerate(sizes[1:]):  # offsets 0 only, where no others occur
            table = table.narrow(axis, (table.shape[axis] - size) // 2, size)
        table = table.expand(sizes[0], *table.shape).reshape(-1, self.num_heads)
        self.relative_position_bias_table = nn.Parameter(table.clone(), requires_grad=old.requires_grad)

    def bias_table(self) -> Tensor:
        return self.relative_position_bias_table

    def project(self, x_NSC: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        n, s, _ = x_NSC.shape
        q, k, v = self.qkv(x_NSC).reshape(n, s, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v, q.shape[-1] ** -0.5


class ContinuousAttention(WindowedAttention):
    """Swin v2: cosine attention, and a small network from offsets to biases.

    Time enters that network as a third input: a column `cpb_time` beside the two of its first
    layer, times the offset in frames scaled as the others are (divided by the table's extent, then
    logarithmic). At Δt = 0 that adds exactly nothing whatever the column holds, so the image
    weights' function is kept inside frames for ever, and with the column zero at first it is the
    same for every Δt, as a repeated table is.
    """

    spatial_offsets: Tensor
    temporal_offsets: Tensor
    k_bias: Tensor | None

    def take_position_bias(self, source: Any) -> None:
        t, h, w = self.extent
        offsets = source.relative_coords_table[0]  # (2H-1, 2W-1, 2), scaled by the pre-training window
        for axis, extent in enumerate((h, w)):
            size = 2 * extent - 1
            offsets = offsets.narrow(axis, (offsets.shape[axis] - size) // 2, size)
        self.register_buffer("spatial_offsets", offsets.reshape(-1, 2).clone(), persistent=False)
        self.logit_scale, self.cpb_mlp = source.logit_scale, source.cpb_mlp
        self.q_bias, self.v_bias = source.q_bias, source.v_bias
        self.register_buffer("k_bias", source.k_bias, persistent=False)
        if t > 1:
            first = self.cpb_mlp[0].weight
            frames = torch.arange(1 - t, t, device=first.device, dtype=torch.float32) * 8 / (t - 1)
            scaled = frames.sign() * (frames.abs() + 1).log2() / math.log2(8)
            self.register_buffer("temporal_offsets", scaled.to(first.dtype)[:, None, None], persistent=False)
            self.cpb_time = nn.Parameter(first.new_zeros(len(first)))

    def bias_table(self) -> Tensor:
        first, act, last = self.cpb_mlp
        hidden = first(self.spatial_offsets)
        if self.extent[0] > 1:
            hidden = (hidden + self.temporal_offsets * self.cpb_time).flatten(0, 1)
        return 16 * torch.sigmoid(last(act(hidden)))

    def project(self, x_NSC: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        n, s, _ = x_NSC.shape
        bias = None if self.k_bias is None else torch.cat([self.q_bias, self.k_bias, self.v_bias])
        qkv = F.linear(x_NSC, self.qkv.weight, bias)
        q, k, v = qkv.reshape(n, s, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        scale = self.logit_scale.clamp(max=math.log(100.0)).exp()
        # a padded place has k = 0, and torch's own 1e-12 is 0 in fp16: 0 / 0
        tiny = max(1e-12, torch.finfo(q.dtype).tiny)
        q, k = F.normalize(q, dim=-1, eps=tiny) * scale, F.normalize(k, dim=-1, eps=tiny)
        return q.to(v.dtype), k.to(v.dtype), v, 1.0

    def bias_macs(self) -> int:
        first, _, last = self.cpb_mlp
        rows = self.spatial_offsets.shape[0]
        times = 2 * self.extent[0] - 1
        return rows * first.in_features * first.out_features + times * rows * last.in_features * last.out_features

    def offset_macs(self) -> int:
        return len(self.spatial_offsets) * linear_macs(self.cpb_mlp[0])


class WindowStep(nn.Module):
    """A mixing step that stands before a block: x + W·Attention(Norm(x)), on maps (B·T, H, W, C).

    As `ExtraStep` on a plain ViT: attention and norm start as copies of the block's, W at zero.
    Its bias table holds only the offsets that occur in its groups. Where the block norms after its
    attention (Swin v2), so does the step, x + W·Norm(Attention(x)); that norm starts at one, for
    v2's own starts at zero, and behind two zeros nothing would ever learn.
    """

    def __init__(self, block: Any, attention: WindowedAttention, norm_after: bool) -> None:
        super().__init__()
        self.norm: Any = copy.deepcopy(block.norm1)
        self.attn, self.norm_after = attention, norm_after
        channels, weight = attention.proj.out_features, attention.proj.weight
        if norm_after:
            self.norm.reset_parameters()
        self.out = nn.Linear(channels, channels, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.drop_path: Any = copy.deepcopy(block.drop_path1)

    def forward(self, x_NHWC: Tensor) -> Tensor:
        mixed = self.norm(self.attn(x_NHWC)) if self.norm_after else self.attn(self.norm(x_NHWC))
        return x_NHWC + self.drop_path(self.out(mixed))
