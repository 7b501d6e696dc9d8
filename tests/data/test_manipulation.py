"""Simulated clips: rendered once, resumed after a kill, refused when they are somebody else's; and `manipulation`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tps_lab import InputError, children, plugins
from tps_lab.data import Simulated, _make, _metaworld, _simulated, parse
from tps_lab.data.manipulation import OPPOSITES, Manipulation, placement

# A user's own set: a bar moves right or left; now and then the simulation "fails".
SWING = '''
from dataclasses import dataclass
import time
import numpy as np
from tps_lab.data import Simulated

@dataclass(frozen=True)
class Bar(Simulated):
    """A bar moves right or left."""

    name, title = "bar", "Bar"
    kinds, opposites = ("right", "left"), ((0, 1),)
    slow: float = 0.0

    def play(self, kind, split, rng):
        time.sleep(self.slow)
        if rng.random() < 0.2:
            return None
        pictures = np.zeros((self.stored, self.size, self.size, 3), np.uint8)
        at = np.arange(self.stored) * (self.size - 2) // self.stored + rng.integers(2)
        for t, x in enumerate(at if kind == 0 else at[::-1]):
            pictures[t, :, x] = 255
        return pictures
'''


@pytest.fixture(scope="module")
def bar(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "bar.py"
    file.write_text(SWING)
    plugins.load(file)
    return file


def make(text, folder, **more):
    return _make.make(parse(text, path=str(folder), **more), jobs=2)


SMALL = "bar(size=16, train=130, val=10, test=70)"


@pytest.fixture(scope="module")
def cache(bar, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "bar"
    return folder, make(SMALL, folder)


def test_a_clip_of_one_frame_shows_any_frame_of_the_scene(cache):
    folder, _ = cache
    whole, _ = parse(SMALL, path=str(folder), frames=16).opened().batch("test", torch.arange(3))
    for at, frame in (("0", 0), ("0.5", 8), ("1", 15)):
        spec = parse(f"bar(frames=1, at={at}, size=16, train=130, val=10, test=70)", path=str(folder))
        clips = spec.opened()
        assert clips.clip_shape == (3, 1, 16, 16)
        assert torch.equal(clips.batch("test", torch.arange(3))[0], whole[:, :, frame : frame + 1])
    with pytest.raises(InputError, match=r"at=0.2 is for clips of one frame, got frames=8"):
        parse("bar(at=0.2)")


def test_clips_are_what_was_played(cache):
    folder, made = cache
    spec = parse(SMALL, path=str(folder), frames=4)
    clips = spec.opened()
    assert made["scenes"] == 210
    assert sum(made["dropped"].values()) > 20
    assert clips.clip_shape == (3, 4, 16, 16)
    assert clips.classes == ("right", "left")
    assert clips.pairs == ((0, 1),)
    assert clips.ceiling is None
    assert clips.pictures_shown() is None
    x, y = clips.batch("train", torch.tensor([0, 129, 64, 63]))
    assert y.tolist() == [0, 1, 0, 1]
    for clip, i in zip(x, (0, 129, 64, 63), strict=True):
        pictures, _ = spec.scene("train", i)
        expected = (pictures[::4].astype(np.float32) / 255 - 0.5) / 0.25
        np.testing.assert_allclose(clip.permute(1, 2, 3, 0).numpy(), expected, atol=1e-6)
    assert made["content"][:16] in clips.notes[0]
    assert "of left" in clips.notes[1]


def test_direction_holds_each_clip_and_its_exact_reversal(cache):
    clips = parse(SMALL, path=str(cache[0]), task="direction").opened()
    assert clips.classes == ("right", "right reversed", "left", "left reversed")
    assert clips.size("test") == 140
    assert clips.clips_per_scene == 2
    assert clips.ceiling == 0.5
    x, y = clips.batch("test", torch.arange(140))
    assert torch.equal(x[::2].flip(2), x[1::2])
    assert torch.equal(y[::2] + 1, y[1::2])
    assert all(a // 2 == b // 2 and a != b for a, b in clips.pairs)
    # whatever answers both of a pair alike is right on one of them at most
    blind = x.sum((1, 2, 3, 4))[::2]
    assert torch.equal(blind, x.sum((1, 2, 3, 4))[1::2])


def test_one_cache_serves_2_to_16_frames(cache):
    x = {t: parse(SMALL, path=str(cache[0]), frames=t).opened().batch("val", torch.arange(10))[0] for t in (2, 8, 16)}
    assert torch.equal(x[8], x[16][:, :, ::2])
    assert torch.equal(x[2], x[16][:, :, ::8])
    with pytest.raises(InputError, match=r"stored=6 instead|stored=16 instead of 6"):
        parse(SMALL, path=str(cache[0]), frames=6).opened()


def test_jobs_and_kills_change_nothing(bar, cache, tmp_path):
    """Killed with -9 in the middle, twice; what came of it is what one undisturbed call makes."""
    folder = tmp_path / "killed"
    text = str(parse(SMALL, path=str(folder), slow=0.01))
    command = children.python("-m", "tps_lab.cli", "--plugin", str(bar), "data", "make", text, "--jobs", "2", "-q")
    for wanted in (1, 2):
        process = subprocess.Popen(command, env=children.environment(), start_new_session=True)
        deadline = time.monotonic() + 120
        while len(list(folder.glob("*.npy"))) < wanted and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(InputError, match="only partly rendered"):
            parse(text).opened()
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("*.npy") if file.with_suffix(".json").exists()}
    assert kept
    # the killed one's processes end by themselves, or are done with their files
    again = _make.make(parse(text), jobs=1)
    assert all(file.stat().st_mtime_ns == then for file, then in kept.items())
    whole = make(SMALL, tmp_path / "whole", slow=0.0)
    assert again["content"] == whole["content"] == cache[1]["content"]
    assert again["dropped"] == whole["dropped"]
    assert not list(folder.glob(".*"))


def test_another_cache_is_refused(cache, tmp_path):
    folder, made = cache
    assert parse(SMALL, path=str(folder), content=made["content"][:12]).opened()
    with pytest.raises(InputError, match="content=beef is asked for"):
        parse(SMALL, path=str(folder), content="beef").opened()
    with pytest.raises(InputError, match=r"holds other scenes \(seed=0 instead of 1\)"):
        parse(SMALL, path=str(folder), seed=1).opened()
    with pytest.raises(InputError, match="holds other scenes"):
        make(SMALL, folder, seed=1)
    with pytest.raises(InputError, match=r"not rendered yet .*once: tps-lab data make \"bar"):
        parse(SMALL, path=str(tmp_path / "nothing")).opened()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        make(SMALL, tmp_path / "full")


def test_begun_with_another_renderer(cache, tmp_path):
    folder, _ = cache
    other = json.loads((folder / "begun.json").read_text())
    other["made_with"]["numpy"] = "0.1"
    (tmp_path / "c").mkdir()
    (tmp_path / "c/begun.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"scenes rendered with \{'numpy': '0.1'\}, here it would be"):
        make(SMALL, tmp_path / "c")


@pytest.mark.parametrize("how", ["bytes", "cut", "gone", "pickle", "list", "json", "pipe"])
def test_damage_is_named_and_nothing_is_run(cache, tmp_path, how):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(cache[0], folder)
    file = folder / "train-00001.npy"
    content = bytearray(file.read_bytes())
    if how == "bytes":
        content[-1] ^= 255
        file.write_bytes(content)
    elif how == "cut":
        file.write_bytes(content[:-100])
    elif how == "gone":
        file.unlink()
    elif how == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif how == "list":
        said = json.loads((folder / "contents.json").read_text())
        del said["shards"]["train-00001"]
        (folder / "contents.json").write_text(json.dumps(said))
    elif how == "json":
        (folder / "contents.json").write_text("[1")
    else:  # an array of objects, with hashes that fit
        with file.open("wb") as out:
            np.save(out, np.array([print, 1], object), allow_pickle=True)
        said = json.loads((folder / "contents.json").read_text())
        said["shards"]["train-00001"] = _simulated.file_hash(file)
        said["content"] = _simulated.content_hash(said["shards"])
        (folder / "contents.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"damaged|do not fit each other"):
        parse(SMALL, path=str(folder)).opened()


def test_what_always_fails_says_so(tmp_path):
    @dataclass(frozen=True)
    class Never(Simulated):
        """Fails."""

        name, title, kinds = "never", "Never", ("this",)

        def play(self, kind, split, rng):
            return None

    with pytest.raises(InputError, match="'this' failed 50 times in a row"):
        Never(train=1, val=1, test=1).scene("train", 0)


@pytest.mark.parametrize(
    ("played", "got"),
    [
        (np.zeros((16, 3, 12, 12), np.uint8), r"uint8 \(16, 3, 12, 12\)"),  # as many numbers as asked for
        (np.zeros((8, 12, 12, 3), np.uint8), r"uint8 \(8, 12, 12, 3\)"),
        ([np.zeros((12, 12, 3)), np.zeros(3)], "a list that is no array"),
        (np.zeros((16, 12, 12, 3)), r"float64 \(16, 12, 12, 3\)"),  # from 0 to 1, perhaps, all of which would be black
        (np.full((16, 12, 12, 3), 256), r"values from 256 to 256"),
    ],
)
def test_other_pictures_than_asked_for_are_refused_by_the_name_of_their_class(played, got):
    @dataclass(frozen=True)
    class Odd(Simulated):
        """Plays what it is given."""

        name, title, kinds = "odd", "Odd", ("this",)

        def play(self, kind, split, rng):
            return played

    with pytest.raises(
        InputError, match=rf"Odd\.play must give whole numbers .* \(16, 12, 12, 3\), or None; got {got}"
    ):
        Odd(train=1, val=1, test=1, size=12).scene("train", 0)


def test_a_mistake_inside_play_is_named_with_its_line(tmp_path):
    file = tmp_path / "trips.py"
    file.write_text(SWING.replace('"bar", "Bar"', '"trips", "Trips"').replace("time.sleep(self.slow)", "1 / 0"))
    plugins.load(file)
    with pytest.raises(InputError, match=r"a plugin fails: ZeroDivisionError: division by zero \(trips\.py, line 16\)"):
        make("trips(size=16, train=2, val=2, test=2)", tmp_path / "cache")


# ---------------------------------------------------------------------- Meta-World


def test_options():
    spec = parse("manipulation")
    assert len(spec.kinds) == 24
    assert len(spec.opposites) == 12
    assert len(parse("manipulation(tasks=all)").kinds) == 50
    two = parse("manipulation(tasks=[door-close,door-open])")
    assert two.kinds == ("door close", "door open")
    assert two.opposites == ((1, 0),)
    assert parse(str(two)) == two
    with pytest.raises(InputError, match="did you mean 'door-open'"):
        parse("manipulation(tasks=[door-opem])")
    with pytest.raises(InputError, match="around must be 20, 40"):
        parse("manipulation(around=30)")
    with pytest.raises(InputError, match="train must be 24 or more"):
        parse("manipulation(train=23)")
    # what a clip shows of a scene is not what the cache holds
    same = parse("manipulation(frames=4, task=direction)")
    assert same.folder == spec.folder != parse("manipulation(size=48)").folder


def test_splits_share_no_placement_and_no_camera():
    rng = np.random.default_rng(0)
    low, high = np.array([0.0, 0.5, 0.1]), np.array([0.1, 0.9, 0.1])
    spec = Manipulation()
    places, angles = {}, {}
    for split in ("train", "val", "test"):
        drawn = np.array([placement(low, high, split, rng) for _ in range(500)])
        assert (drawn >= low).all()
        assert (drawn <= high).all()
        places[split] = drawn[:, 1]
        angles[split] = np.array([spec.camera(split, rng).azimuth for _ in range(500)])
    for found, gap in ((places, 0.0079), (angles, 1.9)):  # 4 % of half of 0.4 m; 2 degrees
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            assert np.abs(found[a][:, None] - found[b]).min() > gap
    few = Manipulation(cameras=3)
    assert len({few.camera("train", rng) for _ in range(100)}) == 3
    assert len({few.camera("test", rng) for _ in range(100)}) == 100


def test_without_a_renderer_one_line_says_what_to_install(monkeypatch):
    if not _installed():
        with pytest.raises(InputError, match=r"pip install 'tps_lab\[manipulation\]'"):
            _metaworld.backend()
        return
    _metaworld.backend.cache_clear()
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(InputError) as error:
        _metaworld.backend()
    assert "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    _metaworld.backend.cache_clear()


def _installed():
    import importlib.util

    return importlib.util.find_spec("metaworld") is not None


def test_a_few_real_clips(tmp_path):
    if not _installed():
        pytest.skip("Meta-World is not installed: pip install 'tps_lab[manipulation]'")
    try:
        _metaworld.backend()
    except InputError as error:
        pytest.skip(str(error))
    text = f"manipulation(tasks=[drawer-open,drawer-close], train=2, val=2, test=2, path={tmp_path / 'm'})"
    made = _make.make(parse(text), jobs=1)
    assert {"metaworld", "mujoco", "renderer"} <= set(made["made_with"])
    clips = parse(text).opened()
    x, y = clips.batch("test", torch.arange(2))
    assert x.shape == (2, 3, 8, 32, 32)
    assert y.tolist() == [0, 1]
    assert clips.pairs == ((0, 1),)
    assert x.std() > 0.3  # a picture, not a blank
    moved = (x[:, :, 1:] - x[:, :, :-1]).abs().amax((1, 3, 4))
    assert (moved > 0.2).all()  # something moves from each frame to the next
    green = (x[:, 1] - x[:, 0] > 0.5).flatten(1).float().mean(1)
    assert (green > 0.01).all()  # the drawer is in the picture
    assert not torch.equal(clips.batch("train", torch.arange(2))[0], x)


def test_opposites_are_tasks_of_meta_world():
    if not _installed():
        pytest.skip("Meta-World is not installed: pip install 'tps_lab[manipulation]'")
    from metaworld.policies import ENV_POLICY_MAP

    assert sorted(ENV_POLICY_MAP) == sorted(f"{task}-v3" for task in parse("manipulation(tasks=all)").chosen)
    assert all(len(pair) == 2 for pair in OPPOSITES)
