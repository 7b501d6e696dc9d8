"""`tps-lab data check`: what is wrong with a collection, and the list of what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from here import here
from layouts import LAYOUTS, clip
from small_videos import encode

from tps_lab import data
from tps_lab.data._frames import read
from tps_lab.data._listing import usable_names, write_usable
from tps_lab.data._video import UnreadableVideo
from tps_lab.data.check import check, recognise, text
from tps_lab.errors import InputError


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """UCF101 with one file of each kind of damage."""
    root = LAYOUTS["ucf101"](tmp_path / "set")
    videos = root / "UCF-101"
    (videos / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g08_c01.avi").unlink()
    cut = videos / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g08_c02.avi"
    cut.write_bytes(cut.read_bytes()[:2000])
    encode(videos / "Archery" / "v_Archery_g08_c01.avi", clip(0, 3))
    (videos / "Archery" / "v_Archery_g01_c01.avi").write_bytes(b"")
    return root


def test_everything_wrong_is_named_and_counted(damaged: Path) -> None:
    facts = check(damaged, frames=8).facts()
    train, test = facts["splits"]["train"], facts["splits"]["test"]
    assert {key: train[key] for key in ("listed", "official", "missing", "unreadable", "short", "usable")} == {
        "listed": 8, "official": 9537, "missing": 1, "unreadable": 1, "short": 1, "usable": 5,
    }  # fmt: skip
    assert (test["listed"], test["unreadable"], test["usable"]) == (2, 1, 1)
    assert test["balance"] == {"fewest": 0, "median": 0.5, "most": 1, "empty": ["Archery"]}
    assert facts["missing"] == {"train": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi"]}
    assert sorted(p["what"] for p in facts["problems"]) == ["short", "unreadable", "unreadable"]
    assert "3 frames, 8 needed" in text(facts)
    assert "none of Archery" in text(facts)


def test_the_list_of_usable_clips_reads_back(damaged: Path, tmp_path: Path) -> None:
    file = tmp_path / "usable.txt"
    command = ["data", "check", str(damaged), "--frames", "8", "--json", "--fix-list", str(file)]
    done = subprocess.run([sys.executable, "-m", "tps_lab.cli", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fix_list"] == {"file": str(file), "clips": 6}
    clips = data.parse("ucf101", path=str(damaged), only=str(file), holdout=0, frames=4, size=16, short=16).opened()
    assert (clips.size("train"), clips.size("test")) == (5, 1)
    clips.batch("train", torch.arange(5))
    assert not clips.broken
    content = file.read_text()
    again = here(*command)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert file.read_text() == content


def test_no_split_is_empty_where_a_list_leaves_clips_out(tmp_path: Path) -> None:
    root = LAYOUTS["ucf101"](tmp_path / "set")
    file = tmp_path / "usable.txt"

    def opened(*splits: str) -> data.Clips:
        file.unlink(missing_ok=True)
        write_usable(file, [(split, entry) for split, entry in kept if split in splits])
        return data.parse("ucf101", path=str(root), only=str(file), holdout=0.02, frames=4, size=16).opened()

    first = data.parse("ucf101", path=str(root), frames=4, size=16).opened()
    held = set(first.names("val"))
    kept = [(split, entry) for split, entry in check(root).usable() if entry.name not in held]
    clips = opened("train", "test")
    assert all(clips.size(split) for split in data.SPLITS)
    assert not set(clips.names("val")) & set(clips.names("test"))
    for split, other in (("train", "test"), ("test", "train")):
        with pytest.raises(InputError, match=rf"usable\.txt lists no {split} clip of '.*set'"):
            opened(other)


def test_odd_names_survive_the_list(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    odd = ["tab\there.mp4", os.fsdecode(b"\xfc.mp4"), '"quoted".mp4', " blank.mp4", "日本.mp4"]
    for name in odd:
        encode(root / "x.mp4", clip(1)).rename(root / "train" / "walking" / name)
    file = tmp_path / "usable.txt"
    found = check(root)
    assert write_usable(file, found.usable()) == 8 + len(odd)
    assert usable_names(file) == {entry.name for _, entry in found.usable()}
    (tmp_path / "bad.txt").write_text("train 0 a.mp4\n")
    with pytest.raises(InputError, match=r"line 1: 'train 0 a\.mp4' is not SPLIT, LABEL and NAME"):
        usable_names(tmp_path / "bad.txt")


def test_wrong_lengths_are_said_and_stay_usable(tmp_path: Path) -> None:
    root = LAYOUTS["diving48"](tmp_path / "set")
    encode(root / "rgb" / "2x00lRzlTVQ_00000.mp4", clip(0, 60))
    facts = check(root).facts()
    assert [(p["what"], p["why"]) for p in facts["problems"]] == [("length", "60 frames, 20 by its list")]
    assert facts["splits"]["test"]["usable"] == 2


def test_pictures(tmp_path: Path) -> None:
    root = LAYOUTS["ssv1"](tmp_path / "set")
    frames = root / "20bn-something-something-v1"
    (frames / "0" / "00005.jpg").unlink()
    (frames / "1" / "00012.jpg").write_bytes((frames / "1" / "00012.jpg").read_bytes()[:300])
    (frames / "2" / "00003.jpg").write_bytes(b"")
    for file in (frames / "3").iterdir():
        file.unlink()
    why = {p.entry.name.split("/")[1]: p.why for p in check(root).problems}
    assert why == {
        "0": "1 pictures are missing between others",
        "1": "picture 00012.jpg: cut off or damaged",
        "2": "1 of 12 pictures are empty files, such as 00003.jpg",
        "3": "no picture in the folder",
    }


def test_only_files_are_pictures(tmp_path: Path) -> None:
    """A pipe would be waited for without an end."""
    root = LAYOUTS["ssv1"](tmp_path / "set")
    frames = root / "20bn-something-something-v1"
    for clip_name in "0123":
        (frames / clip_name / "00003.jpg").unlink()
    (frames / "0" / "00003.jpg").symlink_to("nowhere")
    os.mkfifo(frames / "1" / "00003.jpg")
    (frames / "2" / "00003.jpg").mkdir()
    (frames / "3" / "00003.jpg").symlink_to("00002.jpg")
    why = {p.entry.name.split("/")[1]: p.why for p in check(root).problems}
    assert why == {
        "0": "picture 00003.jpg is a link to nothing",
        "1": "picture 00003.jpg is no plain file",
        "2": "picture 00003.jpg is no plain file",
    }
    for name in "012":
        with pytest.raises(UnreadableVideo, match=r"picture 00003\.jpg is"):
            read(frames / name, lambda total: [total - 1])


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        ([f"frame_{i:06d}.jpg" for i in range(0, 50, 5)], 0),  # one of five was kept
        ([f"{i}.jpg" for i in range(1, 13)], 0),
        ([f"{i}.jpg" for i in range(1, 13) if i != 10], 1),
        ([f"v2_{i}.jpg" for i in range(7, 13) if i not in (9, 10)], 2),
        ([f"frame_{i:06d}.jpg" for i in range(0, 50, 5) if i != 20], 1),
        (["1403636579763555584.png", "1403636579813555456.png", "1403636579863555584.png"], 0),  # times
        (["1305031102.175304.png", "1305031102.211214.png", "1305031103.043227.png"], 0),
        (["a.jpg", "b.jpg"], 0),
    ],
)
def test_pictures_missing_between_others(tmp_path: Path, names: list[str], gone: int) -> None:
    from PIL import Image

    from tps_lab.data.check import _folder_length

    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    if gone:
        with pytest.raises(InputError, match=f"{gone} pictures are missing between others"):
            _folder_length(tmp_path, False)
    else:
        assert _folder_length(tmp_path, True) == (len(names), 0.0)


@pytest.mark.parametrize("tops", [("train", "val"), ("",)])
def test_class_folders_that_hold_no_video_are_named(tmp_path: Path, tops: tuple[str, ...]) -> None:
    for top in tops:
        for name in ("walking", "running", "damaged"):
            (tmp_path / top / name).mkdir(parents=True)
            for i in range(6):
                (tmp_path / top / name / f"{i}.mp4").write_bytes(b"")
    for top, name in ((tops[0], "empty"), (tops[-1], "of pictures"), (tops[0], ".git")):
        (tmp_path / top / name).mkdir()
        (tmp_path / top / name / "a.jpg").touch()
    for top in tops:
        for name in ("walking", "running"):
            for i in range(6):
                encode(tmp_path / top / name / f"{i}.mp4", clip(i))
    facts = check(tmp_path, "class-folders").facts()
    assert "left out, as no video is in them: 2 folders (empty, of pictures)" in facts["notes"]
    assert facts["splits"]["train"]["balance"]["empty"] == ["damaged"]
    assert "; none of damaged" in text(facts)


def test_damage_inside_is_found_by_decoding(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    file = root / "train" / "walking" / "0.mp4"
    content = bytearray(file.read_bytes())
    at = content.index(b"mdat") + 200
    content[at : at + 1200] = b"\x55" * 1200
    file.write_bytes(content)
    assert not check(root).problems
    assert [p.entry.name for p in check(root, decode=True).problems] == ["train/walking/0.mp4"]


def test_clips_in_two_splits_are_named(tmp_path: Path) -> None:
    root = LAYOUTS["ucf101"](tmp_path / "set")
    with (root / "ucfTrainTestlist" / "trainlist01.txt").open("a") as out:
        out.write("Archery/v_Archery_g01_c01.avi 2\n")
    assert check(root).in_both == ["UCF-101/Archery/v_Archery_g01_c01.avi"]


def test_clips_with_several_labels_are_named(tmp_path: Path) -> None:
    root = LAYOUTS["video-list"](tmp_path / "set")
    with (root / "mine_train_list_videos.txt").open("a") as out:
        out.write("a/one.mp4 1\na/one.mp4 0\n")
    said = "listed with several labels: videos/a/one.mp4 (first, second)"
    assert said in check(root).facts()["notes"]
    assert said in data.parse("video-list", path=str(root), frames=4, size=16).opened().notes


def test_clips_that_stand_in_a_split_twice_are_named(tmp_path: Path) -> None:
    root = LAYOUTS["video-list"](tmp_path / "set")
    file = root / "mine_train_list_videos.txt"
    first = file.read_text().splitlines()[0]
    file.write_text(f"{file.read_text()}{first}\n{first}\n")
    (said,) = (note for note in check(root).facts()["notes"] if "more than once" in note)
    assert said == f"listed and counted more than once: videos/{first.split()[0]} (train, 3 times)"
    assert said in data.parse("video-list", path=str(root), frames=4, size=16).opened().notes


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks like none of"):
        recognise(tmp_path)
    with pytest.raises(InputError, match="unknown kind of data 'ssv3'; did you mean"):
        check(tmp_path, "ssv3")
    with pytest.raises(InputError, match="unknown option of data set 'ucf101' 'fld'; did you mean 'fold'"):
        check(LAYOUTS["ucf101"](tmp_path / "set"), fld=2)
    done = here("data", "check", tmp_path / "gone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tps-lab: cannot open the folder")
