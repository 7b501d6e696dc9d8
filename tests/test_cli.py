"""The command line as a user meets it: real processes, exit codes, one-line errors."""

import contextlib
import gc
import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from here import here
from safetensors.torch import load_file, save_file

from tps_lab import files, patterns, plugins
from tps_lab.cli import app
from tps_lab.cli._help import GROUPS
from tps_lab.errors import InputError
from tps_lab.results import metrics
from tps_lab.viz.mosaics import offset_colour

TINY = ["--set", "recipe.steps=2", "--set", "recipe.batch=4", "--set", "data=opposites(train=24,val=12,test=12)"]


def cli(*arguments, **kwargs):
    code = "from tps_lab.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300, **kwargs
    )


ORDER = Path(__file__).parents[1] / "ablations/order.yaml"
COMMANDS: dict = typer.main.get_command(app).commands


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_help_with_an_example(command):
    done = here(*command, "--help", COLUMNS=80)
    assert done.returncode == 0
    assert "Example" in done.stdout or not command
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"<(?:list|int|float)|<=x<=", done.stdout)  # how a library names types and ranges


def test_help_lists_15_commands_at_most_in_groups_a_line_each():
    shown = cli("--help", env=os.environ | {"COLUMNS": "80"}).stdout
    groups = list(itertools.chain(*GROUPS.values()))
    assert sorted(groups) == sorted(COMMANDS)
    assert len(groups) <= 15
    for name in groups:
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {name} "))
        assert line.endswith(COMMANDS[name].get_short_help_str(200).strip())
        assert "..." not in line
    assert [line[:-1] for line in shown.splitlines() if line.rstrip(":") in GROUPS] == list(GROUPS)


def test_a_groups_name_alone_shows_its_help():
    assert here("data").stdout == here("data", "--help").stdout


def test_a_pattern_for_people_and_for_programs():
    assert "frames mixed   9" in here("pattern", "C").stdout
    facts = json.loads(here("pattern", "0 1 / -1 0", "--json").stdout)
    assert facts["name"] == "A"
    assert facts["tile"] == [[0, 1], [-1, 0]]
    assert facts["frames_mixed"] == 3
    assert facts["shifted_share"] == 0.5
    assert facts["reach"] == 2


def at_a_terminal(*arguments, columns=80, **environment):
    """What a command prints at a terminal of so many columns."""
    import pty

    ours, theirs = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor"} | environment
    code = "from tps_lab.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=theirs, env=env)
    os.close(theirs)
    read = b""
    with contextlib.suppress(OSError):  # how the end of a pty reads
        while part := os.read(ours, 1 << 16):
            read += part
    os.close(ours)
    assert process.wait(60) == 0
    return read.decode().replace("\r", "")


@pytest.mark.skipif(os.name != "posix", reason="opens a pty")
def test_a_pattern_has_the_colours_of_its_pictures_where_there_are_colours():
    plain = cli("pattern", "C", env=os.environ | {"COLUMNS": "80"}).stdout
    shown = at_a_terminal("pattern", "C")
    past = ";".join(str(round(255 * part)) for part in offset_colour(4))
    assert f"48;2;{past}m +4" in shown
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) == plain
    assert "\x1b" not in plain
    assert at_a_terminal("pattern", "C", NO_COLOR="1") == plain


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("command", [
    "list", "list attention", "list data", "list settings", "pattern D --grid 9x60", "certify --known",
    "explain --attention tps --pattern A --data order(gap=4)",
])  # fmt: skip
def test_what_is_printed_fits_the_terminal_and_breaks_no_word(command, columns):
    words = command.split()
    root = Path(__file__).parents[1]
    narrow = here(*words, cwd=root, COLUMNS=columns)
    assert narrow.returncode == 0, narrow.stderr
    assert max(map(len, narrow.stdout.splitlines())) <= columns
    wide = here(*words, cwd=root, COLUMNS=1000).stdout
    assert set(narrow.stdout.split()) - {"…"} <= set(wide.split())


