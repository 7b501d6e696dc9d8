"""A tiny image model of every family, random and nowhere zero: what the tests of families run on.

A new family is one line in `FAMILIES`.
"""

import timm
import torch

PATCHES = {"img_size": (10, 15), "patch_size": 5, "embed_dim": 16, "depth": 2, "num_heads": 2}  # 2 × 3 patches
PYRAMID = {"pretrained_cfg_overlay": {"input_size": (3, 32, 64)}}
SWIN = {"img_size": (20, 24), "patch_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2),
        "window_size": 2}  # fmt: skip

# name: timm's name of one of the family, and what makes it tiny
FAMILIES = {
    "vit": ("vit_tiny_patch16_224", PATCHES),
    "deit distilled": ("deit_tiny_distilled_patch16_224", PATCHES),
    "dinov2 registers": ("vit_small_patch14_reg4_dinov2", PATCHES),
    "siglip": ("vit_base_patch16_siglip_224", PATCHES | {"num_classes": 7}),
    "dynamic": ("vit_tiny_patch16_224", PATCHES | {"dynamic_img_size": True, "global_pool": "avg"}),
    "differential": ("vit_dlittle_patch16_reg1_gap_256", PATCHES),
    "parallel": ("vit_small_patch16_18x2_224", PATCHES),
    "whole blocks": ("vit_base_patch16_xp_224", PATCHES),
    "eva02": ("eva02_tiny_patch14_224", PATCHES),
    "rope mixed": ("vit_small_patch16_rope_mixed_224", PATCHES | {"init_values": 0.1}),
    "dinov3": ("vit_small_patch16_dinov3", PATCHES | {"num_classes": 7}),
    "beit": ("beit_base_patch16_224", PATCHES),
    "pvt": ("pvt_v2_b0", PYRAMID | {"depths": (1, 1, 1, 2), "embed_dims": (8, 8, 16, 16), "num_heads": (1, 1, 2, 2),
                                    "sr_ratios": (4, 2, 1, 1)}),
    "pvt linear": ("pvt_v2_b2_li", PYRAMID | {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 16),
                                              "num_heads": (1, 1, 2, 2)}),
    "tiny_vit": ("tiny_vit_5m_224", PYRAMID | {"depths": (1, 1, 2, 1), "embed_dims": (8, 16, 16, 16),
                                               "num_heads": (1, 2, 2, 2), "window_sizes": (2, 2, 2, 3)}),
    "maxvit": ("maxvit_pico_rw_256", {"img_size": (64, 64), "embed_dim": (16, 16), "depths": (1, 1),
                                      "stem_width": 8, "transformer_dim_head": 8, "block_type": ("M", "M"),
                                      "transformer_window_size": (8, 8), "transformer_grid_size": (8, 8),
                                      "head_hidden_size": 16}),
    # maps of 5 × 6 and 3 × 3 patches, which windows of 2 do not divide, and shifted windows
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "swin v2": ("swinv2_tiny_window8_256", SWIN),
}  # fmt: skip
VIT_LIKE = tuple(FAMILIES)[: tuple(FAMILIES).index("beit")]  # those that take every variant


def image_model(family, num_classes=7, dtype=torch.float64, **options):
    """In eval mode, in float64, with weights and statistics that are nowhere zero or one."""
    name, tiny = FAMILIES[family]
    model = timm.create_model(name, **{"num_classes": num_classes} | tiny | options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            values = 0.3 * torch.randn(parameter.shape, generator=generator)
            # a norm's scale stays near one: a deep stack of convolutions would otherwise fade to nothing
            parameter.copy_(values + (path.endswith("weight") and parameter.ndim == 1))
        for path, buffer in model.named_buffers():
            if "running" in path:
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.to(dtype).eval()


def random_clip(model, batch=1, frames=None, seed=1):
    """A clip that a video model takes, or one still frame repeated."""
    c, t, h, w = model.clip_shape
    dtype = next(model.parameters()).dtype
    clip = torch.randn(batch, c, frames or t, h, w, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return clip if frames != 1 else clip.expand(-1, -1, t, -1, -1).contiguous()
