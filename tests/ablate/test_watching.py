"""What stays on a terminal after a grid."""

import io
import sys

from ablate_tiny import write

from tps_lab.ablate.grid import load
from tps_lab.ablate.scheduler import State
from tps_lab.ablate.watching import watching


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_last_picture_is_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    states = [State(cell) for cell in load(write(tmp_path, scales={"small": {"seeds": 1}})).cells]
    with watching(tmp_path) as watch:
        watch(states)
        for state in states:
            state.status, state.row = "done", {"top1_pct": 12.5}
        watch(states)  # at once, which is too soon for another picture
    last = sys.stderr.getvalue().rpartition(f"{len(states)} done")[2]
    assert last
    assert last.count("12.5 % on test") == len(states)
    assert "waiting" not in last
