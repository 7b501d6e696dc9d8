"""The torch side of `_core`: one module that regroups tokens around a backbone's own attention.

    gather tokens into groups → the backbone's attention inside each group → scatter back

The softmax stays the backbone's (timm's fused kernel, 4-D inside, with its weights); only which
tokens stand together changes. Grouping is one gather of rows whose backward is the gather by the
inverse permutation: indexing's own backward would add up with `index_put`, many times slower.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tps_lab.attention._gather import gather_rows
from tps_lab.attention._grid import Grid
from tps_lab.attention._rotary import group_places, grouped_rope, turn
from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.attention._core import KernelMixer, Mixer
    from tps_lab.attention.relations import RelationMixer


class Regrouping(nn.Module):
    """Tokens in the groups of a mixer: what its routes become on a device."""

    order: Tensor
    inverse: Tensor

    def __init__(self, mixer: Mixer, grid: Grid, mask: np.ndarray | None, device: torch.device | None) -> None:
        super().__init__()
        self.mixer, self.grid = mixer, grid
        routes = mixer.routes(grid)
        self.groups, self.slots = routes.gather.shape
        self.in_order, self.permutes = routes.is_identity, routes.is_permutation
        self.register_buffer("order", torch.from_numpy(routes.gather.ravel()).to(device), persistent=False)
        self.register_buffer("inverse", torch.from_numpy(routes.scatter).to(device), persistent=False)
        self.mask = None if mask is None else Mask(torch.from_numpy(mask).to(device))

    def rearrange(self, x_BNC: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        if self.in_order:
            return x_BNC
        return rearrange_tokens(x_BNC, index, inverse, self.permutes, written=index is self.order)


class SpaceTimeAttention(Regrouping):
    """Runs `attention` inside the groups of `mixer`; x (B, M, C) to (B, M, C).

    Args:
        attention: any self-attention module (B', S, C) → (B', S, C) that treats its batch
            independently, such as timm's.
        mixer: who meets whom.
        grid: the clip's tokens; other shapes are refused.
    """

    places: Tensor | None

    def __init__(self, attention: nn.Module, mixer: Mixer, grid: Grid) -> None:
        mixer.check(attention)
        super().__init__(mixer, grid, mixer.mask(grid), next((p.device for p in attention.parameters()), None))
        self.attention = attention
        if mixer.rotary:
            turn(attention, mixer, grid)
        places = group_places(mixer, grid) if hasattr(attention, "rotate_half") else None  # a rotary attention
        self.register_buffer("places", None if places is None else places.to(self.order.device), persistent=False)

    def forward(
        self, x_BMC: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False, rope: Tensor | None = None
    ) -> Tensor:
        if attn_mask is not None or is_causal:
            raise InputError("attention masks over a clip's tokens are not supported: its grouping decides who meets")
        b, m, c = x_BMC.shape
        if m != self.grid.tokens:
            raise InputError(f"expected {self.grid.tokens} tokens for {self.grid}, got {m}")
        p = self.grid.clip_prefix
        prefix, x = x_BMC[:, :p], x_BMC[:, p:]
        if self.mixer.before is not None:
            frames = x.reshape(b, self.grid.frames, self.grid.per_frame, c)
            x = self.mixer.before(frames, getattr(self.attention, "num_heads", 1)).flatten(1, 2)
        x = self.rearrange(x, self.order, self.inverse).reshape(b, self.groups, self.slots, c)
        if p:  # a copy of the clip's prefix joins every group …
            x = torch.cat([prefix[:, None].expand(b, self.groups, p, c), x], dim=2)
        rotation = {} if rope is None else {"rope": self.rotations(rope, b)}
        y = self.attend(x.flatten(0, 1), b, **rotation).reshape(b, self.groups, p + self.slots, c)
        if not p:
            return self.rearrange(y.flatten(1, 2), self.inverse, self.order)
        # … and the copies are averaged afterwards
        y_tokens = self.rearrange(y[:, :, p:].flatten(1, 2), self.inverse, self.order)
        return torch.cat([y[:, :, :p].mean(1), y_tokens], dim=1)

    def attend(self, x_GSC: Tensor, clips: int, **rotation: Tensor) -> Tensor:
        if self.mask is None:
            return self.attention(x_GSC, **rotation)
        heads = getattr(self.attention, "num_heads", 1)
        return self.attention(x_GSC, attn_mask=self.mask(clips, heads), **rotation)

    def rotations(self, rope: Tensor, clips: int) -> Tensor:
        return rope if self.places is None else grouped_rope(rope, self.places, clips)


class Mask(nn.Module):
    """Who may see whom in every group: bool (G, kinds, S, S), one kind after the other for equal shares of the heads.

    A module, so that blocks can share one: a relation's mask has as many entries as the clip has pairs.
    """

    allowed: Tensor

    def __init__(self, allowed_GKSS: Tensor) -> None:
        super().__init__()
        self.register_buffer("allowed", allowed_GKSS, persistent=False)

    def forward(self, clips: int, heads: int) -> Tensor:
        """(B·G, 1 or heads, S, S): four dimensions, because the fused kernel takes no five."""
        allowed, kinds = self.allowed, self.allowed.shape[1]
        if kinds > 1:
            allowed = allowed.repeat_interleave(heads // kinds, dim=1)
        return allowed[None].expand(clips, -1, -1, -1, -1).flatten(0, 1)


def share_masks(blocks: nn.Module) -> None:
    """One mask for all attentions of a model that have the same mixer on the same grid."""
    first: dict[tuple[Mixer, Grid], Any] = {}
    for site in blocks.modules():
        if isinstance(site, SpaceTimeAttention) and site.mask is not None:
            site.mask = first.setdefault((site.mixer, site.grid), site.mask)


class KernelAttention(Regrouping):
    """Runs a mixer that is no partition on the weights of the backbone's `attention`.

    The mixer says how (`KernelMixer.mix`); this module holds the weights and does the parts that all
    such mixers share. x (B, M, C) to (B, M, C).

    Raises:
        InputError: `attention` is not timm's `Attention`, or the mixer cannot use it.
    """

    def __init__(self, attention: nn.Module, mixer: KernelMixer | RelationMixer, grid: Grid) -> None:
        if not isinstance(attention, Attention):
            from tps_lab.attention import around_any_attention

            kind = type(attention).__name__
            raise InputError(
                f"{mixer.name} splits timm's Attention into its projections, this model has {kind}; these variants "
                f"regroup tokens around any attention: {', '.join(around_any_attention())}"
            )
        mixer.check(attention)
        super().__init__(mixer, grid, mixer.filled(grid), attention.qkv.weight.device)
        self.attention: Any = attention
        self.mixer: Any = mixer
        self.layers = nn.ModuleDict(mixer.layers(attention))

    def forward(self, x_BMC: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        if attn_mask is not None or is_causal:
            raise InputError("attention masks over a clip's tokens are not supported: its grouping decides who meets")
        if x_BMC.shape[1] != self.grid.tokens:
            raise InputError(f"expected {self.grid.tokens} tokens for {self.grid}, got {x_BMC.shape[1]}")
        attention, y_BMC = self.attention, self.mixer.mix(self, x_BMC)
        if getattr(attention, "norm", None) is not None:
            y_BMC = attention.norm(y_BMC)
        if getattr(attention, "gate", None) is not None:
            y_BMC = y_BMC * attention.gate(x_BMC).sigmoid()
        return attention.proj_drop(attention.proj(y_BMC))

    def project(self, x_BMC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, M, heads, d), normed if the attention norms them."""
        attention = self.attention
        q, k, v = attention.qkv(x_BMC).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
        return attention.q_norm(q), attention.k_norm(k), v

    def attend(
        self, q_BNHD: Tensor, k_BKHD: Tensor, v_BKHD: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Softmax attention of (B', N, heads, d) to (B', K, heads, d), by the fused kernel in 4-D.

        Args:
            mask: bool, broadcast to (B', heads, N, K); False is not seen.
            causal: query n sees keys up to n.
        """
        attention = self.attention
        q, k, v = q_BNHD.transpose(1, 2), k_BKHD.transpose(1, 2), v_BKHD.transpose(1, 2)
        if attention.fused_attn:
            dropout = attention.attn_drop.p if self.training else 0.0
            y = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal)
            return y.transpose(1, 2)
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
        if causal:
            at = torch.arange(q.shape[2], device=q.device)
            mask = at[:, None] >= at
        scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        return (attention.attn_drop(scores.softmax(-1)) @ v).transpose(1, 2)

    def attend_in_groups(self, *qkv_BMHD: Tensor) -> Tensor:
        """`attend` inside the groups of the mixer's routes; (B, M, heads, d) to the same."""
        b, _, heads, d = qkv_BMHD[0].shape

        def grouped(x_BMHD: Tensor) -> Tensor:
            x = self.rearrange(x_BMHD.flatten(2), self.order, self.inverse)
            return x.reshape(b * self.groups, self.slots, heads, d)

        mask = None if self.mask is None else self.mask(b, heads)
        q, k, v = map(grouped, qkv_BMHD)
        y = self.attend(q, k, v, mask=mask).reshape(b, self.groups * self.slots, heads * d)
        return self.rearrange(y, self.inverse, self.order).unflatten(2, (heads, d))


class ExtraStep(nn.Module):
    """A mixing step beside a block's own attention, with norm, attention and residual of its own.

    x + W·Attention(Norm(x)); prefix tokens sit out unless the mixer takes them. Norm and attention
    start as copies of the block's; W starts at zero, so that a model with image weights computes at
    first what it did before. W is a layer of its own (TimeSformer's released code) or the
    attention's output projection (ViViT, section 3.4).
    """

    def __init__(self, block: nn.Module, mixer: Mixer, grid: Grid) -> None:
        super().__init__()
        part = mixer.step_grid(grid)
        self.sit_out = grid.tokens - part.tokens
        self.norm: Any = copy.deepcopy(block.norm1)
        attention: Any = copy.deepcopy(block.attn)
        if hasattr(attention, "num_prefix_tokens"):  # tokens that a rotary attention does not rotate
            attention.num_prefix_tokens = part.prefix
        self.attn: Any = mixer.module(attention, part)
        last: Any = attention.proj
        self.out: Any = nn.Identity()
        if mixer.output == "linear":
            channels, weight = last.out_features, last.weight
            last = self.out = nn.Linear(channels, channels, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        self.drop_path: Any = copy.deepcopy(getattr(block, "drop_path1", nn.Identity()))

    def forward(self, x_BMC: Tensor, **rotation: Tensor) -> Tensor:
        prefix, x = x_BMC[:, : self.sit_out], x_BMC[:, self.sit_out :]
        x = x + self.drop_path(self.out(self.attn(self.norm(x), **rotation)))
        return torch.cat([prefix, x], dim=1) if self.sit_out else x


class WithoutWeights(nn.Module):
    """A function of tokens as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x_BMC: Tensor, **rotation: Tensor) -> Tensor:
        return self.function(x_BMC)


class SteppedBlock(nn.Module):
    """A backbone's block with extra mixing steps before it, and between its attention and its MLP.

    Raises:
        InputError: there is a step in between, and the block is none of timm's plain `Block`.
    """

    def __init__(self, steps: list[nn.Module], block: nn.Module, between: list[nn.Module] | None = None) -> None:
        super().__init__()
        if between and type(block).forward is not Block.forward:
            raise InputError(
                f"a mixing step between attention and MLP needs timm's plain Block, not {type(block).__name__}"
            )
        self.steps = nn.ModuleList(steps)
        self.between = nn.ModuleList(between or [])
        self.block: Any = block

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        rotation = {"rope": kwargs["rope"]} if "rope" in kwargs else {}
        for step in self.steps:
            x = step(x, **rotation)
        block = self.block
        if not self.between:
            return block(x, **kwargs)
        # timm's Block.forward in its two halves
        x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x), **kwargs)))
        for step in self.between:
            x = step(x)
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def take_tokens(x_BNC: Tensor, index_K: Tensor) -> Tensor:
    """Rows `index_K` of every clip: (B, N, C) → (B, K, C), in one gather of whole rows.

    On the flattened (B·N, C) view, where `index_select` runs at 1.1 to 1.5 times a plain copy on
    a CPU; along dim 1 it took up to 2.5 times.
    """
    b, n, c = x_BNC.shape
    if torch.compiler.is_compiling():
        return x_BNC.index_select(1, index_K)
    (rows,) = remembered(index_K, (b, n)) or remember(index_K, (b, n), (_rows(index_K, b, n).reshape(-1),))
    return x_BNC.reshape(b * n, c).index_select(0, rows).reshape(b, -1, c)


def remembered(index: Tensor, batch: Hashable) -> tuple[Tensor, ...] | None:
    """Row numbers that follow from an index and a batch, if they are those of the last batch.

    Working them out again takes as long as a small gather, and so does a look-up in a dictionary of weak references
    when the tokens have just swept the cache. So the index itself keeps them.
    """
    if torch.compiler.is_compiling():
        return None
    known: tuple[Hashable, tuple[Tensor, ...]] | None = getattr(index, "rows_of_batch", None)
    return known[1] if known is not None and known[0] == batch else None


def remember(index: Tensor, batch: Hashable, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The rows, kept for `remembered`; a tracer's stand-ins are not, as they must not outlive its trace."""
    if not torch.compiler.is_compiling() and all(type(each) is Tensor for each in rows):
        setattr(index, "rows_of_batch", (batch, rows))  # noqa: B010 (tensors declare no such attribute)
    return rows


def _rows(index_K: Tensor, b: int, n: int) -> Tensor:
    """Row numbers on the (b·n, C) view, (b, K)."""
    return torch.arange(b, device=index_K.device)[:, None] * n + index_K


def _rows_as(shape: torch.Size, index_N: Tensor) -> Tensor:
    """Row numbers in the shape of tokens (B, …, C), without C."""
    if (known := remembered(index_N, (shape,))) is None:
        known = remember(index_N, (shape,), (_rows(index_N, shape[0], len(index_N)).view(shape[:-1]),))
    return known[0]


class _Permute(torch.autograd.Function):
    # The old form with `ctx` in forward: the form that torch.func wants costs 0.2 ms more per call. The
    # indices are kept as they are: `save_for_backward` would guard them, and takes as long as a small gather.
    @staticmethod
    def forward(ctx: Any, x_BxC: Tensor, rows: Tensor, inverse_rows: Tensor) -> Tensor:
        ctx.rows, ctx.inverse_rows = rows, inverse_rows
        return gather_rows(x_BxC.reshape(-1, x_BxC.shape[-1]), rows)

    @staticmethod
    def backward(ctx: Any, grad_BxC: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # somebody wants second derivatives
            return _Permute.apply(grad_BxC, ctx.inverse_rows, ctx.rows), None, None
        return gather_rows(grad_BxC.reshape(-1, grad_BxC.shape[-1]), ctx.inverse_rows), None, None


# What a compiler gets instead: a permutation along dim 1 of (B, N, C) with constant indices, in the form that it can
# fold into its neighbours. What comes from a norm it can only *write* in another order: a read would have to wait for
# all sums of the norm, one kernel more. What a residual addition takes it *reads* in another order. The gradient of
# each is the other, so that a training step has no kernel more either.
class _Written(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BNC: Tensor, index_N: Tensor, inverse_N: Tensor) -> Tensor:
        ctx.save_for_backward(index_N, inverse_N)
        return torch.empty_like(x_BNC).index_copy(1, inverse_N, x_BNC)

    @staticmethod
    def backward(ctx: Any, grad_BNC: Tensor) -> tuple[Tensor, None, None]:
        index_N, inverse_N = ctx.saved_tensors
        return _Read.apply(grad_BNC, inverse_N, index_N), None, None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BNC: Tensor, index_N: Tensor, inverse_N: Tensor) -> Tensor:
        ctx.save_for_backward(index_N, inverse_N)
        return x_BNC.index_select(1, index_N)

    @staticmethod
    def backward(ctx: Any, grad_BNC: Tensor) -> tuple[Tensor, None, None]:
        index_N, inverse_N = ctx.saved_tensors
        return _Written.apply(grad_BNC, inverse_N, index_N), None, None


def permute_tokens(x_BxC: Tensor, index_N: Tensor, inverse_N: Tensor, written: bool = False) -> Tensor:
    """`take_tokens` for a permutation: its backward gathers by the inverse instead of adding up.

    The tokens (B, …, C) may stand in several axes between the first and the last, N in all.

    Args:
        written: a norm made them, so a compiler writes them in their new order instead of reading them in it.
    """
    if torch._C._are_functorch_transforms_active():
        return take_tokens(x_BxC.flatten(1, -2), index_N).view(x_BxC.shape)
    shape = x_BxC.shape
    if torch.compiler.is_compiling():
        way = _Written if written and not torch.compiler.is_exporting() else _Read
        return way.apply(x_BxC.flatten(1, -2), index_N, inverse_N).view(shape)

    if x_BxC.requires_grad and torch.is_grad_enabled():
        return _Permute.apply(x_BxC, _rows_as(shape, index_N), _rows_as(shape, inverse_N))
    return gather_rows(x_BxC.reshape(-1, shape[-1]), _rows_as(shape, index_N))


def rearrange_tokens(
    x_BNC: Tensor, index_K: Tensor, inverse_N: Tensor, permutes: bool, written: bool = False
) -> Tensor:
    """Row `index_K[k]` of every clip becomes row k; -1 makes a row of zeros.

    Args:
        inverse_N: what undoes it; used where `permutes` says that `index_K` is a permutation.
        written: see `permute_tokens`.
    """
    if permutes:
        return permute_tokens(x_BNC, index_K, inverse_N, written)
    y = take_tokens(x_BNC, index_K.clamp(min=0))
    return y * (index_K >= 0).to(y.dtype)[:, None]
