"""A transformer over the embeddings of frames, behind an image model's blocks. Torch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tps_lab.attention._widths import attentions_in, product_width


class FrameTransformer(nn.Module):
    """Frame embeddings (B, T, C) to one of the clip (B, C), for `factorised-encoder`.

    A class token of its own is read out if the image model pools by its class token, otherwise the
    mean.

    Args:
        image_model: its last block, not yet regrouped, is the model of the layers here.
        layers: how many.
        frames: T.
    """

    def __init__(self, image_model: Any, layers: int, frames: int) -> None:
        super().__init__()
        self.frames, self.channels = frames, image_model.embed_dim
        self.blocks: Any = nn.ModuleList(_fresh(image_model.blocks[-1]) for _ in range(layers))
        weight = image_model.patch_embed.proj.weight
        norm = image_model.norm if not isinstance(image_model.norm, nn.Identity) else image_model.fc_norm
        self.norm: Any = _fresh(norm)
        zeros = weight.new_zeros(1, 1, weight.shape[0])
        self.class_token = nn.Parameter(zeros) if image_model.global_pool == "token" else None

    def forward(self, x_BTC: Tensor) -> Tensor:
        x = x_BTC
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0] if self.class_token is not None else x.mean(1)

    @property
    def tokens(self) -> int:
        return self.frames + (self.class_token is not None)

    def closed_form_macs(self) -> int:
        """Multiply-adds for one clip: per layer the linears on every token, and all pairs of them."""
        tokens = self.tokens
        linears = [part for part in self.blocks.modules() if isinstance(part, nn.Linear)]
        attentions = [attention for block in self.blocks for attention in attentions_in(block)]
        products = tokens**2 * sum(product_width(attention, self.channels) for attention in attentions)
        return tokens * sum(linear.weight.numel() for linear in linears) + products


def _fresh(module: nn.Module) -> Any:
    """A copy of the same build, with weights as at the start of training."""
    copied = copy.deepcopy(module)
    part: Any
    for part in copied.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return copied
