"""Whatever happens to one cell, the others go on, and why it failed is written down."""

import json
import os

import pytest
from ablate_tiny import COST, TINY, figures, run, write

from tps_lab import files, plugins
from tps_lab.ablate import claims, executors, scheduler
from tps_lab.ablate.grid import load
from tps_lab.results import runs

BAD = '''
from dataclasses import dataclass
import os, signal, time
from tps_lab.attention import Mixer, ScheduledVariant
from tps_lab.attention._core import frame_by_frame

@dataclass(frozen=True)
class Bad(ScheduledVariant):
    """Does what kills runs."""
    name, title = "bad", "Bad"
    how: str = "hang"
    def mixers(self, index):
        def before(x, heads):
            if not x.requires_grad:
                return x
            if self.how == "hang":
                time.sleep(3600)
            if self.how == "memory":
                raise MemoryError("cannot allocate 1 TiB")
            os.kill(os.getpid(), signal.SIGKILL)
        return (Mixer(frame_by_frame.routes, before=before),)
'''


@pytest.fixture
def bad_variant(tmp_path):
    import sys

    (tmp_path / "bad.py").write_text(BAD)
    plugins.load(tmp_path / "bad.py")
    yield
    for name in [name for name in sys.modules if name.startswith("tps_lab_plugin_")]:
        del sys.modules[name]


def test_cells_fail_alone_and_say_why(tmp_path, bad_variant):
    cases = {
        "dies": {"attention": "bad(how=die)"},
        "hangs": {"attention": "bad(how=hang)"},
        "too large": {"attention": "bad(how=memory)"},
        "diverges": {"recipe.lr": 1e30, "recipe.warmup": 0, "recipe.clip_norm": 1e30},
        "fine": {"attention": "spatial"},
        "fine too": {"attention": "tps(pattern=A)"},
    }
    file = write(tmp_path, vary={"cases": cases}, scales={"small": {"seeds": 1}})
    grid, out = load(file), tmp_path / "out"
    executor = executors.LocalWorkers(1, tmp_path / "logs")  # every new process takes seconds to load
    others = scheduler.Settings(costs=dict.fromkeys(grid.cells, COST))
    states = scheduler.run(grid, [cell for cell in grid.cells if cell.case != "hangs"], out, executor, others)
    soon = scheduler.Settings(costs=others.costs, timeout_seconds=1)
    states += scheduler.run(grid, grid.chosen(["hangs"]), out, executor, soon)
    executor.close()
    assert executor.all[-1].slot == 0  # one after the other, in two processes
    found = {state.cell.case: state for state in states}
    assert {case: state.status for case, state in found.items() if case.startswith("fine")} == {
        "fine": "done",
        "fine too": "done",
    }
    assert "hung: killed after 1 seconds" in found["hangs"].reason
    assert "killed by signal 9" in found["dies"].reason
    assert "MemoryError" in found["too large"].reason
    assert "the loss is" in found["diverges"].reason
    for state in states:  # and it stands in the folder
        row = runs.Run(out / state.cell.id).row
        assert (row["status"], row["case"]) == (state.status, state.cell.case)


def test_a_full_disk_fails_a_cell_not_the_grid(tmp_path, monkeypatch):
    file = write(tmp_path)
    first = load(file).cells[0].id
    write_whole = files.write_whole

    def full(target, text, to_disk=True):
        if target.parent.name == first:
            raise OSError(28, "No space left on device")
        write_whole(target, text, to_disk)

    monkeypatch.setattr(files, "write_whole", full)
    states = run(file, tmp_path / "out")
    assert [state.status for state in states] == ["failed", "done", "done", "done"]
    assert "No space left on device" in states[0].reason
    monkeypatch.undo()
    again = run(file, tmp_path / "out")  # there is room now
    assert [(state.status, state.kept) for state in again] == [("done", False)] + 3 * [("done", True)]


def test_finished_cells_are_never_run_again_nor_where_they_are_taken_over(tmp_path):
    file = write(tmp_path)
    first = run(file, tmp_path / "one")

    class Never(executors.Inline):
        def start(self, job):
            raise AssertionError(job.id)

    assert all(state.kept for state in run(file, tmp_path / "one", Never()))
    renamed = {"cases": {"plain": {"attention": "spatial"}}}
    file = write(tmp_path, vary=renamed)
    grid = load(file)
    assert not any(state.kept for state in scheduler.look(grid.cells, tmp_path / "two", grid))  # nobody named the other
    scheduler.look(grid.cells, tmp_path / "two", grid, [tmp_path / "one"])
    beside = run(file, tmp_path / "two", Never())
    assert {state.row["case"] for state in beside} == {"plain"}
    assert beside[0].row["top1_pct"] == first[0].row["top1_pct"]


