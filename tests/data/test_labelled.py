"""Readers of labelled videos, on small sets in the owners' layouts."""

from __future__ import annotations

import json
import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import LAYOUTS, clip
from small_videos import encode

from tps_lab import data
from tps_lab.data import SPLITS
from tps_lab.data._labelled import Labelled, held_out
from tps_lab.data.check import check, kinds
from tps_lab.errors import InputError

SMALL = {"frames": 4, "size": 16, "short": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name) / "set") for name, make in LAYOUTS.items()}


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in sorted(root.rglob("*"))}


def test_every_reader_has_a_layout_here() -> None:
    assert set(kinds()) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_read_and_left_alone(made: dict[str, Path], name: str) -> None:
    before = snapshot(made[name])
    found = check(made[name])
    assert found.kind == name
    assert not found.problems
    clips = data.parse(name, path=str(made[name]), **SMALL).opened()
    assert clips.clip_shape == (3, 4, 16, 16)
    for split in SPLITS:
        x, labels = clips.batch(split, torch.arange(clips.size(split)))
        assert x.shape == (clips.size(split), 3, 4, 16, 16)
        assert x.dtype == torch.float32
        assert -2.2 < x.min() < x.max() < 2.7
        assert set(labels.tolist()) <= set(range(len(clips.classes)))
        assert torch.equal(x, clips.batch(split, torch.arange(clips.size(split)))[0])
    assert not clips.broken
    assert snapshot(made[name]) == before


