"""Several runs at a time, in processes that may be stopped, killed or orphaned."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tps_lab import plugins, runs, workers
from tps_lab.config import make
from tps_lab.progress import Progress

TINY = {"data": "opposites(train=64, val=24, test=24)", "recipe.steps": 4, "recipe.batch": 8}
ENDLESS = TINY | {"recipe.steps": 100_000}
COST = {"params": 1, "macs": 1, "missing": {}}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


def train_all(configs, out, progress=None, jobs=2):
    ended = {}
    workers.train_all(
        configs, out, {c.attention: COST for c in configs}, ended.__setitem__, progress or Progress(), jobs
    )
    return ended


def test_runs_go_through_whichever_worker_is_free_and_are_what_this_process_would_train(tmp_path):
    import torch
    from safetensors.torch import load_file

    from tps_lab.train import train

    configs = [make(TINY | {"attention": a, "seed": s}) for a in ("spatial", "tps(pattern=A)") for s in (0, 1)]
    ended = train_all(configs, tmp_path / "there")
    assert set(ended) == set(configs)
    assert all(run.row["status"] == "done" for run in ended.values())
    assert {run.row["seed"] for run in runs.find(tmp_path)} == {0, 1}
    assert all(run.environment["threads"] == max(1, workers.cores() // 2) for run in ended.values())
    torch.set_num_threads(max(1, workers.cores() // 2))
    here = train(configs[-1], tmp_path / "here", cost=COST)
    one, other = (load_file(run.path / "model.safetensors") for run in (ended[configs[-1]], here))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_worker_is_a_failed_row_and_the_others_go_on(tmp_path):
    long, short = make(ENDLESS), make(TINY | {"attention": "spatial"})

    class KillTheFirst(Progress):
        def run(self, label, steps):
            from contextlib import contextmanager

            @contextmanager
            def bar():
                yield lambda step, news: self.kill() if steps > 4 and step == 2 else None

            return bar()

        def kill(self):
            workers_here = [c for c in psutil.Process().children() if "tps_lab.workers" in c.cmdline()]
            min(workers_here, key=lambda child: child.pid).send_signal(signal.SIGKILL)

    ended = train_all([long, short], tmp_path, KillTheFirst())
    assert ended[long].row["status"] == "failed"
    assert "killed by signal 9" in ended[long].row["reason"]
    assert ended[long].row["label"] == "TPS-C"
    assert ended[short].row["status"] == "done"


def test_workers_end_by_themselves_when_who_started_them_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from tps_lab import workers; from tps_lab.config import make; from tps_lab.progress import Progress\n"
        f"config = make({ENDLESS!r})\n"
        f"costs = {{config.attention: {COST!r}}}\n"
        "workers.train_all([config], Path(sys.argv[1]), costs, lambda c, r: None, Progress(), 1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*/metrics.jsonl"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.kill()
    while len(list(tmp_path.glob("*/row.json"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {run.row["status"] for run in runs.find(tmp_path)} == {"interrupted"}


def test_what_only_a_notebook_knows_stays_in_its_process():
    from tps_lab.attention import Variant, parse

    class Mine(Variant):
        pass

    assert not plugins.can_travel(Mine)
    assert plugins.can_travel(type(parse("tps")))