def test_a_mosaic_is_saved(tmp_path):
    done = here("pattern", "D", "--save", tmp_path / "d.png")
    assert done.returncode == 0
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.png", ("pattern", "C", "--save")),
        ("a.png", ("cost", "spatial", "--save")),
        ("a.png", ("data", "show", "order", "--save")),
        ("a.json", ("cost", "spatial", "--save")),
        ("a.png", ("certify", "spatial", "--save")),
        ("a.svg", ("certify", "spatial", "--badge")),
        ("a.png", ("evaluate", "runs", "--rearranged", "--save")),
        ("a.gif", ("predict", "clip.mp4", "--checkpoint", "run", "--overlay")),
    ],
)
def test_what_somebody_has_is_not_replaced(tmp_path, name, command):
    (tmp_path / name).write_text("mine")
    done = here(*command, tmp_path / name)
    assert (done.returncode, (tmp_path / name).read_text()) == (2, "mine")
    assert done.stderr == f"tps-lab: {tmp_path / name} already exists: remove it, or give another name\n"


def test_lists_are_json_too():
    entries = {entry["name"]: entry for entry in json.loads(here("list", "attention", "--json").stdout)}
    assert set("spatial tps tcs tps+tcs joint divided axial tsm local l+g trajectory xvit tokshift".split()) <= set(
        entries
    )
    assert {"factorised-encoder", "factorised-self", "factorised-dot"} <= set(entries)
    assert "stated, not derived" in entries["trajectory"]["stated"]
    assert entries["joint"]["stated"] == ""


def test_cost_prints_only_json(tmp_path):
    facts = json.loads(here("cost", "--attention", "tps", "--pattern", "A", "--batch", 2, "--json").stdout)
    assert set(facts["macs_by_counter"].values()) == {facts["macs"]}
    assert facts["peak_memory_bytes"]["training"] > 0
    assert "predicted" in facts["peak_memory_bytes"]["how"]
    assert facts["latency_ms"] is None
    assert "not measured" in facts["missing"]["latency_ms"]
    run = json.loads(here("cost", "--attention", "tps", "--pattern", "A", "--batch", 2, "--measure", "--json").stdout)
    assert set(run["macs_by_counter"]) == {"fvcore", "torch", "closed form"}
    assert set(run["macs_by_counter"].values()) == {facts["macs"]}
    assert {"median", "iqr", "how"} <= set(run["latency_ms"])
    assert "tracked live tensors" in run["peak_memory_bytes"]["how"] or run["peak_memory_bytes"]["training_reserved"]


def test_cost_takes_a_backbone_with_options():
    shallow, deep = (json.loads(here("cost", "--backbone", f"vit_micro(depth={n})", "--json").stdout) for n in (2, 3))
    assert shallow["params"] < deep["params"]