# name → classes, what each official split holds as (file's stem, label), and what is missing
LISTED = {
    "ssv2": (
        4,
        {"train": [(str(i), i % 4) for i in (0, 1, 2, 4, 5, 6, 7)], "validation": [("100", 0), ("101", 1), ("103", 3)],
         "test": [("200", -1), ("201", -1)]},
        {"train": ["3"], "validation": ["102"]},
    ),
    "ssv1": (
        4,
        {"train": [(str(i), i % 4) for i in range(6)], "validation": [("100", 0), ("101", 1)], "test": [("200", -1)]},
        {},
    ),
    "diving48": (
        2,
        {"train": [("-mmq0PT-u8k_00000", 0), ("-mmq0PT-u8k_00001", 1), ("-mmq0PT-u8k_00002", 0),
                   ("_8Vy3dlHg2w_00000", 1)],
         "test": [("2x00lRzlTVQ_00000", 0), ("2x00lRzlTVQ_00001", 1)]},
        {},
    ),
    "kinetics400": (
        3,
        {"train": [("0347ZoDXyP0_000095_000096", 0), ("-zumba_id_1_000010_000011", 2)],
         "val": [("3E7Jib8Yq5M_000118_000119", 0), ("0OfHjzvrVFk_000007_000008", 1)]},
        {"train": ["AAAAAAAAAAA_000003_000004"]},
    ),
    "hmdb51": (
        2,
        {"train": [("Film_brush_hair_u_nm_np1_ba_goo_0", 0), ("Film_brush_hair_u_nm_np1_ba_goo_1", 0),
                   ("Film_wave_u_nm_np1_ba_goo_0", 1), ("Film_wave_u_nm_np1_ba_goo_1", 1)],
         "test": [("Other_brush_hair_u_cm_np1_fr_med_0", 0), ("Other_wave_u_cm_np1_fr_med_0", 1)],
         "unused": [("Film_brush_hair_u_nm_np1_ba_goo_2", 0), ("Film_wave_u_nm_np1_ba_goo_2", 1)]},
        {},
    ),
    "video-list": (2, {"train": [("one", 0), ("with a blank", 1), ("x", 1)], "test": [("three", 0)]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed(made: dict[str, Path], name: str) -> None:
    classes, splits, missing = LISTED[name]
    listing = data.parse(name, path=str(made[name])).listing()  # type: ignore[attr-defined]
    assert len(listing.classes) == classes
    assert {s: [(Path(e.name).stem, e.label) for e in entries] for s, entries in listing.splits.items()} == splits
    assert {s: names for s, names in listing.missing.items() if names} == missing
    for entries in listing.splits.values():
        assert all((made[name] / entry.name).exists() for entry in entries)


@pytest.mark.parametrize("kind", ["hmdb51", "ucf101", "kinetics400"])
@pytest.mark.parametrize("folder", ["there", "gone", "flat"])
def test_a_missing_clip_is_missing_whatever_else_has_its_name(tmp_path: Path, kind: str, folder: str) -> None:
    """Clip 1 is listed in both classes and is there in the first; clip 2 is there in both."""
    first, second = ("brush hair", "wave") if kind == "kinetics400" else ("brush_hair", "wave")
    stem = {"hmdb51": "clip_{}", "ucf101": "v_{}_c01", "kinetics400": "AAAAAAAAAA{}_000001_000002"}[kind]
    files = [(first, 1), (first, 2), (second, 2)] if folder == "there" else [(first, 1), (first, 2)]
    place = "UCF-101" if kind == "ucf101" else "videos"
    for name, k in files:
        at = tmp_path / place / ("" if folder == "flat" else name.replace(" ", "_")) / f"{stem.format(k)}.avi"
        encode(at, clip(k, 8))
    if kind == "hmdb51":
        (tmp_path / "splits").mkdir()
        for name in (first, second):
            (tmp_path / "splits" / f"{name}_test_split1.txt").write_text("clip_1.avi 1\nclip_2.avi 2\n")
    elif kind == "ucf101":
        (tmp_path / "classInd.txt").write_text(f"1 {first}\n2 {second}\n")
        for split, k in (("train", 1), ("test", 2)):
            lines = [f"{name}/v_{k}_c01.avi" for name in (first, second)]
            (tmp_path / f"{split}list01.txt").write_text("\n".join(lines))
    else:
        for split, k in (("train", 1), ("val", 2)):
            rows = [f"{name},AAAAAAAAAA{k},1,2,{split}" for name in (first, second)]
            (tmp_path / f"{split}.csv").write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows]))
    listing = check(tmp_path, kind).listing
    found = {(e.name.split("/")[-2], e.label) for entries in listing.splits.values() for e in entries}
    if folder == "flat":  # one folder for all classes: the name is all there is
        assert found == {(place, 0), (place, 1)}
        return
    assert found == {("brush_hair", 0)} | ({("wave", 1)} if folder == "there" else set())
    assert sum(map(len, listing.missing.values())) == (1 if folder == "there" else 2)


def test_the_validation_list_does_not_take_training_files(tmp_path: Path) -> None:
    for place, k in (("videos_train", 0), ("videos_train", 1), ("videos_val", 1), ("videos", 2)):
        encode(tmp_path / place / f"{k}.mp4", clip(k, 8))
    (tmp_path / "kinetics_train_list_videos.txt").write_text("0.mp4 0\n1.mp4 0\n2.mp4 1\n")
    (tmp_path / "kinetics_val_list_videos.txt").write_text("0.mp4 0\n1.mp4 0\n")
    listing = check(tmp_path, "video-list").listing
    assert [e.name for e in listing.splits["train"]] == ["videos_train/0.mp4", "videos_train/1.mp4", "videos/2.mp4"]
    assert [e.name for e in listing.splits["test"]] == ["videos_val/1.mp4"]
    assert listing.missing["test"] == ["0.mp4"]


