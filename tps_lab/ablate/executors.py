"""Where cells run: one small interface, by name; this machine's processes are in `workers`, clusters in `clusters`.

An executor starts jobs; a handle says when one has ended, and can kill it. Everything else (who has
which cell, how far it is, its result) stands in the results folder, so that a grid begun by one
executor is finished by another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tps_lab import children, specs
from tps_lab.ablate import cell as cells
from tps_lab.ablate.cell import Ended, Handle, Job, outcome_of
from tps_lab.ablate.workers import LocalWorkers
from tps_lab.errors import InputError, one_line, shortened, unknown


class Executor(Protocol):
    """Starts jobs.

    Attributes:
        slots: how many jobs it takes at a time.
        remote: jobs run on other machines, so that costs measured here say nothing about there.
    """

    slots: int
    remote: bool

    def start(self, job: Job) -> Handle:
        """Begin a job, or hand it to a queue."""

    def close(self) -> None:
        """End everything that is still there."""


class Inline:
    """One cell after another in this process: for debuggers, and for variants that only a notebook knows.

    Nothing can kill a cell that hangs, and what kills it kills the grid.
    """

    slots = 1
    remote = False

    def start(self, job: Job) -> Handle:
        try:
            return _Over(outcome_of(cells.run(job.plain())))
        except Exception as error:
            return _Over(Ended("died", one_line(error)))

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Over:
    how: Ended

    def ended(self) -> Ended | None:
        return self.how

    def kill(self) -> None:
        pass


# The executors, and what `--executor-set` takes for each. Those of Slurm are submitit's.
OPTIONS: dict[str, dict[str, str]] = {
    "inline": {},
    "local": {},
    "ray": {"address": "of a running cluster, such as auto or ray://HOST:10001; left out, one is started here"},
    "slurm": {
        "cluster": "slurm (default); local and debug run the jobs on this machine, to try things out",
        "slurm_partition": "partition", "slurm_qos": "quality of service", "slurm_account": "account that pays",
        "slurm_constraint": "features that a node must have", "slurm_exclude": "nodes to leave out",
        "slurm_nodelist": "nodes to take", "slurm_reservation": "reservation", "slurm_comment": "comment",
        "slurm_gres": "generic resources, such as gpu:a100:1", "slurm_time": "limit of a job, in minutes",
        "slurm_mem": "memory, such as 16GB", "slurm_mail_user": "whom to write to", "slurm_mail_type": "and when",
        "name": "of the jobs", "mem_gb": "memory in GB", "cpus_per_task": "cores of a job",
        "gpus_per_node": "GPUs of a job", "nodes": "nodes of a job", "tasks_per_node": "processes of a job",
    },
}  # fmt: skip
_WHOLE = ("mem_gb", "cpus_per_task", "gpus_per_node", "nodes", "tasks_per_node", "slurm_time")
_MOST_JOBS = 1024


def checked(name: str, jobs: int | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """An executor's options as it takes them; nothing is started, so a dry run asks it, too.

    Raises:
        InputError: unknown executor or option, or a number that is none.
    """
    if name not in OPTIONS:
        raise unknown("executor", name, OPTIONS)
    most = max(64, 4 * children.cores()) if name == "local" else _MOST_JOBS
    if jobs is not None and not 1 <= jobs <= most:
        raise InputError(f"jobs must be from 1 to {most} with executor {name}, got {jobs}")
    found = dict(options)
    for key, value in options.items():
        if not OPTIONS[name]:
            raise InputError(f"executor {name} has no options, got {key}=")
        if key not in OPTIONS[name]:
            raise unknown(f"option of executor {name}", key, OPTIONS[name])
        if key in _WHOLE:
            found[key] = specs.whole(value)
            if found[key] is None or not 0 <= found[key] <= 10**6:
                raise InputError(f"{key} of executor {name} must be a whole number, got {shortened(str(value))!r}")
    if name == "slurm" and found.get("cluster", "slurm") not in ("slurm", "local", "debug"):
        raise unknown("cluster of executor slurm", str(found["cluster"]), ("slurm", "local", "debug"))
    return found


def make(name: str, jobs: int | None, out: Path, **options: Any) -> Executor:
    """An executor by name.

    Args:
        jobs: cells at a time; None asks the executor.
        out: the results folder, where logs go.
        **options: of the executor: `address` of a Ray cluster, `cluster`, `partition`, … of Slurm.

    Raises:
        InputError: unknown name or option, or its package is not installed.
    """
    options = checked(name, jobs, options)
    if name == "inline":
        return Inline()
    if name == "local":
        return LocalWorkers(jobs, out / ".logs")
    if name == "ray":
        from tps_lab.ablate.clusters import OnRay

        return OnRay(jobs, **options)
    from tps_lab.ablate.clusters import OnSlurm

    # submitit's pickles lie at home, which machines of a cluster share, and not in a group's results
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return OnSlurm(jobs, cache / "tps-lab" / "submitit", **options)
