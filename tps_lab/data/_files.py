"""Which files of a folder count, and in which order: videos, pictures of one video, and nothing that a machine left.

Names are read as people mean them: `2.jpg` comes before `10.jpg`, `Thumbs.db` and `._a.mp4` are no data, and of a
folder that holds optical flow beside frames the frames are the video.
"""

from __future__ import annotations

import importlib.util
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from tps_lab.errors import InputError
from tps_lab.text import counted

# .ts is left out: more often than a video it is TypeScript
VIDEOS = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".vob", ".webm", ".wmv"),
)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

# Folders that systems and programs make on their own: macOS's zip, Synology and QNAP, Windows, Linux, Python. What
# begins with a dot is left out as well: ._a.mp4, .DS_Store, .ipynb_checkpoints, .Trash-1000.
_NO_DATA = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "recycler"}
    | {"system volume information", "lost+found", "found.000"}
)
# What else lies beside the frames of a video, by a word of its name
_BESIDE = frozenset(
    {"flow", "flowx", "flowy", "optflow", "opticalflow", "depth", "disparity", "disp", "normal", "normals", "mask"}
    | {"masks", "matte", "alpha", "seg", "segm", "segmentation", "semantic", "instance", "label", "labels", "edge"}
    | {"edges", "heatmap", "keypoints", "pose", "skeleton", "thumb", "thumbs", "thumbnail", "preview", "poster"}
    | {"cover", "sprite", "contact", "warp", "warped", "residual", "saliency"}
)
_FRAME = frozenset({"img", "image", "im", "frame", "rgb", "color", "colour"})


def is_data(name: str) -> bool:
    """Whether a file or folder of this name is somebody's data, and not what a machine leaves behind.

    >>> [name for name in ("a.mp4", "._a.mp4", "__MACOSX", "@eaDir", "walking") if is_data(name)]
    ['a.mp4', 'walking']
    """
    return not name.startswith(".") and name.lower() not in _NO_DATA


def composed(name: str) -> str:
    """A name with each accent in its letter: macOS and others write é as two signs, and people see one name.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def in_order(name: str) -> tuple[list[str | int], str]:
    """Sorts names as people count: by the numbers in them, and the letters between them.

    >>> sorted(["10.jpg", "1.jpg", "2.jpg"], key=in_order)
    ['1.jpg', '2.jpg', '10.jpg']
    """
    # letters and numbers take turns, so that like is compared with like
    parts = re.split(r"([0-9]+)", os.path.splitext(name)[0].casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def words(name: str) -> list[str]:
    """The words of a name in small letters, however they are joined.

    >>> words("SwipeLeft"), words("SWIPE_LEFT-2x"), words("left2right")
    (['swipe', 'left'], ['swipe', 'left', 'x'], ['left', 'right'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", name)]


def open_folder(path: str, what: str) -> Path:
    """A folder that the user named for `what`, opened far enough to know that it is one.

    Raises:
        InputError: it is none, or cannot be looked into.
    """
    if not path:
        raise InputError(f"{what} needs a folder: {what}(path=FOLDER)")
    try:
        root = Path(path).expanduser()
        with os.scandir(root):
            return root
    except NotADirectoryError:
        raise InputError(f"'{printable(path)}' is a file; path must be the folder that it is in") from None
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: ~nobody
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open the folder '{printable(path)}': {why}") from error


def package_folder(module: str) -> Path | None:
    """The folder of an installed package, of which only files are wanted: it is not imported. None: it is not there."""
    found = importlib.util.find_spec(module)
    return Path(next(iter(found.submodule_search_locations))) if found and found.submodule_search_locations else None


def not_looked_into(errors: Sequence[OSError], root: Path) -> list[str]:
    """What a report says of the folders that could not be looked into; nothing where there are none."""
    each = [f"{printable(os.path.relpath(e.filename, root))} ({(e.strerror or str(e)).lower()})" for e in errors]
    return [f"could not look into {counted(len(each), 'folder')}: {'; '.join(each)}"] if each else []


def few(items: Sequence[str], most: int, hint: str = "") -> str:
    """The first of several things, and how many more there are.

    >>> few(["a.mp4", "b.mp4", "c.mp4"], 2)
    'a.mp4; b.mp4; and 1 more'
    """
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more:,} more{hint}" if more > 0 else "")


def walk(
    root: Path, refused: Callable[[OSError], None], first: Collection[str] = ()
) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of the files in it that are data, subfolders in alphabetical order.

    Links to folders are followed, as collections are often built of them, but no folder is entered
    twice: a link may lead to one above it, and of two links to one folder the same is always the first.

    Args:
        refused: called with every folder that could not be read.
        first: names of folders that come before others.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root, onerror=refused, followlinks=True):
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = sorted(filter(is_data, folders), key=lambda name: (name not in first, name))
        yield Path(place), [name for name in names if is_data(name)]


def listed(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names fit, in order; what a machine left is none of them."""
    return sorted(file for file in folder.glob(pattern) if is_data(file.name))


def find_videos(root: Path) -> tuple[dict[str, Path], int, list[OSError]]:
    """Files named as videos, in a folder and those below it; links are followed.

    Returns:
        The files by their path within `root`, in order; how many other files there are; and an
        error for each folder that could not be looked into.
    """
    files: dict[str, Path] = {}
    others = 0
    errors: list[OSError] = []
    for place, names in walk(root, errors.append):
        for name in names:
            path = place / name
            if path.suffix.lower() in VIDEOS:
                files[path.relative_to(root).as_posix()] = path
            else:
                others += 1
    return dict(sorted(files.items())), others, errors


def frames_among(names: Iterable[str]) -> list[str]:
    """Of the files in a folder, the pictures that are the frames of its video, in order.

    Pictures whose names differ by numbers alone are one series. Of several the one that is not optical flow, depth, a
    mask or a thumbnail by its name is the video; then one that is numbered, then one that is named img, frame or rgb.

    Raises:
        ValueError: there are several, and no name says which is the video.

    >>> frames_among(["flow_x_1.jpg", "flow_x_2.jpg", "img_1.jpg", "img_2.jpg", "cover.jpg"])
    ['img_1.jpg', 'img_2.jpg']
    """
    series: dict[tuple[str, str], list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in PICTURES and is_data(name):
            kind = {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix.lower(), suffix.lower())
            series.setdefault((re.sub(r"[0-9]+", "#", stem.casefold()), kind), []).append(name)
    for fits in (
        lambda name: not _BESIDE & set(words(name)),
        lambda name: any(c.isdigit() for c in name),
        lambda name: bool(_FRAME & set(words(name))),
    ):
        if len(series) > 1:
            series = {key: found for key, found in series.items() if fits(os.path.splitext(found[0])[0])} or series
    # names without a system, such as hashes, make a series of nearly every picture
    if len(series) > 1 and min(map(len, series.values())) > 1:
        every = ", ".join(f"{len(found)} named {stem}{suffix}" for (stem, suffix), found in sorted(series.items()))
        raise ValueError(f"pictures of several videos: {every}")
    return sorted((name for found in series.values() for name in found), key=in_order)


def printable(path: str | os.PathLike[str]) -> str:
    """A file name that can be printed on one line, whatever bytes it is made of."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))
