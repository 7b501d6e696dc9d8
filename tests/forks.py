"""Commands, each in a process of its own that has imported what they need: a fresh one spends seconds on that."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FORKS = """
import json, os, runpy, sys
import tps_lab.children, tps_lab.cli, tps_lab.ablate.scheduler, tps_lab.report, tps_lab.training.train, timm

tps_lab.children.cores = lambda: 1  # one worker for a grid, for each spends seconds on imports, too

def run(program, *arguments):
    sys.argv = [program, *arguments]
    if program == "python":
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        tps_lab.cli.main()

for line in sys.stdin:
    asked = json.loads(line)
    if not (child := os.fork()):
        for number in (1, 2):
            os.dup2(os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        try:
            run(*asked["command"])
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def commands(folder: Path) -> Iterator[Callable[..., str]]:
    """Runs `tps-lab ARGUMENT…` or `python FILE ARGUMENT…` in `folder`: what it prints; it must end well."""
    python = [sys.executable, "-c", FORKS]
    with subprocess.Popen(python, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:

        def run(*command: object) -> str:
            said = folder / f"said-{len(list(folder.glob('said-*')))}.txt"
            said.touch()
            print(json.dumps({"command": list(map(str, command)), "said": str(said)}), file=forks.stdin, flush=True)
            assert forks.stdout is not None
            assert forks.stdout.readline().strip() == "0", said.read_text()
            return said.read_text()

        yield run
        assert forks.stdin is not None
        forks.stdin.close()