def test_ucf_names_with_blanks(tmp_path: Path) -> None:
    for k in (1, 2):
        encode(tmp_path / "UCF-101" / "Basketball Dunk" / f"v_1 {k}_c01.avi", clip(k, 8))
    (tmp_path / "classInd.txt").write_text("1 Basketball Dunk\n")
    (tmp_path / "trainlist01.txt").write_text("Basketball Dunk/v_1 1_c01.avi 1\n")
    (tmp_path / "testlist01.txt").write_text("Basketball Dunk/v_1 2_c01.avi\n")
    splits = check(tmp_path, "ucf101").listing.splits
    assert {split: [Path(e.name).name for e in entries] for split, entries in splits.items()} == {
        "train": ["v_1 1_c01.avi"], "test": ["v_1 2_c01.avi"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["class-folders", "kinetics400", "hmdb51", "ucf101", "video-list"])
@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_one_name_however_its_accents_are_written(tmp_path: Path, kind: str, forms: tuple[str, str]) -> None:
    """macOS writes the accents of files apart from their letters, and the lists of others do not."""
    listed, stored = (unicodedata.normalize(form, "touché") for form in forms)
    place = {"ucf101": "UCF-101/", "hmdb51": ""}.get(kind, "train/")
    for name in (f"{place}{stored}/{stored}_1.avi", f"{place}b/b_1.avi"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    if kind == "hmdb51":
        for name in (listed, "b"):
            (tmp_path / f"{name}_test_split1.txt").write_text(f"{name}_1.avi 1\n")
    elif kind == "ucf101":
        (tmp_path / "classInd.txt").write_text(f"1 {stored}\n2 b\n")
        (tmp_path / "trainlist01.txt").write_text(f"{listed}/{listed}_1.avi 1\nb/b_1.avi 2\n")
        (tmp_path / "testlist01.txt").touch()
    elif kind == "video-list":
        (tmp_path / "train.txt").write_text(f"train/{listed}/{listed}_1.avi 0\ntrain/b/b_1.avi 1\n")
    else:
        (tmp_path / "val" / listed).mkdir(parents=True)
        (tmp_path / "val" / listed / "x.avi").touch()
    listing = data.parse(kind, path=str(tmp_path)).listing()  # type: ignore[attr-defined]
    assert len(listing.classes) == 2
    assert (len(listing.splits["train"]), sum(map(len, listing.missing.values()))) == (2, 0)


def test_lists_that_windows_wrote(tmp_path: Path) -> None:
    for name in ("a/1.avi", "b/2.avi"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa\\1.avi 0\r\nb\\2.avi 1\r\n")
    (tmp_path / "classInd.txt").write_bytes(b"1\ta\r\n2\tb\r\n")
    (tmp_path / "trainlist01.txt").write_bytes(b"a\\1.avi\t1\r\nb\\2.avi\t2\r\n")
    (tmp_path / "testlist01.txt").touch()
    for kind in ("video-list", "ucf101"):
        listing = data.parse(kind, path=str(tmp_path)).listing()  # type: ignore[attr-defined]
        assert [(e.name, e.label) for e in listing.splits["train"]] == [("a/1.avi", 0), ("b/2.avi", 1)]


def test_a_class_that_is_a_link_is_read_where_its_split_is(tmp_path: Path) -> None:
    for name in ("all/q/2.avi", "train/a/1.avi", "train/b/1.avi", "test/b/2.avi"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "test" / "a").symlink_to("../all/q")
    listing = data.parse("class-folders", path=str(tmp_path)).listing()  # type: ignore[attr-defined]
    assert [e.name for e in listing.splits["test"]] == ["test/a/2.avi", "test/b/2.avi"]
    assert listing.notes == []


def test_classes_that_training_never_shows_are_said(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    (root / "val" / "running").rename(root / "val" / "Running")
    said = "val or test hold classes of which train has no clip: Running"
    assert said in data.parse("class-folders", path=str(root), **SMALL).opened().notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("opposites(size=1000000)", "size of data set 'opposites' must be from 8 to 4,096, got 1000000"),
        ("actions(frames=1000000000)", "frames of data set 'actions' must be from 2 to 10,000"),
        ("ssv2(path=x, short=1000000000)", "short of data set 'ssv2' must be from 1 to 8,192"),
        ("video-folder(path=x, frames=1000000000)", "must be from 2 to 10,000"),
        ("video-folder(path=x, margin=1000000000)", "must be from 0 to 4,096"),
        ("opposites(train=2000000000000)", "must be from 0 to 10,000,000, got 2000000000000"),
        ("counting(test=99999999999)", "must be from 0 to 10,000,000, got 99999999999"),
        ("opposites(seed=99999999999999)", "must be from 0 to 4,294,967,295, got 99999999999999"),
        (f"opposites(seed={'9' * 26})", "seed must be"),
        ("ssv2(path=x, seed=-1)", "must be from 0 to 4,294,967,295, got -1"),
        ("video-folder(path=x, stride=1000000000000)", "must be from 1 to 10,000"),
        (
            "video-folder(path=x, block=9, stride=100000)",
            "must be from 1 to 10,000, got 100000",
        ),
        ("ssv2(path=x, randaugment=1000000)", "randaugment of data set 'ssv2' must be from 0 to 100, got 1000000"),
    ],
)
def test_numbers_that_no_machine_can_serve_are_refused_at_once(text: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        data.parse(text)
    assert says in str(raised.value)
    with pytest.raises(InputError, match="noise of data set 'opposites' must be a finite number, got nan"):
        data.parse("opposites").__class__(noise=float("nan"))  # type: ignore[call-arg]


def test_kinetics_by_folders(tmp_path: Path) -> None:
    from layouts import kinetics400

    clips = data.parse("kinetics400", path=str(kinetics400(tmp_path, tables=False)), **SMALL).opened()
    assert clips.classes == ("abseiling", "air drumming", "zumba")
    assert "no list that says what is missing" in clips.notes[-1]


@pytest.mark.parametrize(
    ("files", "links", "message"),
    [
        ("train/x.mp4 test/x.mp4", {}, r"no train/CLASS/VIDEO: found test/ \(1 video\), train/ \(1 video\); expected"),
        ("train/a/x.mp4 train/b/x.mp4", {"test": "train"}, "test and train in '.*' are one folder"),
        ("train/a/x.mp4 train/b/x.mp4", {"val": "train"}, "train and val in '.*' are one folder"),
        ("train/a/x.mp4 train/b/x.mp4 test/b/x.mp4", {"test/a": "../train/a"}, "test/a and train/a in '.*' are one"),
        ("a/x.mp4 b/x.mp4 test/a/x.mp4 test/b/x.mp4", {}, r"has a folder test and no train/CLASS/VIDEO: found a/ \(1"),
        ("a/x.mp4 a/y.mp4", {}, "has one class alone, a; two or more are needed"),
        ("train/a/x.mp4 test/a/x.mp4", {}, "has one class alone, a; two or more are needed"),
    ],
)
def test_no_split_is_taken_for_a_class(tmp_path: Path, files: str, links: dict[str, str], message: str) -> None:
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, target in links.items():
        (tmp_path / name).symlink_to(target, target_is_directory=True)
    with pytest.raises(InputError, match=message):
        data.parse("class-folders", path=str(tmp_path)).listing()  # type: ignore[attr-defined]


def test_videos_beside_the_class_folders_are_said(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    (root / "train" / "x.mp4").touch()
    assert "left out, as no folder says their class: 1 video (train/x.mp4)" in check(root).listing.notes


def test_official_sizes() -> None:
    assert dict(kinds()["ssv2"].official) == {"train": 168_913, "validation": 24_777, "test": 27_157}
    assert sum(kinds()["ssv1"].official.values()) == 108_499
    assert sum(data.parse("ucf101", fold=2).official.values()) == 13_320  # type: ignore[attr-defined]
    assert dict(kinds()["hmdb51"].official) == {"train": 51 * 70, "test": 51 * 30}


def test_what_is_held_out(made: dict[str, Path]) -> None:
    for seed in range(5):
        clips = data.parse("ucf101", path=str(made["ucf101"]), holdout=0.4, seed=seed, **SMALL).opened()
        groups = {split: {entry.group for entry in clips.entries[split]} for split in SPLITS}
        assert not groups["train"] & groups["val"]
        assert len(clips.entries["train"]) + len(clips.entries["val"]) == 8
    clips = data.parse("ucf101", path=str(made["ucf101"]), holdout=0, **SMALL).opened()
    assert clips.entries["val"] == clips.entries["test"]
    assert "val is the test clips" in clips.notes[0]
    from tps_lab.data._listing import Entry

    held = sum(held_out(Entry(str(i), 0), 0.1, 0) for i in range(5000))
    assert 430 < held < 570


def test_augmented_clips_follow_from_seed_index_and_epoch(made: dict[str, Path]) -> None:
    def clips(**options: object) -> data.Clips:
        return data.parse("ssv2", path=str(made["ssv2"]), **SMALL, **options).opened()

    one, index = clips(), torch.arange(4)
    first = one.batch("train", index)[0]
    one.set_epoch(1)
    second = one.batch("train", index)[0]
    assert (first != second).flatten(1).any(1).all()
    other = pickle.loads(pickle.dumps(clips()))  # as a worker process gets it
    other.workers = 1
    other.set_epoch(1)
    torch.manual_seed(5)  # whatever else is random
    assert torch.equal(other.batch("train", torch.tensor([3, 0]))[0], second[[3, 0]])
    assert not torch.equal(clips(seed=1).batch("train", index)[0], first)
    still = clips(augment=False)
    before = still.batch("train", index)[0]
    still.set_epoch(1)
    assert torch.equal(still.batch("train", index)[0], before)


def test_classes_that_say_left_or_right_are_never_mirrored(made: dict[str, Path]) -> None:
    plain = {"randaugment": 0, "erasing": 0.0, "frames": 2, "size": 16, "short": 16}
    always = data.parse("ssv1", path=str(made["ssv1"]), flip=1.0, **plain).opened()
    never = data.parse("ssv1", path=str(made["ssv1"]), flip=0.0, **plain).opened()
    assert always.fixed == {1, 2}
    x, labels = always.batch("train", torch.arange(always.size("train")))
    y, _ = never.batch("train", torch.arange(never.size("train")))
    for a, b, label in zip(x, y, labels.tolist(), strict=True):
        assert torch.equal(a, b) == (label in (1, 2))
        assert torch.equal(a, b if label in (1, 2) else b.flip(-1))


def test_the_official_mistake_is_an_option_that_says_so(made: dict[str, Path]) -> None:
    clips = data.parse("ssv1", path=str(made["ssv1"]), official_flips=True, **SMALL).opened()
    assert clips.fixed == {86, 87, 93, 94, 166, 167}
    assert "mirrored with their label unchanged" in clips.notes[-1]


def test_views(made: dict[str, Path]) -> None:
    clips = data.parse("diving48", path=str(made["diving48"]), **SMALL).opened()
    x, labels = clips.views("test", torch.tensor([1, 0]), clips=2, crops=3)
    assert x.shape == (2, 6, 3, 4, 16, 16)
    assert labels.tolist() == [1, 0]
    one, _ = clips.views("test", torch.tensor([1]))
    assert torch.equal(one[:, 0], clips.batch("test", torch.tensor([1]))[0])
    assert not torch.equal(x[0, 0], x[0, 2])
    with pytest.raises(InputError, match="one view of each clip"):
        data.parse("opposites", train=2, val=2, test=2).opened().views("test", torch.arange(2), clips=2)


def test_a_broken_file_stops_nothing_and_is_named(made: dict[str, Path], tmp_path: Path) -> None:
    root = LAYOUTS["ucf101"](tmp_path / "set")
    options = data.parse("ucf101", path=str(root), **SMALL)
    for name in ("v_Archery_g08_c01", "v_Archery_g01_c01"):  # a train clip and a test clip
        file = root / "UCF-101" / "Archery" / f"{name}.avi"
        file.write_bytes(b"not a video")
    clips = options.opened()
    for split in SPLITS:
        x, labels = clips.batch(split, torch.arange(clips.size(split)))
        assert len(x) == len(labels) == clips.size(split)
    broken = x[labels == 1][0]
    assert (broken - broken[:, :1, :1, :1]).abs().max() == 0  # an even grey
    assert set(clips.broken) == {f"UCF-101/Archery/v_Archery_{g}_c01.avi" for g in ("g08", "g01")}
    assert clips.notes[-1].startswith("2 files could not be read: UCF-101/Archery/v_Archery_g01_c01.avi (not a video")


def test_all_broken_is_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    for file in root.glob("train/*/*.mp4"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="20 training clips in a row cannot be read: 4 files could not be read"):
        data.parse("class-folders", path=str(root), holdout=0, **SMALL).opened().batch("train", torch.arange(1))


def test_odd_names(tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    odd = os.fsdecode(b"gr\xfc\xdfe\n\t.mp4")
    encode(root / "x.mp4", clip(3)).rename(root / "train" / "walking" / odd)
    (root / "train" / "walking" / "loop").symlink_to(root / "train", target_is_directory=True)
    (root / "train" / "walking" / "self.mp4").symlink_to("self.mp4")
    (root / "train" / "running" / "wrong.txt").write_bytes((root / "train" / "walking" / "0.mp4").read_bytes())
    found = check(root)
    facts = json.loads(json.dumps(found.facts()))
    assert facts["splits"]["train"]["usable"] == 5
    assert [p["why"] for p in facts["problems"]] == ["too many levels of symbolic links"]
    clips = data.parse("class-folders", path=str(root), **SMALL).opened()
    assert any(entry.name.endswith(odd) for split in SPLITS for entry in clips.entries[split])


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "set")
    scandir = os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("train/running"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    found = check(root)
    assert found.facts()["splits"]["train"]["usable"] == 2
    assert found.listing.notes[0] == "could not look into 1 folder: train/running (permission denied)"
    clips = data.parse("class-folders", path=str(root), **SMALL).opened()
    assert any("could not look into" in note for note in clips.notes)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("ssv2", "something-something-v2-labels.json", "{", "is not JSON"),
        ("ssv2", "something-something-v2-labels.json", '{"a": "1"}', "numbers must be 0 to 0, each once"),
        ("ssv2", "something-something-v2-train.json", "{}", "must hold a list"),
        ("ssv2", "something-something-v2-train.json", '[{"id": "1", "template": "no such"}]', "no known template"),
        ("ssv1", "something-something-v1-train.csv", "1;no such class\n", "NUMBER;CLASS"),
        ("diving48", "Diving48_V2_test.json", '[{"vid_name": "a", "label": 9}]', "label 9, and there are 2 classes"),
        ("kinetics400", "train.csv", "label,id\n", "no column youtube_id"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "NoSuch/a.avi 1\n", "line 1"),
        ("hmdb51", "testTrainMulti_7030_splits/wave_test_split1.txt", "a.avi 7\n", "is not VIDEO 0, 1 or 2"),
        ("video-list", "mine_train_list_videos.txt", "only-a-name.mp4\n", "neither VIDEO LABEL nor"),
        ("diving48", "Diving48_V2_test.json", '[{"vid_name": "a", "label": 0.9}]', "a has label 0.9"),
        ("diving48", "Diving48_V2_test.json", '[{"vid_name": "a", "label": true}]', "a has label True"),
        (
            "diving48",
            "Diving48_V2_test.json",
            '[{"vid_name": "a", "label": 0, "end_frame": Infinity}]',
            "a has a frame number inf",
        ),
        ("diving48", "Diving48_V2_test.json", "[" * 100_000, "is nested too deeply"),
        ("diving48", "Diving48_vocab.json", "[1, 2]", "every class must be a list of its parts, got 1"),
        ("ssv2", "something-something-v2-labels.json", '{"A": 0.7}', "must map templates to numbers, got 'A': 0.7"),
        ("ssv2", "something-something-v2-labels.json", '{"A": Infinity}', "got 'A': inf"),
        ("ssv2", "something-something-v2-labels.json", '{"A": 0, "A": 1}', "'A' is listed twice"),
        (
            "kinetics400",
            "train.csv",
            "label,youtube_id,time_start,time_end\na,x,nan,11\n",
            "no youtube_id, time_start and time_end in 'a,x,nan,11'",
        ),
        (
            "kinetics400",
            "train.csv",
            "label,youtube_id,time_start,time_end\na,x,1,inf\n",
            "no youtube_id, time_start and time_end",
        ),
        (
            "video-list",
            "mine_train_list_videos.txt",
            "a.mp4 3000000000\n",
            "line 1: 'a.mp4 3000000000' has a number beyond 1,000,000",
        ),
        ("video-list", "mine_train_list_videos.txt", "a.mp4 " + "9" * 5000, "has a number beyond"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "9" * 5000 + " A", "is not NUMBER CLASS"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n1 B\n", "line 2: '1 B' has a number or class twice"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n2 A\n", "line 2: '2 A' has a number or class twice"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Archery/a.avi 1\n", "classInd.txt gives Archery 2"),
    ],
)
def test_errors_in_annotations(tmp_path: Path, name: str, file: str, content: str, message: str) -> None:
    root = tmp_path / "set"
    LAYOUTS[name](root)
    (root / file).write_text(content)
    with pytest.raises(InputError) as raised:
        data.parse(name, path=str(root)).opened()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_too_long_for_a_file_is_a_missing_clip(tmp_path: Path) -> None:
    root = LAYOUTS["video-list"](tmp_path / "set")
    with (root / "mine_train_list_videos.txt").open("a") as out:
        out.write("x" * 300 + ".mp4 0\n")
    assert check(root).listing.missing == {"train": ["x" * 300 + ".mp4"]}


@pytest.mark.parametrize("name", LAYOUTS)
def test_errors_about_the_folder(name: str, tmp_path: Path) -> None:
    for path, message in (
        ("", "needs a folder: "),
        (tmp_path / "gone", "cannot open the folder"),
        (tmp_path, ""),
    ):
        with pytest.raises(InputError) as raised:
            data.parse(name, path=str(path)).opened()
        assert message in str(raised.value)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; path must be the folder that it is in"):
        data.parse(name, path=str(tmp_path / "file")).opened()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "sparse"}, "unknown sampling"),
        ({"frames": 0}, "frames of data set 'ucf101' must be from 1 to 10,000, got 0"),
        ({"short": 100}, "short must be size or more, got short=100, size=224"),
        ({"flip": 2.0}, "flip of data set 'ucf101' must be from 0 to 1, got 2"),
        ({"holdout": 1.0}, "holdout of data set 'ucf101' must be from 0 to 0.99, got 1"),
        ({"magnitude": 31}, "magnitude of data set 'ucf101' must be from 0 to 30, got 31"),
        ({"train": -1}, "must be from 0 to 10,000,000, got -1"),
        ({"fold": 4}, "fold of data set 'ucf101' must be from 1 to 3, got 4"),
    ],
)
def test_errors_about_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        data.parse("ucf101", path="x", **options)
    assert message in str(raised.value)


def test_text_forms_read_back() -> None:
    for name, cls in kinds().items():
        options = cls(path="some/where", frames=8)
        assert isinstance(options, Labelled)
        assert data.parse(str(options)) == options
        assert str(options) == f"{name}(path=some/where, frames=8)"


def test_at_most_so_many_are_spread_over_the_split(made: dict[str, Path]) -> None:
    clips = data.parse("ucf101", path=str(made["ucf101"]), holdout=0, train=4, **SMALL).opened()
    assert np.bincount([entry.label for entry in clips.entries["train"]]).tolist() == [2, 2]
