"""Cells on a cluster whose machines share the results folder: as Ray tasks, or as Slurm's jobs through submitit.

Each needs the extra of its name, `ray` or `slurm`.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tps_lab import files
from tps_lab.ablate import cell
from tps_lab.ablate.cell import Ended, Handle, Job, outcome_of
from tps_lab.errors import InputError, one_line


class OnRay:
    """Each cell is a Ray task with a CPU, or a GPU where the cluster has any.

    A cluster that is begun here listens on this machine alone, and only to those who know its token. One that
    is named by its address has what its owner gave it: set RAY_AUTH_MODE and RAY_AUTH_TOKEN for it.

    Args:
        jobs: at a time; None takes as many as the cluster has GPUs, or CPUs.
        address: of a running cluster ("auto" finds this machine's); None begins one here, or uses
            the one that this process is connected to.
    """

    remote = True

    def __init__(self, jobs: int | None = None, address: str | None = None) -> None:
        if address is None and "ray" not in sys.modules:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
        except ImportError:
            raise InputError("executor ray needs Ray: pip install 'tps_lab[ray]'") from None
        self.ray = ray
        self.ours = not ray.is_initialized()
        if self.ours:
            here: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
            try:
                # Ray puts the current folder on its workers' path: let that be an empty one of ours
                with tempfile.TemporaryDirectory(prefix="tps-lab-ray-") as empty, contextlib.chdir(empty):
                    ray.init(address=address, log_to_driver=False, configure_logging=False, **({} if address else here))
            except (ConnectionError, ValueError) as error:
                raise InputError(f"no Ray cluster at address={address}: {error}") from error
        there = ray.cluster_resources()
        self.gpus = int(there.get("GPU", 0))
        self.slots = jobs or self.gpus or max(1, int(there.get("CPU", 1)))
        # a worker process for one cell each: what a cell leaves behind in memory ends with it
        self.task = ray.remote(num_cpus=1, num_gpus=1 if self.gpus else 0, max_retries=0, max_calls=1)(_run)

    def start(self, job: Job) -> Handle:
        return _OnRay(self.ray, self.task.remote(job.plain(), os.getcwd()))

    def close(self) -> None:
        if self.ours:
            self.ray.shutdown()


def _run(job: dict[str, Any], folder: str) -> str:
    with contextlib.suppress(OSError):  # where paths of data are looked for from; another machine may not have it
        os.chdir(folder)
    return cell.run(job)


@dataclass
class _OnRay:
    ray: Any
    task: Any

    def ended(self) -> Ended | None:
        ready, _ = self.ray.wait([self.task], timeout=0)
        if not ready:
            return None
        try:
            return outcome_of(self.ray.get(self.task))
        except self.ray.exceptions.RayTaskError as error:
            return Ended("died", one_line(error.cause))
        except self.ray.exceptions.RayError as error:  # a worker or a whole node is gone
            return Ended("died", one_line(error))

    def kill(self) -> None:
        self.ray.cancel(self.task, force=True)


# ---------------------------------------------------------------------- Slurm


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
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.lstat()
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
