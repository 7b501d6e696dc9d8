"""One run, one folder; read back with one call.

runs/<name>-<hash>/
    config.yaml         what was asked for
    environment.json    where it ran: versions, machine, commit, command
    metrics.jsonl       one line per logged step
    model.safetensors   the weights at the end
    predictions.safetensors   for every test clip what the model said and what is right
    README.md, card.json      the model card: data and its licence, recipe, figures
    row.json            the figures; appears last and whole, so its presence means "done"
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run's folder, read on demand."""

    path: Path

    @cached_property
    def row(self) -> dict[str, Any]:
        return json.loads((self.path / "row.json").read_text())

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    @cached_property
    def environment(self) -> dict[str, Any]:
        file = self.path / "environment.json"
        return json.loads(file.read_text()) if file.exists() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        import yaml

        file = self.path / "config.yaml"
        return yaml.safe_load(file.read_text()) if file.exists() else {}

    @cached_property
    def predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What the model said of every test clip, and what is right: two int arrays (N,); None if not recorded."""
        from safetensors.numpy import load_file

        file = self.path / "predictions.safetensors"
        if not file.exists():
            return None
        stored = load_file(file)
        return stored["predicted"], stored["label"]


def open_run(folder: str | Path) -> Run:
    """A run by its folder.

    Raises:
        InputError: it is no run's folder, or the run has not ended.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"no such run folder: {path}")
    if not (path / "config.yaml").is_file():
        inside = sorted(file.parent.name for file in path.glob("*/row.json"))
        hint = f"; it holds runs, such as {path / inside[0]}" if inside else ""
        raise InputError(f"{path} is no run's folder (no config.yaml){hint}")
    if not (path / "row.json").is_file():
        raise InputError(f"the run in {path} has not ended (no row.json): the same tps-lab train goes on with it")
    return Run(path)


def write_predictions(folder: Path, predicted: np.ndarray, labels: np.ndarray) -> None:
    """Keep what a model said of every test clip, in the order of the clips: runs are compared clip by clip."""
    from safetensors.numpy import save

    stored = {"predicted": predicted.astype(np.int16), "label": labels.astype(np.int16)}
    write_whole(folder / "predictions.safetensors", save(stored))


def find(*folders: str | Path) -> list[Run]:
    """All finished runs in these folders (a run's own folder, or one that holds runs at any depth).

    Raises:
        InputError: a folder does not exist, or there is no finished run in any of them.
    """
    found: dict[Path, Run] = {}
    for folder in map(Path, folders):
        if not folder.exists():
            raise InputError(f"no such folder: {folder}")
        for file in sorted(folder.rglob("row.json")):
            if not any(part.startswith(".") for part in file.relative_to(folder).parts):
                found[file.parent.resolve()] = Run(file.parent)
    if not found:
        raise InputError(f"no finished run (no row.json) in {', '.join(map(str, folders))}")
    return list(found.values())


def load(*folders: str | Path) -> pd.DataFrame:
    """Every finished run as a row of a DataFrame; nested figures as columns like `latency_ms.median`.

    >>> load("reports/quickstart/runs")[["label", "seed", "top1_pct"]]  # doctest: +SKIP
    """
    import pandas as pd

    return pd.json_normalize([run.row for run in find(*folders)])


class RunWriter:
    """Writes a run's folder so that a crash leaves either a whole row or none.

    Args:
        folder: made if needed; what an unfinished earlier try left there is kept in `.earlier`.
        keep_bytes: go on in the folder instead, after so many bytes of its metrics.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, keep_bytes: int | None = None) -> None:
        self.folder = folder
        try:
            if keep_bytes is not None:
                (folder / "row.json").unlink(missing_ok=True)  # of a try that failed later on
                os.truncate(folder / "metrics.jsonl", keep_bytes)
            elif folder.exists():
                _set_aside(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._metrics = (folder / "metrics.jsonl").open("a")
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}") from error

    @property
    def metrics_bytes(self) -> int:
        """How long the metrics are by now."""
        return self._metrics.tell()

    def discard(self) -> None:
        """Take the folder away again if it is new; one that a training can go on in stays as it is."""
        empty = not self.metrics_bytes
        self._metrics.close()
        if empty and [file.name for file in self.folder.iterdir()] == ["metrics.jsonl"]:
            (self.folder / "metrics.jsonl").unlink()
            self.folder.rmdir()

    def start(self, config: dict[str, Any]) -> None:
        import yaml

        write_whole(self.folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        write_whole(self.folder / "environment.json", json.dumps(environment(), indent=2))

    def log(self, **line: Any) -> None:
        """Append one line of metrics, at once on disk."""
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def finish(self, row: dict[str, Any]) -> Run:
        """Write the row, last of all."""
        self._metrics.close()
        write_whole(self.folder / "row.json", json.dumps(row, indent=2))
        return Run(self.folder)


def finish_abandoned(folder: Path, row: dict[str, Any]) -> Run:
    """Write the row of a run whose own process no longer can; what it logged stays."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "row.json", json.dumps(row, indent=2))
    return Run(folder)


def flat(values: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones: {"recipe": {"lr": 1}} → {"recipe.lr": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{under}{key}.") if isinstance(value, Mapping) else {under + key: value}
    return found


def is_done(folder: Path) -> bool:
    """Whether this folder holds a run that went through to its end."""
    return (folder / "row.json").exists() and Run(folder).row.get("status") == "done"


def environment() -> dict[str, Any]:
    """Where a run ran: versions, machine, threads, commit, command, date."""
    import torch

    versions = {name: _version(name) for name in ("tps_lab", "timm", "fvcore", "accelerate", "numpy")}
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command(),
        "commit": _commit(),
        "python": platform.python_version(),
        **versions,
        "torch": torch.__version__,  # with the build, +cpu or +cu…
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def command() -> str:
    """The command that a user gave; worker processes are told it by whoever started them."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "tps-lab")  # python -m tps_lab.cli
    return os.environ.get("TPS_LAB_COMMAND") or shlex.join([program, *sys.argv[1:]])


def _set_aside(folder: Path) -> None:
    earlier = folder.parent / ".earlier"
    earlier.mkdir(exist_ok=True)
    taken: Iterable[Path] = (earlier / f"{folder.name}.{i}" for i in range(1, 10_000))
    folder.rename(next(path for path in taken if not path.exists()))


def write_whole(file: Path, content: str | bytes) -> None:
    """Write, flush to disk, rename: readers see the whole file or none."""
    half = file.with_name(file.name + ".part")
    with half.open("wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
        out.flush()
        os.fsync(out.fileno())
    half.replace(file)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of this package's checkout, with "+changes" if files differ from it."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