def test_cost_predicts_memory_with_no_gpu():
    facts = json.loads(here("cost", "--batch", 2, "--precision", "bf16", "--checkpointing", "--json").stdout)
    assert sum(facts["training_parts_bytes"].values()) == facts["peak_memory_bytes"]["training"]
    assert facts["fits"]["8 GB"]
    assert facts["largest_batch"]["8 GB"] < facts["largest_batch"]["141 GB"]
    assert "predicted for CUDA" in facts["peak_memory_bytes"]["how"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pattern", "Cc"], "did you mean 'C'"),
        (["pattern", "0 x"], "'x' is not an integer offset"),
        (["list", "patternz"], "did you mean 'patterns'"),
        (["quickstar"], "Did you mean 'quickstart'"),
        (["pattern", "0 1 / 2"], "ragged tile"),
        (["pattern", ""], "an argument is empty"),
        (["pattern", "0 x / 1 2"], "'x' is not an integer"),
        (["pattern", "0 16"], "a clip of 16 frames cannot hold"),
        (["pattern", "C", "--border", "round"], "unknown border 'round'"),
        (["pattern", "C", "--grid", "7"], "HEIGHTxWIDTH"),
        (["pattern", "C", "--save", "/nowhere/at/all.png"], "cannot write /nowhere/at/all.png"),
        (["pattern", "C", "--save", "c.bmp"], "unknown picture format"),
        (["data", "show", "ordr", "--save", "a.png"], "did you mean 'order'"),
        (["data", "show", "order", "--split", "vall", "--save", "a.png"], "'vall' is not one of"),
        (["pattern", "C", "--save", ".png"], "an ending without a name"),
        (["pattern", "C\u200b"], "unknown pattern 'C\\u200b'; did you mean 'C'"),
        (["cost", "spatial", "--save", "c.bmp"], "expected one of .png, .svg, .pdf, .json"),
        (["cost", "spatial", "--measure", "--batch", "100000"], "choose a smaller --batch"),
        (["train", "--seconds", "5"], "--seconds says how --throughput measures"),
        (["train", "--preflight", "--throughput"], "give one of them"),
        (["cost", "--attention", "tpss"], "unknown attention variant 'tpss'"),
        (["cost", "--attention", "spatial", "--pattern", "A"], "has no options"),
        (["cost", "--attention", "tokshift"], "tokshift needs a class token in every frame"),
        (["cost", "--backbone", "vit_micra"], "did you mean 'vit_micro'"),
        (["cost", "--backbone", "vit_micro(depht=2)"], "did you mean 'depth'"),
        (["cost", "--backbone", "vit_micro(frames=4)"], "backbone option frames: give --frames 4"),
        (["cost", "tps", "--backbone", "vit_micro(pattern=A)"], "pattern: an option of the variant: tps(pattern=A)"),
        (["explain", "--backbone", "vit_micro(num_classes=12)"], "the data set says how many classes there are"),
        (["explain", "--attention", r'tps(pattern="\ud800")'], r"'\ud800' is not an integer offset"),
        (["explain", "--attention", "tps\udcff"], r"unknown attention variant 'tps\udcff'; did you mean 'tps'"),
        (["explain", "--backbone", "vit_micro(frames=\udcff)"], r"data.frames=\udcff"),
        (["explain", "--set", "backbone.frames=4"], "belongs to the data set: data.frames=4"),
        (["explain", "--backbone", "vit_micro(pattern=A)"], "pattern: an option of the variant: tps(pattern=A)"),
        (["cost", "--frames", "3"], "a clip of 3 frames cannot hold"),
        (["cost", "--precision", "bf61"], "did you mean 'bf16'"),
        (["cost", "all", "--save", "x.png"], "variants that are named"),
        (["train", "--set", "recipe.stepz=3"], "did you mean 'recipe.steps'"),
        (["train", "--set", "nonsense"], "KEY=VALUE"),
        (["train", "--set", "recipe.steps=2", "--out", "/proc/nothing"], "cannot write /proc/nothing"),
        (["train", "--seed", "4294967296"], "--seed must be 4,294,967,295 or less, got 4294967296"),
        (["train", "--seed=many"], "--seed must be a whole number, got many"),
        (["train", "--config", "/nowhere.yaml"], "cannot read /nowhere.yaml"),
        (["train", "--data", "video-folder"], "path"),
        (["report", "/nowhere", "--out", "x"], "no such folder"),
        (["report", "", "--out", "x"], "an argument is empty; was a variable not set?"),
        (["report", ".", "--out="], "--out= is empty"),
        (["explain", "a" * 300], "File name too long"),
        (["cost", "tps", "--size", "7"], "a picture must be as large as a patch, or larger"),
        (["cost", "spatial", "--backbone", "vit_base_patch16_224", "--size", "8"], "as large as a patch"),
        (["ablate", ORDER, "--dry-run", "--set", "seeds=[1,2"], "--set seeds:1: expected ',' or ']'"),
        (["ablate", ORDER, "--dry-run", "--set", "seeds=!!python/object:os.system x"], "the tag !!python/object:os"),
        (
            ["ablate", ORDER, "--dry-run", "--set", "backbone=vit_micro(drop_path_rate=2)"],
            "from 0 to below 1, got 2",
        ),
        (["quickstart", "--seeds", "0"], "--seeds must be 1 or more, got 0"),
        (["quickstart", "--out", "/proc/nothing"], "cannot write /proc/nothing"),
        (["nonsense"], "nonsense"),
        (["pattern", "C", "--nonsense"], "--nonsense"),
        (["--plugin", "/nowhere.py", "list"], "no such plugin"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(arguments, says, tmp_path):
    done = here(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


MINE = """
from dataclasses import dataclass
import numpy, torch
from tps_lab.data import Clips, Data

class MyClips(Clips):
    classes, clip_shape = ("one", "other"), (1, 2, 8, 8)

    def size(self, split):
        return numpy.int64(4)

    def batch(self, split, index, device="cpu"):
        return torch.rand(len(index), 1, 2, 8, 8), index % 2

@dataclass(frozen=True)
class Mine(Data):
    name, title = "shown_once", "Mine"

    def opened(self):
        return MyClips()
"""


def test_clips_of_a_plugin_are_shown(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    done = here("--plugin", "mine.py", "data", "show", "shown_once", "--save", "a.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["clips"] == {"train": 4, "val": 4, "test": 4}
    assert shown["shape"] == [1, 2, 8, 8]


def test_a_plugin_that_ends_the_program_is_told_and_not_kept(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\n\nsys.exit(3)\n")
    before = plugins.loaded()
    done = here("--plugin", "mine.py", "list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tps-lab: mine.py ends the program while it is read: SystemExit: 3 (mine.py, line 3)\n"
    assert plugins.loaded() == before
    (tmp_path / "mine.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        plugins.load(tmp_path / "mine.py")
    assert plugins.loaded() == before


VARIANT = "from tps_lab.attention import *\nclass Mine(ScheduledVariant): name, title = 'mine', 'Mine'\n"
DATA = "from tps_lab.data import Data\nclass Mine(Data): name, title = 'mine', 'Mine'\n"
PATTERN = "from tps_lab import patterns\npatterns.add('mine', '0 {}')\n"
METRIC = "from tps_lab.results.metrics import metric\n@metric('mine_pct', 'Mine')\ndef mine(a, b): return 0\n"


@pytest.mark.parametrize(
    ("first", "second", "listing", "says"),
    [
        (VARIANT, VARIANT, "attention", "attention variant 'mine' is defined in {a} and in {b}"),
        (DATA, DATA, "data", "data set 'mine' is defined in {a} and in {b}"),
        (METRIC, METRIC, "data", "metric 'mine_pct' is defined in {a} and in {b}: give one of them another name"),
        (PATTERN.format(1), PATTERN.format(2), "patterns", "'mine' already stands for the tile 0 1 of {a}: choose "
         "another (b.py, line 2)"),
        ("", VARIANT.replace("'mine'", "'joint'"), "attention", "'joint' of Mine in {b} is taken by the package itself "
         "(tps_lab.attention.joint)"),
        ("", METRIC.replace("mine_pct", "macs"), "data", "'macs' is there already, as one of the package's own: take "
         "another name (b.py, line 2)"),
    ],
)  # fmt: skip
def test_a_name_that_two_define_is_refused_with_both_places(tmp_path, monkeypatch, first, second, listing, says):
    monkeypatch.setattr(patterns, "gallery", patterns._Gallery(patterns.gallery))
    monkeypatch.setattr(patterns, "_ADDED_BY", dict(patterns._ADDED_BY))
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text(first)
    b.write_text(second)
    before = set(sys.modules)
    try:
        twice = here("--plugin", a, "--plugin", a, "list", listing)  # a file that is read again defines its names anew
        done = here("--plugin", a, "--plugin", b, "list", listing)
    finally:
        for name in {name for name in sys.modules if name.startswith("tps_lab_plugin_")} - before:
            del sys.modules[name]
        gc.collect()
    assert twice.returncode == 0, twice.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says.format(a=a.resolve(), b=b.resolve()) in done.stderr


def test_an_error_in_a_plugin_is_one_line_that_names_its_line(tmp_path):
    variant = "from tps_lab.attention import *\nclass Mine(ScheduledVariant):\n    name, title = 'mine', 'Mine'\n"
    for code, says in {
        "1 / 0\n": "mine.py could not be read: ZeroDivisionError: division by zero (mine.py, line 1)",
        f"{variant}    def mixers(self, index): return [][9]\n": "a plugin fails: IndexError: list index out of range "
        "(mine.py, line 4)",
        f"{variant}    def mixers(self, index): return Mixer(None)\n": "mine: the mixers of a block are",
        f"{variant}    def mixers(self, index): return (Mixer(lambda grid: partition(grid, lambda t: t)),)\n": "a "
        "partition's line fails: TypeError",
    }.items():
        (tmp_path / "mine.py").write_text(code)
        before = set(sys.modules)
        done = here("--plugin", "mine.py", "cost", "mine", cwd=tmp_path)
        for name in {name for name in sys.modules if name.startswith("tps_lab_plugin_")} - before:
            del sys.modules[name]  # its variant is in no list any more
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"tps-lab: {says}")
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_cannot_be_written_or_shown_is_no_traceback():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "tps_lab.cli", "pattern", "C"], stdout=full, stderr=-1, text=True)
    assert (done.returncode, done.stderr) == (2, "tps-lab: cannot write the output: No space left on device\n")
    done = cli("pattern", "C", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "?" in done.stdout


def test_a_tile_may_begin_with_a_minus_sign():
    assert cli("pattern", "-4 1 2 / -1 0 3 / -2 -3 4").stdout.startswith("pattern C")


def test_who_has_read_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m tps_lab.cli list; echo $? >&2", shell=True, stdout=stopped_reading(), stderr=-1, text=True
    )
    assert done.stderr == "141\n"


def stopped_reading() -> int:
    """The end to write into of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def test_a_training_that_fails_says_why(tmp_path):
    done = here("train", "--attention", "spatial", *TINY, "--set", "recipe.lr=1e300", "--out", tmp_path, "-q")
    assert done.returncode == 1
    assert done.stderr.startswith("failed: Spatial, seed 0: RuntimeError")


def test_weights_that_are_no_numbers_are_not_evaluated(tmp_path):
    run = here("train", "--attention", "spatial", *TINY, "--out", tmp_path, "--json").stdout
    folder = tmp_path / json.loads(run)["id"]
    weights = load_file(folder / "model.safetensors")
    before = sorted(folder.iterdir())
    for changed, says in (
        ({name: value * math.nan for name, value in weights.items()}, "holds nan or inf"),
        ({name: value.long() for name, value in weights.items()}, "is of torch.int64, the model's of torch.float32"),
    ):
        save_file(changed, folder / "model.safetensors")
        done = here("evaluate", folder)
        assert (done.returncode, says in done.stderr, sorted(folder.iterdir())) == (2, True, before), done.stderr
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    for command in (["evaluate", folder], ["export", folder, "--out", tmp_path / "m.onnx"]):
        assert "not a regular file" in here(*command).stderr


def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path):
    file = tmp_path / "gone" / "a.json"
    with pytest.raises(InputError, match=f"^cannot write {re.escape(str(file))}: No such file"), files.writing(file):
        files.write_whole(file, "{}")  # under a name of its own
    with pytest.raises(InputError, match=r"^cannot write /the/inner: why"), files.writing(tmp_path, within=True):
        raise OSError(5, "why", "/the/inner")


def test_train_then_report(tmp_path):
    first = cli("train", "--attention", "tps", "--pattern", "A", *TINY, "--out", tmp_path / "runs", "--json")
    row = json.loads(first.stdout)
    assert (row["label"], row["status"]) == ("TPS-A", "done")
    second = here("train", "--attention", "tps(pattern=A)", *TINY, "--out", tmp_path / "runs")
    assert "already done" in second.stderr
    done = here("report", tmp_path / "runs", "--out", tmp_path / "page")
    assert done.returncode == 0, done.stderr
    assert {"index.html", "report.md", "results.csv"} <= {file.name for file in (tmp_path / "page").iterdir()}


def test_a_damaged_run_is_left_out_by_name_and_the_rest_is_tested(tmp_path):
    for attention in ("spatial", "tps(pattern=A)"):
        assert here("train", "--attention", attention, *TINY, "--out", tmp_path, "-q").returncode == 0
    (damaged,) = tmp_path.glob("Spatial*")
    (damaged / "row.json").write_text("{")
    done = here("evaluate", tmp_path)
    assert done.returncode == 1
    assert "TPS-A" in done.stdout
    assert f"left out: {damaged}: row.json is no whole JSON" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_quickstart_end_to_end_then_again_at_once(tmp_path):
    # one job, for a second worker would spend longer on imports than on its runs
    done = cli("quickstart", "--out", tmp_path, "--timing-seconds", 0.2, "--jobs", 1, *TINY)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "index.html") in done.stdout
    page = (tmp_path / "index.html").read_text()
    assert "TPS+TCS" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = here("quickstart", "--out", tmp_path, *TINY, "--json")
    assert len(json.loads(again.stdout)["rows"]) == 6


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_reports_what_ran_and_ends_with_130(tmp_path):
    import signal
    import time

    code = "from tps_lab.cli import main; main()"
    steps = ["--set", "recipe.steps=60", *TINY[2:]]
    arguments = ["quickstart", "--out", str(tmp_path), "--timing-seconds", "0", "--jobs", "1", *steps]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        # what a shell starts in the background ignores Ctrl-C, and so does what that starts: these tests, say
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("runs/*/row.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "of 6 cells are done and kept; the same command goes on from here" in errors
    assert "Divided (T+S)" in (tmp_path / "report.md").read_text()
    assert 1 <= len(list(tmp_path.glob("runs/*/row.json"))) < 6
