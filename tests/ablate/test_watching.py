"""What stays on a terminal after a grid."""

import io
import sys
from dataclasses import replace

from ablate_tiny import write
from rich.console import Console

from tps_lab.ablate.grid import load
from tps_lab.ablate.scheduler import State
from tps_lab.ablate.watching import Table, watching


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


def test_names_that_differ_at_their_end_do_so_on_the_terminal_and_are_no_markup(tmp_path):
    alike = "a=0.0001,b=joint,c=[bold],d=" + "x" * 50 + ",e="
    cell = load(write(tmp_path, scales={"small": {"seeds": 1}})).cells[0]
    states = [State(replace(cell, case=alike + end)) for end in ("first", "second")]
    states[0].status, states[0].reason = "failed", "no such file [/tmp/x]"
    console = Console(width=80, file=io.StringIO())
    console.print(Table(tmp_path).rich(states))
    said = "".join(console.file.getvalue().split())
    assert "…" not in said
    assert "e=first" in said
    assert "e=second" in said
    assert "[bold]" in said
    assert "[/tmp/x]" in said
