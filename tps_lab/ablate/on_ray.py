"""Cells on a Ray cluster: many machines that share the results folder. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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

    with suppress(OSError):  # where paths of data are looked for from; another machine may not have it
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
