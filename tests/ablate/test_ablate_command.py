"""`tps-lab ablate` as a user meets it."""

import json

import pytest
from ablate_tiny import write
from here import here

from tps_lab.results import archive, runs


@pytest.fixture
def command(tmp_path):
    def call(*arguments):
        done = here(*arguments, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.mark.filterwarnings("error")  # nothing is amiss where nothing has run yet
def test_dry_run_run_and_again(command, tmp_path):
    file = write(tmp_path, paper={"source": "nowhere", "numbers": {"spatial": {"top1_pct": 40.6}}})
    code, out, _ = command("ablate", file, "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, plan["total"]["to_run"]) == (0, 4)
    assert all(cell["macs"] > 0 and cell["peak_memory_bytes"] > 0 and cell["fits"] for cell in plan["cells"])
    assert plan["total"]["seconds"] > 0
    code, out, err = command("ablate", file, "--executor", "inline", "--timing-seconds", 0, "--set", "seeds=1")
    assert code == 0
    assert "40.6" in out
    assert "[2/2] tps(pattern=A), seed 0" in err
    assert (tmp_path / "runs/ablations/tiny-small/grids/tiny-small.json").exists()
    code, out, _ = command("ablate", file, "--executor", "inline", "--set", "seeds=1", "--json")
    assert [cell["status"] for cell in json.loads(out)["cells"]] == ["done", "done"]
    code, out, _ = command("ablate", file, "--dry-run", "--json", "--only", "spatial")
    assert [cell["done"] for cell in json.loads(out)["cells"]] == [True, False]
    assert json.loads(out)["cells"][1]["how"] == "earlier runs"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / archive.FILE).write_bytes(archive.pack(runs.find(tmp_path / "runs")))
    code, out, _ = command("ablate", file, "--dry-run", "--json", "--only", "spatial", "--out", kept)
    assert [cell["done"] for cell in json.loads(out)["cells"]] == [True, False]
    assert json.loads(out)["cells"][1]["how"] == "timed steps"  # an archive's seconds may be another machine's


def test_failed_cells_are_exit_code_1(command, tmp_path):
    bad = {"recipe.lr": 1e30, "recipe.warmup": 0, "recipe.clip_norm": 1e30}
    file = write(
        tmp_path, vary={"cases": {"fine": {"attention": "spatial"}, "bad": bad}}, scales={"small": {"seeds": 1}}
    )
    code, out, err = command("ablate", file, "--executor", "inline", "--timing-seconds", 0)
    assert code == 1
    assert "failed: bad, seed 0: FloatingPointError" in out
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scale", "smal"], "did you mean 'small'"),
        (["--executor", "locl"], "did you mean 'local'"),
        (["--jobs", "0"], "jobs must be 1 or more"),
        (["--only", "spatal"], "did you mean 'spatial'"),
        (["--set", "recipe.stepz=1"], "--set recipe.stepz: "),
        (["--set", "seeds=two"], "seeds"),
        (["--set", "trackers=[abc]"], "unknown tracker 'abc'"),
        (["--executor", "inline", "--executor-set", "partition=gpu"], "has no options"),
        (["--out", "/proc/nothing"], "cannot write /proc/nothing"),
    ],
)
def test_bad_input_is_one_line_and_code_2(command, tmp_path, arguments, says):
    code, out, err = command("ablate", write(tmp_path), *arguments)
    last = err.strip().splitlines()[-1]
    assert (code, out) == (2, "")
    assert says in last
    assert "Traceback" not in err


def test_grids_are_listed_with_their_question(command, tmp_path):
    (tmp_path / "ablations").mkdir()
    write(tmp_path / "ablations")
    _, out, _ = command("list", "ablations")
    assert "Does it run?" in out
