"""Cells as jobs of a Slurm cluster, through submitit. Needs the extra `slurm`."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tps_lab.ablate import cell
from tps_lab.ablate.cell import Ended, Handle, Job, outcome_of
from tps_lab.errors import InputError


class OnSlurm:
    """Each cell is a job; one that is preempted is queued again and goes on from its checkpoint.

    Args:
        jobs: in the queue at a time.
        logs: folder for submitit's files on the shared file system, which holds pickles: private, see `private`.
        cluster: "slurm"; "local" and "debug" are submitit's own, on this machine.
        **parameters: submitit's, such as slurm_partition, gpus_per_node, cpus_per_task, mem_gb.
    """

    remote = True

    def __init__(self, jobs: int | None, logs: Path, cluster: str = "slurm", **parameters: Any) -> None:
        try:
            import submitit
        except ImportError:
            raise InputError("executor slurm needs submitit: pip install 'tps_lab[slurm]'") from None
        self.slots = jobs or 100
        self.parameters = {"name": "tps-lab", "cpus_per_task": 1, **parameters}
        try:
            # jobs begin in the current folder; this keeps it off their path, and off that of what they start
            os.environ["PYTHONSAFEPATH"] = "1"
            self.executor = submitit.AutoExecutor(folder=private(logs) / "%j", cluster=cluster)
            self.executor.update_parameters(**self.parameters)
        except (RuntimeError, ValueError, NameError) as error:
            raise InputError(f"executor slurm: {error}".splitlines()[0]) from error
        self.all: list[_InQueue] = []

    def start(self, job: Job) -> Handle:
        self.executor.update_parameters(timeout_min=math.ceil(job.timeout_seconds / 60))
        handle = _InQueue(self.executor.submit(Requeued(), job.plain()))
        self.all.append(handle)
        return handle

    def close(self) -> None:
        for handle in self.all:
            if handle.ended() is None:
                handle.kill()


def private(folder: Path) -> Path:
    """A folder that only its owner enters, made if it is missing: what lies in it is run when it is read.

    Raises:
        InputError: it is a link, or somebody else's, or others may write into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.lstat()
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        raise InputError(f"{folder} must belong to you, because jobs run the pickles in it; remove it")
    if about.st_mode & 0o077:
        folder.chmod(0o700)
        if any(folder.iterdir()):
            raise InputError(f"other users could write into {folder}, and jobs run the pickles in it; empty it")
    return folder


class Requeued:
    """`cell.run`, and what submitit asks for when Slurm takes the machine away."""

    def __call__(self, job: dict[str, Any]) -> str:

        return cell.run(job)

    def checkpoint(self, job: dict[str, Any]) -> Any:
        """The same again: the cell's own checkpoints say from where."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, job)


@dataclass
class _InQueue:
    job: Any

    def ended(self) -> Ended | None:
        if not self.job.done():
            return None
        try:
            return outcome_of(self.job.result())
        except Exception as error:  # the job's own, or submitit's that it left no result
            lines = [line for line in str(error).splitlines() if line.strip()]
            return Ended("died", f"{type(error).__name__}: {lines[-1].strip() if lines else ''}")

    def kill(self) -> None:
        self.job.cancel(check=False)
