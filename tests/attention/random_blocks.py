"""A timm block and tokens in float64 in which nothing is zero or one, and attention made of them."""

import torch
from timm.models.vision_transformer import Block
from who_meets import CHANNELS, HEADS

from tps_lab.attention import parse
from tps_lab.attention._modules import SpaceTimeAttention


def random_block(qk_norm=False, seed=0):
    """A timm block in float64 in which nothing is zero or one."""
    block = Block(CHANNELS, HEADS, qkv_bias=True, qk_norm=qk_norm).double()
    return randomised(block, seed)


def randomised(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def random_tokens(*size, seed=1):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_pattern(module, tokens):
    """Which token's input changes which token's output: bool (M, M), row = output.

    Every output token has a copy of the clip to itself in the batch, so one backward gives all rows.
    """
    x = random_tokens(1, tokens, CHANNELS).repeat(tokens, 1, 1).requires_grad_()
    y = module(x)[torch.arange(tokens), torch.arange(tokens)]
    (gradient,) = torch.autograd.grad((y * random_tokens(CHANNELS, seed=2)).sum(), x)
    return (gradient != 0).any(-1).numpy()


def mixed(text, grid, dtype=torch.float32):
    attention = SpaceTimeAttention(random_block().attn.to(dtype), parse(text).block(0, 1)[-1], grid)
    return attention(random_tokens(2, grid.tokens, CHANNELS).to(dtype))
