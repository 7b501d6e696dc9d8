"""`alone` lets one process in at a time."""

import itertools
import subprocess
import sys
import time

INSIDE = """
import time, sys
from tps_lab.measure.exclusive import alone
with alone("test-exclusive"):
    print(time.monotonic_ns(), flush=True)
    time.sleep(0.2)
    print(time.monotonic_ns(), flush=True)
    if sys.argv[1] == "dies":
        import os; os.kill(os.getpid(), 9)
"""


def test_processes_take_turns_and_one_that_dies_lets_the_next_in():
    started = time.monotonic_ns()
    run = [sys.executable, "-c", INSIDE]
    processes = [subprocess.Popen([*run, how], stdout=subprocess.PIPE, text=True) for how in ("dies", "ends", "ends")]
    spans = sorted(tuple(map(int, process.communicate(timeout=60)[0].split())) for process in processes)
    assert len(spans) == 3
    for (_, left), (entered, _) in itertools.pairwise(spans):
        assert started < left <= entered
