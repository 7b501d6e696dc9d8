"""Under what conditions something was timed: load, clocks, temperatures, power. What stays is `runs.environment`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_GPU_QUERY = {
    "gpu_mhz": "clocks.sm",
    "gpu_memory_mhz": "clocks.mem",
    "gpu_celsius": "temperature.gpu",
    "gpu_watts": "power.draw",
    "gpu_driver": "driver_version",
}


def moment(device: Any = "cpu") -> dict[str, Any]:
    """What changes: load, clocks, temperatures, power at this moment; None for what the machine does not say.

    Keys: load (runnable processes, mean of the last minute), cpu_mhz (mean over cores), cpu_celsius
    (the hottest zone); on CUDA also gpu_mhz, gpu_memory_mhz, gpu_celsius, gpu_watts, gpu_driver.
    """
    found: dict[str, Any] = {
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "cpu_mhz": cpu_mhz(_read(Path("/proc/cpuinfo"))),
        "cpu_celsius": max(map(_celsius, Path("/sys/class/thermal").glob("thermal_zone*/temp")), default=None),
    }
    device = torch.device(device)
    return found | _gpu(device) if device.type == "cuda" else found


def cpu_mhz(cpuinfo: str) -> float | None:
    """The mean clock over all cores in Linux's text about them."""
    clocks = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)]
    return round(sum(clocks) / len(clocks), 1) if clocks else None


def gpu_values(line: str, names: Sequence[str]) -> dict[str, Any]:
    """One line of nvidia-smi's table without units; "[N/A]" and the like are None.

    >>> gpu_values("1980, [N/A], 41", ["gpu_mhz", "gpu_memory_mhz", "gpu_celsius"])
    {'gpu_mhz': 1980.0, 'gpu_memory_mhz': None, 'gpu_celsius': 41.0}
    """
    found: dict[str, Any] = dict.fromkeys(names)
    for name, text in zip(names, line.split(","), strict=False):
        value = text.strip()
        if name == "gpu_driver":
            found[name] = value or None
        elif re.fullmatch(r"[\d.]+", value):
            found[name] = float(value)
    return found


def _gpu(device: Any) -> dict[str, Any]:
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    which = f"GPU-{uuid}" if uuid else str(device.index or 0)
    command = ["nvidia-smi", f"--id={which}", f"--query-gpu={','.join(_GPU_QUERY.values())}"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return dict.fromkeys(_GPU_QUERY)
    return gpu_values(done.stdout.strip().splitlines()[0], list(_GPU_QUERY))


def _celsius(file: Path) -> float:
    try:
        return round(int(_read(file)) / 1000, 1)
    except ValueError:
        return float("-inf")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