def test_a_cell_that_another_process_has_is_waited_for(tmp_path):
    file = write(tmp_path, scales={"small": {"seeds": 1}})
    cell = load(file).cells[0]
    theirs = claims.claim(tmp_path / "out", cell.id)
    seen = []

    class Watching(executors.Inline):
        def start(self, job):
            seen.append(job.id)
            if seen.count(cell.id) == 1 and len(seen) > 1:
                theirs.release()  # they died meanwhile
            return super().start(job)

    states = run(file, tmp_path / "out", Watching())
    assert [state.status for state in states] == ["done", "done"]
    assert seen.count(cell.id) == 2


def test_the_same_folder_moves_between_executors(tmp_path):
    file, out = write(tmp_path), tmp_path / "out"
    grid = load(file)
    inline = executors.Inline()
    scheduler.run(
        grid,
        grid.chosen(only=["spatial"]),
        out,
        inline,
        scheduler.Settings(costs={cell: {"missing": {}} for cell in grid.cells}),
    )
    local = executors.LocalWorkers(1)
    done = run(file, out, local, costs={"missing": {}})
    assert [state.kept for state in done] == [True, False, True, False]
    assert len(local.all) == 1  # both cells in one process
    about = json.loads((out / "grids/tiny-small.json").read_text())
    assert {entry["id"] for entry in about["cells"]} == {path.parent.name for path in out.glob("*/row.json")}
    here = run(file, tmp_path / "elsewhere" / "out", costs={"missing": {}})
    assert figures(here) == figures(done)


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_ctrl_c_keeps_what_is_done(tmp_path):
    file = write(tmp_path, base=TINY | {"recipe.steps": 100_000}, scales={"small": {"seeds": 1}})
    seen = []

    def stop(states):
        seen.append(max(claims.progress(tmp_path / "out", state.cell.id).get("step", 0) for state in states))
        if seen[-1] > 3:
            raise KeyboardInterrupt

    grid = load(file)
    executor = executors.LocalWorkers(1)
    chosen = scheduler.Settings(checkpoint_seconds=0, costs={cell: {"missing": {}} for cell in grid.cells})
    with pytest.raises(KeyboardInterrupt):
        scheduler.run(grid, grid.cells, tmp_path / "out", executor, chosen, stop)
    executor.close()
    assert not list(tmp_path.glob("out/*/row.json"))
    assert list(tmp_path.glob("out/*/checkpoint-*"))
    assert not any(claims.held(tmp_path / "out", cell.id) for cell in grid.cells)  # dead, and known to be


def test_trackers_hear_of_it(tmp_path):
    pytest.importorskip("tensorboard")
    file = write(tmp_path, base=TINY | {"trackers": ["tensorboard"]}, scales={"small": {"seeds": 1}})
    states = run(file, tmp_path / "out")
    assert [state.reason for state in states] == ["", ""]
    assert list((tmp_path / "out").rglob("events.out.tfevents*"))


@pytest.mark.slow
def test_submitits_executors(tmp_path):
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from tps_lab.ablate.clusters import OnSlurm

    file = write(tmp_path, scales={"small": {"seeds": 1}})
    debug = run(file, tmp_path / "a" / "out", OnSlurm(1, tmp_path / "logs", cluster="debug"))
    local = run(file, tmp_path / "b" / "out", OnSlurm(2, tmp_path / "logs", cluster="local"))
    assert [state.status for state in [*debug, *local]] == 4 * ["done"]
    assert figures(debug) == figures(local)


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    import sys

    from ray.cluster_utils import Cluster

    from tps_lab.ablate.clusters import OnRay

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
    except Exception as error:  # Ray gives a node 30 seconds, which a loaded machine may not have for it
        pytest.skip(f"Ray itself did not start: {error}".splitlines()[0])
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        assert len(ray.nodes()) == 2
        file = write(tmp_path, scales={"small": {"seeds": 1}})
        executor = OnRay()
        assert executor.slots == 2
        states = run(file, tmp_path / "a" / "out", executor)
        assert [state.status for state in states] == ["done", "done"], [state.reason for state in states]
        assert figures(run(file, tmp_path / "b" / "out")) == figures(states)
    finally:
        ray.shutdown()
        cluster.shutdown()
