"""Which files count, and in which order; which pictures of a folder are its video, and how they are read."""

from __future__ import annotations

import random
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import clip
from PIL import Image
from small_videos import encode, moving

from tps_lab import data
from tps_lab.data._files import find_videos, frames_among, in_order, is_data, words
from tps_lab.data._frames import read
from tps_lab.data._video import UnreadableVideo
from tps_lab.data.check import check
from tps_lab.data.transforms import directional

# Order


@pytest.mark.parametrize(
    "pattern",
    ["{}.jpg", "frame-{}.png", "img_{}_final.jpg", "v2_{}.jpeg", "Frame {}.JPG", "{:05d}.webp", "a.b.{}.bmp"],
)
def test_frames_are_in_the_order_of_their_numbers(pattern: str) -> None:
    names = [pattern.format(i) for i in range(1, 123)]
    mixed = random.Random(0).sample(names, len(names))
    assert frames_among(mixed) == names


@given(st.lists(st.text("aB0123456789_-. ", min_size=1, max_size=8), max_size=12, unique=True))
def test_the_order_is_one_and_follows_the_first_number(names: list[str]) -> None:
    found = sorted(names, key=in_order)
    assert sorted(found) == sorted(names)
    names.reverse()
    assert sorted(names, key=in_order) == found
    starts = [int(match[0]) for name in found if (match := re.match("[0-9]+", name))]
    assert starts == sorted(starts)


# Which pictures


@pytest.mark.parametrize(
    ("others", "frames"),
    [
        (["flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"], "img_{:05d}.jpg"),
        (["x_{:05d}.jpg", "y_{:05d}.jpg"], "img_{:05d}.jpg"),
        (["flowX-{}.png"], "{}.png"),
        (["{}_depth.png", "{}_mask.png"], "{}.jpg"),
        (["DepthMap{}.png"], "Color{}.png"),
        (["frame{}_thumb.jpg"], "frame{}.jpg"),
        (["segmentation/", "{:03d}.json", "{:03d}.txt"], "{:03d}.jpg"),
    ],
)
def test_what_lies_beside_frames_is_none(others: list[str], frames: str) -> None:
    want = [frames.format(i) for i in range(1, 13)]
    machine = ["Thumbs.db", ".DS_Store", *(f"._{name}" for name in want), "cover.jpg", "poster.png", "desktop.ini"]
    names = [*(other.format(i) for other in others for i in range(1, 13)), *machine, *want]
    assert frames_among(names) == want


def test_depth_alone_is_a_video_and_two_videos_are_none(tmp_path: Path) -> None:
    assert frames_among(["depth_2.png", "depth_10.png"]) == ["depth_2.png", "depth_10.png"]
    assert frames_among(["IMG_2.JPG", "img_10.jpeg"]) == ["IMG_2.JPG", "img_10.jpeg"]
    assert frames_among(["b.jpg", "a.jpg"]) == ["a.jpg", "b.jpg"]
    assert frames_among(["9bc.jpg", "1af.jpg", "77.jpg"]) == ["1af.jpg", "9bc.jpg", "77.jpg"]
    for side in ("left", "right"):
        for i in range(3):
            save(tmp_path / f"{side}_{i}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UnreadableVideo, match=r"pictures of several videos: 3 named left_#\.png, 3 named right_#\.png"):
        read(tmp_path, range)


def test_what_a_machine_leaves_is_no_data(tmp_path: Path) -> None:
    encode(tmp_path / "walk" / "0.mp4", moving(8))
    whole = (tmp_path / "walk" / "0.mp4").read_bytes()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "0.mp4").write_bytes(whole)
    junk = ["__MACOSX/walk/._0.mp4", "walk/._0.mp4", "@eaDir/0.mp4", "walk/@eaDir/0.mp4/thumb.mp4", ".Trash-1000/0.mp4"]
    junk += [".ipynb_checkpoints/0-checkpoint.mp4", "$RECYCLE.BIN/x.mp4", "lost+found/x.mp4", "walk/.hidden.mp4"]
    junk += ["System Volume Information/0.mp4", "#recycle/0.mp4", "walk/Thumbs.db", ".DS_Store"]
    for name in junk:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7Mac OS X" + b"x" * 99)
    found = check(tmp_path)
    assert found.listing.classes == ("run", "walk")
    assert [e.name for entries in found.listing.splits.values() for e in entries] == ["run/0.mp4", "walk/0.mp4"]
    assert list(find_videos(tmp_path)[0]) == ["run/0.mp4", "walk/0.mp4"]
    assert not is_data(".a.mp4")
    assert is_data("_a.mp4")


@pytest.mark.parametrize("kind", ["hmdb51", "video-list", "ssv1"])
def test_annotations_that_a_mac_left_are_not_read(tmp_path: Path, kind: str) -> None:
    from layouts import LAYOUTS

    root = LAYOUTS[kind](tmp_path / "set")
    before = check(root).listing
    for file in [f for f in root.rglob("*") if f.is_file()]:
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    (root / "20bn-something-something-v1" / "@eaDir").mkdir(parents=True)
    assert check(root).listing == before


# Left and right


@pytest.mark.parametrize(
    "name",
    "swipe_left swipe-left SwipeLeft swipeLeft SWIPE_LEFT leftSwipe left2right turn_right LEFTSwipe swipe.left Left "
    "Turning_Hand_Clockwise counterclockwise move-leftwards 2left".split(),
)
def test_classes_of_a_side_are_told_by_any_spelling(name: str) -> None:
    assert directional([name, "walk"]) == {0}


