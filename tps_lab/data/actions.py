r"""`actions`: fifteen real human actions from motion capture, each with its exact time reversal.

A body of capsules moves as people moved (backflip, cartwheel, crawl, …, walk; see `_motion.py`), seen from
anywhere around it, nearer or farther, faster or slower. Thirty classes in fifteen pairs::

    frame   0      1      2      3                    0      1      2      3
    jump    ō_     o/     \o/    \o/    jump reversed \o/    \o/    o/     ō_

Clip 2i + 1 of every split is clip 2i reversed, pixel for pixel, noise included: a model that is blind to
the order of frames gives both the same answer and cannot exceed 50 % on the test clips.

Test clips are seen from directions that training never looks from, and are segments that training never shows::

    direction            in every 45°: 15° to either side of the middle train, 17° to 18.5° val, 20.5° to 22.5° test
    apart=false: starts  in every 20 % of the motion: from 0 to 10 % train, 12 to 13.5 % val, 15.5 to 17.5 % test
    apart=true: motion   |<-- train -->|·|<-- test -->|·|<-- train -->|·|<-- val -->|·|<-- train -->|   · 2 % left out

A clip shows up to 35 % of its motion, so with `apart=false` test segments overlap with training's, as two recordings
of one person doing one thing do. With `apart=true` clips show 14 % at most and no moment is shared between splits: most
actions have one run-up and one landing, and a model has to know the landing without having seen it.

Half of the bodies are mirrored, left and right changed over. (The directions are symmetric, so that a
mirrored body is not seen from a direction of another split either.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tps_lab.data import _motion
from tps_lab.data._base import SPLITS, ReversedClips, ReversedData, Split
from tps_lab.errors import InputError
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

# apart: shares of a motion; a clip lies within one stretch
_STRETCHES: dict[Split, tuple[tuple[float, float], ...]] = {
    "train": ((0.0, 0.22), (0.42, 0.60), (0.78, 1.0)),
    "val": ((0.62, 0.76),),
    "test": ((0.24, 0.40),),
}
# degrees from the middle of a sector of 45, to either side
_DIRECTIONS: dict[Split, tuple[float, float]] = {"train": (0.0, 15.0), "val": (17.0, 18.5), "test": (20.5, 22.5)}
_SECTOR = 45
# not apart: where in every `_PERIOD` of the motion a clip may start
_STARTS: dict[Split, tuple[float, float]] = {"train": (0.0, 0.1), "val": (0.12, 0.135), "test": (0.155, 0.175)}
_PERIOD = 0.2
_SPAN = {False: 0.35, True: 0.14}  # a clip's share of its motion, at the highest speed, by `apart`
_BANK = 1 << 20
_MEAN, _SPREAD = 0.05, 0.16  # of the drawn pixels, about


# per capsule, the one that it changes places with in a mirror: six limbs a side, after the trunk's four
_OTHER_SIDE = [0, 1, 2, 3, *range(10, 16), *range(4, 10)]


@dataclass(frozen=True)
class Actions(ReversedData):
    """Fifteen real human actions from motion capture, drawn as moving bodies from any side, each with its
    exact time reversal: a model that is blind to frame order scores at most 50 %.

    Args:
        frames, size: of a clip, size in pixels.
        train, val, test: clips per split, even numbers.
        noise: standard deviation of pixel noise, white being 1.
        around: degrees that the viewer goes around the body, in steps of 45, half to either side of
            looking at it from its right; 360 is from anywhere.
        apart: no moment of a motion is shared between splits; without it segments overlap.
        path: a folder with the motions' files; "" finds them in the package that brings them.
        seed: of everything random in the clips (not of training).
    """

    name, title = "actions", "Actions"
    licence = "Motion capture from pybullet 3.2.7, zlib licence (the package's); the pictures are drawn here."

    size: int = 32
    val: int = 960
    test: int = 3000
    around: int = 90
    apart: bool = False
    path: str = ""
    seed: int = 0

    def check(self) -> None:
        super().check()
        if self.around % _SECTOR or not 0 < self.around <= 360:
            raise InputError(f"around must be 45, 90, … 360, got {self.around}")

    def opened(self) -> ActionClips:
        return ActionClips(self)


class ActionClips(ReversedClips):
    """The clips of an `Actions`, drawn on demand on whatever device asks for them.

    Attributes:
        motions: the ends of the capsules in all poses of all actions, (poses, capsules, 2, 3), metres.
        first, poses: where an action's poses begin, and how many it has.
        scenes: per split and scene (two clips), everything random.
    """

    classes = tuple(
        name
        for action in _motion.ACTIONS
        for name in (action.replace("_", " "), action.replace("_", " ") + " reversed")
    )
    pairs = tuple((2 * i, 2 * i + 1) for i in range(len(_motion.ACTIONS)))
    label, mean, spread = "action", _MEAN, _SPREAD

    def __init__(self, options: Actions) -> None:
        self.options = options
        self.clip_shape = (3, options.frames, options.size, options.size)
        motions = [torch.from_numpy(_motion.poses(file)) for file in _motion.motion_files(options.path).values()]
        self.motions = torch.cat(motions)
        self.poses = torch.tensor([len(motion) for motion in motions])
        self.first = self.poses.cumsum(0) - self.poses
        self.scenes = {split: self._draw_scenes(split) for split in SPLITS}
        self.notes = (
            "motion capture from pybullet 3.2.7 (zlib licence), in the format of DeepMimic; test clips are seen from "
            "directions that training never looks from, and show "
            + ("moments" if options.apart else "segments (overlapping ones)")
            + " of the motions that it never shows",
        )

    def _draw_scenes(self, split: Split) -> dict[str, Tensor]:
        """Everything random about the scenes of a split, always drawn on the CPU."""
        n = self.size(split) // 2
        rng = torch.Generator().manual_seed(10 * self.options.seed + SPLITS.index(split) + 1)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=rng)

        action = torch.arange(n) % len(_motion.ACTIONS)
        widest = _SPAN[self.options.apart]
        span = uniform(0.65, 1.0) * widest  # how much of the motion: the speed
        stretches = torch.tensor(_STRETCHES[split] if self.options.apart else _starting(split))
        lengths = stretches[:, 1] - stretches[:, 0]
        spare = lengths - widest if self.options.apart else lengths
        chosen = torch.multinomial(spare.clamp(min=1e-6), n, replacement=True, generator=rng)
        low, high = stretches[chosen].unbind(1)
        start = low + torch.rand(n, generator=rng) * (high - low - (span if self.options.apart else 0))
        from_, to = _DIRECTIONS[split]
        sector = torch.randint(0, self.options.around // _SECTOR, (n,), generator=rng) + 0.5
        side = 2 * torch.randint(0, 2, (n,), generator=rng) - 1
        azimuth = _SECTOR * sector - self.options.around / 2 + side * uniform(from_, to)
        return {
            "action": action,
            "start": start,  # shares of the motion
            "span": span,
            "azimuth": torch.deg2rad(azimuth),
            "mirrored": torch.rand(n, generator=rng) < 0.5,
            "elevation": torch.deg2rad(uniform(-5, 25)),
            "scale": uniform(0.9, 1.15),
            "x": uniform(-0.06, 0.06),  # where in the picture; it spans -1 to 1
            "y": uniform(-0.06, 0.06),
            "ink": uniform(0.8, 1.0),
            "noise": torch.randint(0, _BANK, (n,), generator=rng),
            "bank": torch.randn(_BANK + self.options.frames * self.options.size**2, generator=rng),
        }

    def render(self, scene: dict[str, Tensor]) -> Tensor:
        """Scenes played forwards: (B, T, H, W), 0 to 1."""
        device = scene["action"].device
        if self.motions.device != device:
            self.motions, self.first, self.poses = (v.to(device) for v in (self.motions, self.first, self.poses))
        steps = torch.linspace(0, 1, self.options.frames, device=device)
        share = scene["start"][:, None] + scene["span"][:, None] * steps  # (B, T)
        at = share * (self.poses[scene["action"]][:, None] - 1)
        before = at.floor().long().clamp(max=int(self.poses.max()) - 2)
        within = (at - before)[..., None, None, None]
        pose = self.first[scene["action"]][:, None] + before
        ends = (1 - within) * self.motions[pose] + within * self.motions[pose + 1]  # (B, T, P, 2, 3)
        # The camera stands still and looks at where the body is in the middle of the clip.
        root = ends[:, :, 0, 0]
        centre = (root.amin(1) + root.amax(1)) / 2
        ends = ends - centre[:, None, None, None]
        # mirrored in the plane that parts left from right; the left side's ink goes along
        flip = torch.where(scene["mirrored"], -1.0, 1.0)
        ends = ends * torch.stack([flip * flip, flip * flip, flip], 1)[:, None, None, None]
        x, y, z = _seen(ends, scene["azimuth"], scene["elevation"])
        size = (scene["scale"])[:, None, None, None]  # the picture is 2 m high
        x = x * size + scene["x"][:, None, None, None]
        y = -y * size + scene["y"][:, None, None, None]
        b, t = share.shape
        # a third thicker than the model file's, to be seen at few pixels
        radii = torch.tensor([c.radius for c in _motion.CAPSULES], device=device) * 0.32
        inks = torch.tensor([c.ink for c in _motion.CAPSULES], device=device)
        inks = torch.where(scene["mirrored"][:, None], inks[_OTHER_SIDE], inks)
        drawn = draw(
            torch.stack([x, y], -1).flatten(0, 1),
            z.mean(-1).flatten(0, 1),
            (radii * size[:, 0, 0]).repeat_interleave(t, 0),
            (inks * scene["ink"][:, None]).repeat_interleave(t, 0),
            self.options.size,
            at_once=64 if device.type == "cpu" else None,
        )
        return drawn.unflatten(0, (b, t))


def _starting(split: Split) -> list[tuple[float, float]]:
    """Where clips of a split start when segments may overlap, as shares of the motion; every one ends with it."""
    low, high = _STARTS[split]
    last = 1 - _SPAN[False]
    periods = (_PERIOD * k for k in range(round(1 / _PERIOD)))
    return [(base + low, min(base + high, last)) for base in periods if base + low < last]


def draw(ends: Tensor, depth: Tensor, radii: Tensor, inks: Tensor, size: int, at_once: int | None = None) -> Tensor:
    """Capsules as pictures, the far ones first, each shaded as if lit from the viewer.

    Args:
        ends: (N, P, 2, 2), x and y of both ends; the picture spans -1 to 1 and y grows downwards.
        depth: (N, P), larger is nearer.
        radii, inks: (N, P).
        size: height and width in pixels.
        at_once: pictures at a time: few enough stay in a CPU's cache, which is twice as fast.

    Returns:
        (N, size, size), 0 to 1.
    """
    if at_once is not None and len(ends) > at_once:
        parts = zip(*(values.split(at_once) for values in (ends, depth, radii, inks)), strict=True)
        return torch.cat([draw(e, d, r, i, size) for e, d, r, i in parts])
    order = depth.argsort(1)
    ends = ends.gather(1, order[:, :, None, None].expand(-1, -1, 2, 2))
    radii, inks = radii.gather(1, order), inks.gather(1, order)
    pixels = (torch.arange(size, device=ends.device) + 0.5) * 2 / size - 1
    picture = ends.new_zeros(len(ends), size, size)
    edge = size / 2  # one pixel, as a factor
    for a, b, radius, ink in zip(
        ends[:, :, 0].unbind(1), ends[:, :, 1].unbind(1), radii.unbind(1), inks.unbind(1), strict=True
    ):
        along = b - a
        dx, dy = pixels - a[:, :1], pixels - a[:, 1:]  # (N, W) and (N, H)
        scale = 1 / (along**2).sum(1, keepdim=True).clamp(min=1e-8)
        # how far along the line the nearest point of it is, for every pixel
        share = ((dy * along[:, 1:] * scale)[:, :, None] + (dx * along[:, :1] * scale)[:, None]).clamp_(0, 1)
        off_x = dx[:, None] - share * along[:, 0, None, None]
        off_y = dy[:, :, None] - share * along[:, 1, None, None]
        distance = (off_x.square_().add_(off_y.square_())).sqrt_()
        radius = radius[:, None, None]
        cover = ((radius - distance) * edge + 0.5).clamp_(0, 1)
        shade = ink[:, None, None] * (1 - 0.5 * (distance / radius).clamp_(max=1).square_())
        picture = picture + cover * (shade - picture)
    return picture


def _seen(points: Tensor, azimuth: Tensor, elevation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points (B, …, 3) from a direction (B,): right, up and towards the viewer."""
    shape = (-1, *(1,) * (points.ndim - 2))
    cos, sin = azimuth.cos().reshape(shape), azimuth.sin().reshape(shape)
    x, y, z = points.unbind(-1)
    right, towards = cos * x - sin * z, sin * x + cos * z
    cos, sin = elevation.cos().reshape(shape), elevation.sin().reshape(shape)
    return right, cos * y - sin * towards, sin * y + cos * towards
