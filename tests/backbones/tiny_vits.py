"""Tiny ViTs in float64, as images and as video models, and which variants go with them."""

import timm
import torch

from tps_lab import attention, videoize

torch.set_num_threads(1)

T, CLASSES = 5, 7
SIZE = (10, 15)  # patches of 5 pixels: a grid of 2 × 3
VARIANTS = list(attention.variants())
TINY = {"img_size": SIZE, "patch_size": 5, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
# how an image model holds its prefix tokens and makes its logits
IMAGE_MODELS = {
    "no class token": {"class_token": False, "global_pool": "avg"},
    "class token": {},
    "registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.5, "pre_norm": True},
    "class token, average": {"global_pool": "avg"},
}
# what goes together: TokShift shifts class tokens
CASES = [
    (variant, kind)
    for variant in VARIANTS
    for kind in IMAGE_MODELS
    if not (kind == "no class token" and attention.parse(variant).needs_class_token)
]


def image_model(kind="no class token", **options):
    """A tiny timm ViT in float64 whose every weight is random: nothing zero, nothing one."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **TINY, **IMAGE_MODELS[kind], **options)
    return randomised(model.double())


def video_model(variant="tps", kind="no class token", frames=T, **options):
    return videoize(image_model(kind), variant, frames=frames, **options).eval()


def randomised(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def random_clip(frames=T, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, frames, *SIZE, generator=generator, dtype=torch.float64)


def close(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-10)