@given(st.lists(st.sampled_from(["swipe", "turn", "point", "look", "move"]), min_size=1, max_size=3), st.randoms())
def test_a_side_is_found_however_words_are_joined(parts: list[str], rng: random.Random) -> None:
    parts = [*parts, rng.choice(["left", "right"])]
    rng.shuffle(parts)
    joined = rng.choice(["_", "-", " ", ".", "2"]).join(rng.choice([p, p.upper(), p.title()]) for p in parts)
    camel = parts[0] + "".join(p.title() for p in parts[1:])
    assert directional([joined, camel]) == {0, 1}


def test_classes_without_a_side() -> None:
    plain = ["Leftover food", "bright", "upright", "copyright", "straight", "cleft", "walk", "model_s", "l", "R"]
    assert directional(plain) == {8, 9}  # l and R are each other's mirror image, and no others
    assert directional(["swipeleft", "swiperight", "bright"]) == {0, 1}
    assert directional(["swipe_l", "swipe_r", "swipe_u"]) == {0, 1, 2} - {2}
    assert words("naïve_left左") == ["na", "ï", "ve", "left", "左"]


def test_mirrored_classes_keep_their_side(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("swipe_left", "SwipeRight", "wave"):
            encode(tmp_path / split / kind / "0.mp4", clip(0, 8))
    clips = data.parse("class-folders", path=str(tmp_path)).opened()
    assert [clips.classes[label] for label in sorted(clips.fixed)] == ["SwipeRight", "swipe_left"]  # type: ignore[attr-defined]


# Pictures as people see them


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def corners() -> np.ndarray:
    """Red, green, blue, white in the corners of a picture of unlike sides."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:12, :20], pixels[:12, 20:], pixels[12:, :20], pixels[12:, 20:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), 250
    return pixels


def named(pixels: np.ndarray) -> str:
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    return "".join(names[tuple(int(v > 128) for v in pixels[y, x])] for y, x in ((3, 3), (3, -4), (-4, 3), (-4, -4)))


# by the standard: where the stored first row and first column are shown
SHOWN = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_pictures_are_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    about = Image.Exif()
    about[274] = orientation
    save(tmp_path / f"1.{suffix}", corners(), exif=about, **({"quality": 95} if suffix in ("jpg", "webp") else {}))
    for size in (None, 24):
        got = read(tmp_path, range, size)[0]
        assert named(got) == SHOWN[orientation]
        assert got.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    save(tmp_path / "1.jpg", corners(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage", quality=95)
    assert named(read(tmp_path, range)[0]) == "RGBW"


def png(path: Path, values: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG of 16 bits, written by hand."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    want = np.rint(grey / 257)

    def off(name: str) -> float:
        got = read(tmp_path / name, range)[0].astype(int)
        return float(np.abs(got - (want[..., None] if want.ndim == 2 else want)).max())

    for name in ("grey.png", "grey.tif", "grey.pgm", "colour.png", "alpha.png"):
        (tmp_path / name.replace(".", "_")).mkdir()
    save(tmp_path / "grey_png" / "1.png", grey)
    save(tmp_path / "grey_tif" / "1.tif", grey)
    (tmp_path / "grey_pgm" / "1.pgm").write_bytes(b"P5 64 48 65535\n" + grey.astype(">u2").tobytes())
    png(tmp_path / "colour_png" / "1.png", np.stack([grey] * 3, -1), 2)
    png(tmp_path / "alpha_png" / "1.png", np.stack([grey] * 3 + [np.full_like(grey, 65535)], -1), 6)
    assert max(off(name) for name in ("grey_png", "grey_tif", "grey_pgm", "colour_png", "alpha_png")) <= 1
    assert off("grey_png") == 0


def test_what_is_transparent_is_hidden(tmp_path: Path) -> None:
    pixels = np.zeros((24, 40, 4), np.uint8)
    pixels[..., 0], pixels[:, :20, 3] = 255, 255
    grey = np.full((24, 40), 40_000, np.uint16)
    grey[:, 20:] = 9
    save(tmp_path / "rgba" / "1.png", pixels)
    save(tmp_path / "tiff" / "1.tif", pixels)
    save(tmp_path / "webp" / "1.webp", pixels, lossless=True, exact=True)
    (tmp_path / "palette").mkdir()
    Image.fromarray(pixels).quantize().save(tmp_path / "palette" / "1.png")
    (tmp_path / "key").mkdir()
    png(tmp_path / "key" / "1.png", grey, 0, (b"tRNS", struct.pack(">H", 9)))
    for kind in ("rgba", "tiff", "webp", "palette"):
        got = read(tmp_path / kind, range)[0]
        assert got[0, 0].tolist() == [255, 0, 0], kind
        assert got[0, 39].tolist() == [0, 0, 0], kind
    assert read(tmp_path / "key", range)[0][0, [0, 39], 0].tolist() == [156, 0]


def test_numbers_without_a_white_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "1.tif", np.ones((8, 8), np.float32))
    with pytest.raises(UnreadableVideo, match=r"picture 1\.tif has floating-point, signed or 32-bit numbers"):
        read(tmp_path, range)


def test_pictures_from_the_cache_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(1, 13):
        save(tmp_path / "v" / f"{i}.png", np.full((8, 10, 3), 10 * i, np.uint8))
        save(tmp_path / "v" / f"flow_x_{i}.png", np.zeros((8, 10, 3), np.uint8))
    for size in (None, 4):
        want = read(tmp_path / "v", range, size)
        assert want[:, 0, 0, 0].tolist() == [10 * i for i in range(1, 13)]
        with monkeypatch.context() as patch:
            patch.setenv("TPS_LAB_CACHE", str(tmp_path / "cache"))
            for _ in range(2):
                assert np.array_equal(read(tmp_path / "v", lambda n: [11, 0, 5], size), want[[11, 0, 5]])
