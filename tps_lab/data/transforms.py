"""What is done to the frames of a clip: cut, mirrored, changed, erased; and to a batch: mixed.

Everything random is drawn once per clip and done to all its frames alike: a change that differs from
frame to frame would look like motion. The pixel work is torchvision's (`transforms.v2`); what is random comes
from a generator of the clip's own, so that a clip is the same whatever process or thread makes it and
whatever else is random meanwhile.

`mix` is for the training loop: mixup (Zhang et al., 2018), CutMix (Yun et al., 2019) and label smoothing.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.data._files import words
from tps_lab.errors import InputError
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

# of ImageNet, which the weights that video models start from were trained with
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY = tuple(round(255 * mean) for mean in MEAN)
_GLOBAL_RANDOM_NUMBERS = threading.Lock()
_MIRRORED = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDES = frozenset(
    {"left", "right", "leftward", "rightward", "leftwards", "rightwards", "lefthand", "righthand"}
    | {"clockwise", "anticlockwise", "counterclockwise"}
)


def directional(classes: Sequence[str]) -> frozenset[int]:
    """Labels of classes that mirroring would turn into another: those that say left or right, or which way something
    turns, and those whose name becomes another class's where left and right are exchanged.

    In Something-Something V2 these are 86, 87, 93, 94, 166, 167, in V1 2, 4, 30, 41, 52, 66.

    >>> sorted(directional(["Moving something up", "Pushing something from left to right", "SwipeLeft", "bright"]))
    [1, 2]
    >>> sorted(directional(["swipeleft", "swiperight", "point_l", "point_r", "model_s", "upright"]))
    [0, 1, 2, 3]
    """
    plain = {tuple(words(name)) for name in classes}
    whole = {"".join(name) for name in plain}

    def has_a_mirror_image(name: list[str]) -> bool:
        mirrored = [_MIRRORED.get(word, word) for word in name]
        if any(word in _SIDES for word in name) or (mirrored != name and tuple(mirrored) in plain):
            return True
        joined = "".join(name)
        exchanged = re.sub("left|right", lambda found: _MIRRORED[found[0]], joined)
        return exchanged != joined and exchanged in whole

    return frozenset(i for i, name in enumerate(classes) if has_a_mirror_image(words(name)))


def train_clip(
    clip: Tensor,
    rng: np.random.Generator,
    size: int,
    flip: float = 0.5,
    randaugment: int = 2,
    magnitude: int = 9,
    erasing: float = 0.25,
) -> Tensor:
    """A training clip: random crop, mirrored or not, RandAugment, a rectangle erased or not.

    Args:
        clip: (T, 3, H, W) uint8.
        rng: the clip's own.
        flip: probability of mirroring; 0 where the class would change.

    Returns:
        (T, 3, size, size) uint8.
    """
    from torchvision.transforms.v2 import functional as F

    top, left, height, width = crop_box(clip.shape[-2], clip.shape[-1], rng)
    clip = F.resized_crop(clip, top, left, height, width, [size, size], antialias=True)
    if rng.random() < flip:
        clip = F.horizontal_flip(clip)
    clip = rand_augment(clip, rng, randaugment, magnitude)
    return erase(clip, rng, erasing)


def crop_box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random crop's top, left, height and width, as RandomResizedCrop draws it (Szegedy et al., 2015):
    8 to 100 % of the area, 3:4 to 4:3; the centre if ten tries do not fit."""
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def crops_of(clip: Tensor, size: int, crops: int = 1) -> list[Tensor]:
    """One crop: the centre. Three: left, centre and right (or top, centre, bottom), at the scale at which
    they cover the whole length if it is no more than three times the short side.

    Args:
        clip: (T, 3, H, W) uint8.

    Returns:
        `crops` clips (T, 3, size, size).
    """
    from torchvision.transforms.v2 import functional as F

    if crops == 1:
        return [F.center_crop(clip, [size, size])]
    if crops != 3:
        raise InputError(f"crops must be 1 or 3, got {crops}")
    if min(clip.shape[-2:]) != size:
        clip = F.resize(clip, [size], antialias=True)
    height, width = clip.shape[-2:]
    middle = ((height - size) // 2, (width - size) // 2)
    places = [(0, 0), middle, (height - size, width - size)]
    return [clip[..., top : top + size, left : left + size] for top, left in places]


def rand_augment(clip: Tensor, rng: np.random.Generator, n: int = 2, magnitude: int = 9) -> Tensor:
    """RandAugment (Cubuk et al., 2020), torchvision's: n operations of one strength (0 to 30), alike in all frames.

    torchvision draws from torch's global random numbers. Here they are set from the clip's own and put back after, by
    one thread at a time; processes that read clips do not wait for each other.
    """
    from torchvision.transforms import v2

    if not n:
        return clip
    with _GLOBAL_RANDOM_NUMBERS, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))  # of the CPU; a GPU's stay as they are
        augmented: Tensor = v2.RandAugment(n, magnitude, fill=list(map(float, _GREY)))(clip)
    return augmented


def erase(clip: Tensor, rng: np.random.Generator, probability: float = 0.25) -> Tensor:
    """Random erasing (Zhong et al., 2020): a rectangle of 2 to 33 % of the area becomes the mean colour."""
    from torchvision.transforms.v2 import functional as F

    height, width = clip.shape[-2:]
    if rng.random() >= probability:
        return clip
    for _ in range(10):
        area = height * width * rng.uniform(0.02, 0.33)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            grey = torch.tensor(_GREY, dtype=clip.dtype, device=clip.device)[:, None, None]
            return F.erase(clip, top, left, h, w, grey)
    return clip


def normalised(clips: Tensor) -> Tensor:
    """(…, 3, T, H, W) uint8 → float of about zero mean and unit spread, by ImageNet's figures."""
    mean = torch.tensor(MEAN, device=clips.device).reshape(3, 1, 1, 1)
    std = torch.tensor(STD, device=clips.device).reshape(3, 1, 1, 1)
    return clips.float().div_(255).sub_(mean).div_(std)


def mix(
    x: Tensor, labels: Tensor, classes: int, mixup: float = 0.0, cutmix: float = 0.0, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A training batch with mixup or CutMix (half of the batches each, if both are on) and smoothed labels.

    A clip's frames are all mixed with the same share of the other clip, or get the same rectangle of it.
    Draws from torch's own random numbers. `cross_entropy` takes the labels as they come out.

    Args:
        x: (B, C, T, H, W) float.
        labels: (B,) int64.
        mixup, cutmix: α of the Beta distribution that the share is drawn from; 0 leaves it out.
        smoothing: share of a label that goes to all classes alike.

    Returns:
        x mixed, and what the clips are, (B, classes) float, each row of sum 1.
    """
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    for name, value in (("mixup", mixup), ("cutmix", cutmix)):
        if value < 0:
            raise InputError(f"{name} must be 0 or more, got {value}")
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing must be 0 or more and less than 1, got {smoothing}")
    targets = torch.nn.functional.one_hot(labels, classes).float()
    ways = [way(alpha=alpha) for way, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
    if ways:
        way = ways[int(torch.randint(len(ways), ()))]
        mixed, targets = way(tv_tensors.Video(x), targets)
        x = mixed.as_subclass(torch.Tensor)
    return x, targets * (1 - smoothing) + smoothing / classes
