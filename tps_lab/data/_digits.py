"""The handwritten digits that clips are made of, and how one is put into a frame.

They are the 1,797 real ones that scikit-learn ships (8×8 pixels, from the UCI set of Alpaydin and
Kaynak). They stand there in the order of the people who wrote them, and the splits are cut along
that order: test digits, and nearly all of their writers, are never seen in training.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tps_lab.data._base import Split
from tps_lab.data._files import package_folder
from tps_lab.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = "Drawn from the handwritten digits that scikit-learn ships (BSD, as the package states)."
# which of the 1,797 digits belong to which split, as fractions of scikit-learn's order
_SHARES: dict[Split, tuple[float, float]] = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
# which stream of random numbers a split draws from
STREAM: dict[Split, int] = {"train": 1, "val": 2, "test": 3}
# Pixels are 0 (paper) to 1 (ink); these bring them to about zero mean and unit spread.
MEAN, SPREAD = 0.05, 0.13


@functools.cache  # of a text file, read once in a process
def load() -> tuple[Tensor, Tensor]:
    """All digits (1797, 8, 8), ink = 1, and what they are (1797,), 0 to 9; to be read only, as all get the same."""
    import numpy as np

    # as `sklearn.datasets.load_digits` reads them; importing that takes a second, in every process that trains
    package = package_folder("sklearn")
    assert package is not None, "scikit-learn comes with tps_lab"
    table = torch.from_numpy(np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=","))
    return table[:, :64].reshape(-1, 8, 8).float() / 16, table[:, 64].long()


def of_split(split: Split, total: int) -> tuple[int, int]:
    """The first digit of a split and the one after its last."""
    low, high = (int(share * total) for share in _SHARES[split])
    return low, high


def draw(digits: Tensor, x: Tensor, y: Tensor, scale: Tensor, angle: Tensor, *, size: int) -> Tensor:
    """Each digit in a frame of its own.

    Args:
        digits: (N, 8, 8).
        x, y: (N,), middles; the frame spans -1 to 1 and y grows downwards.
        scale: (N,), half the digit's height in halves of the frame.
        angle: (N,), radians.
        size: height and width of the frames in pixels.

    Returns:
        (N, size, size), ink 0 to 1.
    """
    from torch.nn.functional import affine_grid, grid_sample

    # affine_grid wants the map from frame to digit: undo the shift, the turn and the scale
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = torch.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], dim=-1)
    places = affine_grid(rows.reshape(-1, 2, 3), [len(x), 1, size, size], align_corners=False)
    return grid_sample(digits[:, None], places, align_corners=False)[:, 0]
