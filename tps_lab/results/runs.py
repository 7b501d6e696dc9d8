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
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab import files
from tps_lab.documents import Document
from tps_lab.errors import InputError
from tps_lab.results import archive, schema
from tps_lab.results.metrics import of_answers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run's folder, read on demand, each part checked as it is read (`results.schema`).

    Every part raises `InputError` that names the folder and the reason if its file is damaged; a file
    that is not there gives an empty part, but there is no run without a row.
    """

    path: Path

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its figures; metrics of answers among them (`results.metrics`)."""
        try:
            return self._row | of_answers(lambda: self.predictions)
        except files.Damaged:  # whoever asks for the answers themselves is told what is wrong with them
            return self._row

    @cached_property
    def _row(self) -> dict[str, Any]:
        return self._part("row.json", lambda file: schema.checked(files.read_json(file), "row", file.name), needed=True)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        def lines(file: Path) -> list[dict[str, Any]]:
            *whole, last = files.read_text(file).split("\n")
            if last.endswith("}"):  # else a line that was just being written when the process was killed
                whole.append(last)
            named = ((f"{file.name}, line {number}", line) for number, line in enumerate(whole, 1) if line.strip())
            return [schema.checked(files.parse_json(line, name), "line", name) for name, line in named]

        return self._part("metrics.jsonl", lines) or []

    @cached_property
    def environment(self) -> dict[str, Any]:
        return self._part("environment.json", lambda f: schema.checked(files.read_json(f), "environment", f.name)) or {}

    @cached_property
    def config(self) -> dict[str, Any]:
        return self._part("config.yaml", lambda f: schema.checked(_yaml(f), "config", f.name)) or {}

    @cached_property
    def predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What the model said of every test clip, and what is right: two int arrays (N,); None if not recorded."""

        answers = self._answers()
        return answers[:2] if answers else None

    @cached_property
    def scores(self) -> np.ndarray | None:
        """The probability of every class for every test clip, (N, classes) in half precision; None if not recorded."""

        answers = self._answers()
        return answers.scores if answers else None

    @cached_property
    def clip_names(self) -> list[str] | None:
        """What the owners of the test clips call them, in the same order; None where clips are drawn."""

        answers = self._answers()
        return answers.clips if answers else None

    def _answers(self) -> schema.Answers | None:
        """All of the file; not kept as a whole, as scores of many runs are large."""

        def answers(file: Path) -> schema.Answers:
            return schema.check_answers(_arrays(file), self._row, file.name)

        return self._part("predictions.safetensors", answers)

    @cached_property
    def views(self) -> list[dict[str, Any]]:
        """What `tps-lab evaluate` found, one for every number of views, in the order of their names."""
        return self._beside("views-*x*.json", "views")

    @cached_property
    def time_use(self) -> list[dict[str, Any]]:
        """What `tps-lab evaluate --rearranged` found: one, or none."""
        return self._beside("time_use.json", "time_use")

    def check(self) -> Run:
        """Read every part but the weights.

        Raises:
            InputError: the first that is damaged.
        """
        for part in ("row", "config", "environment", "metrics", "predictions", "views", "time_use"):
            getattr(self, part)
        return self

    def write_into(self, folder: Path) -> None:
        """A copy of every plain file of the run but its row."""
        for file in self.path.iterdir():
            # a link could show us somebody's secrets
            if file.is_file() and not file.is_symlink() and file.name != "row.json":
                (folder / file.name).write_bytes(files.read(file, 1 << 40))

    def _part(self, name: str, read: Callable[[Path], Any], needed: bool = False) -> Any:
        try:
            return read(self.path / name)
        except FileNotFoundError:
            if needed:
                raise InputError(f"{self.path} holds no finished run: no {name}") from None
            return None
        except files.Damaged as error:
            raise files.Damaged(f"{self.path}: {error}") from None

    def _beside(self, pattern: str, kind: str) -> list[dict[str, Any]]:
        def read(file: Path) -> dict[str, Any]:
            return schema.checked(files.read_json(file), kind, file.name)

        return [self._part(file.name, read) for file in sorted(self.path.glob(pattern))]


@dataclass(frozen=True)
class Archived(Run):
    """A run out of a page's archive (`results.archive`), which holds neither its weights nor its probabilities.

    Args:
        path: where its folder would be, were it beside the archive.
        parts: of the run, checked.
    """

    parts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    row = cached_property(lambda self: self.parts["row"])
    metrics = cached_property(lambda self: self.parts["metrics"])
    environment = cached_property(lambda self: self.parts["environment"])
    config = cached_property(lambda self: self.parts["config"])
    predictions = cached_property(lambda self: self.parts["predictions"])
    views = cached_property(lambda self: self.parts["views"])
    time_use = cached_property(lambda self: self.parts["time_use"])

    def write_into(self, folder: Path) -> None:
        """The run's files, as its training left them."""
        import yaml

        files.write_whole(folder / "config.yaml", yaml.safe_dump(self.config, sort_keys=False))
        files.write_whole(folder / "environment.json", json.dumps(self.environment, indent=2))
        files.write_whole(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.metrics))
        if self.predictions is not None:
            write_predictions(folder, *self.predictions)
        for found in self.views:
            files.write_whole(folder / f"views-{found['views'].replace('×', 'x')}.json", json.dumps(found))
        for found in self.time_use:
            files.write_whole(folder / "time_use.json", json.dumps(found))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    content = files.read(file)
    try:
        return load(content)
    except Exception as error:  # safetensors has its own for a damaged file, and NumPy for a strange type
        raise files.Damaged(f"{file.name} is damaged: {error}".splitlines()[0]) from None


def _yaml(file: Path) -> Any:
    """Keys and values of a file that may come from anybody."""
    try:
        return Document(Path(file.name), text=files.read_text(file, 1 << 20), written_here=True).values
    except InputError as error:
        raise files.Damaged(str(error).removeprefix("cannot read ")) from None


def open_run(folder: str | Path) -> Run:
    """A run by its folder, every part of it checked.

    Raises:
        InputError: it is no run's folder, the run has not ended, or a part is damaged.
    """
    path = Path(folder)
    with _readable(path):
        if not path.is_dir():
            raise InputError(f"no such run folder: {path}")
        if not (path / "config.yaml").is_file():
            inside = sorted(file.parent.name for file in path.glob("*/row.json"))
            hint = f"; it holds runs, such as {path / inside[0]}" if inside else ""
            raise InputError(f"{path} is no run's folder (no config.yaml){hint}")
    if not os.path.lexists(path / "row.json"):
        raise InputError(
            f"the run in {path} is not finished (no row.json): run the same tps-lab train again to continue it"
        )
    return Run(path).check()


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What the system says of a folder that we may not look into, as an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from None


def write_predictions(
    folder: Path,
    predicted: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None = None,
    clips: Sequence[str] | None = None,
) -> None:
    """Keep what a model said of every test clip, in the order of the clips: runs are compared clip by clip.

    Args:
        scores: probabilities (N, classes), kept in half precision; not kept if one is no number, as of a model that
            diverged: the run could not be read again.
        clips: their names.
    """
    from safetensors.numpy import save

    stored = {"predicted": predicted.astype(np.int16), "label": labels.astype(np.int16)}
    if scores is not None and np.isfinite(scores).all():
        stored["scores"] = scores.astype(np.float16)
    if clips is not None:
        stored["clips"] = np.frombuffer(json.dumps(list(clips)).encode(), np.uint8)
    files.write_whole(folder / "predictions.safetensors", save(stored))


@dataclass(frozen=True)
class LeftOut:
    """A run or a grid's record that could not be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return {"path": str(self.path), "reason": self.reason}


OnDamaged = Callable[[LeftOut], None]


def warn(left_out: LeftOut) -> None:
    """What is done about a damaged run if nobody says otherwise: a warning."""
    warnings.warn(f"left out: {left_out}", stacklevel=3)


def find(*folders: str | Path, on_damaged: OnDamaged = warn) -> list[Run]:
    """All finished runs in these folders (a run's own folder, or one that holds runs at any depth).

    Runs that a page keeps in its archive are among them, unless their folders are there, too.

    Args:
        on_damaged: called with every run that is damaged and every folder that cannot be read: they are left out.

    Raises:
        InputError: a folder does not exist, or there is no run in any of them that can be read.
    """
    found: dict[Path, Run] = {}
    damaged: list[LeftOut] = []
    for folder in map(Path, folders):
        with _readable(folder):
            if not folder.exists():
                raise InputError(f"no such folder: {folder}")
        for path in _that_hold(folder, "row.json", damaged.append):
            try:
                found[path.resolve()] = Run(path).check()
            except files.Damaged as error:
                damaged.append(LeftOut(path, str(error).removeprefix(f"{path}: ")))
    for kept in archived(folders, damaged.append):
        found.setdefault(kept.path.resolve(), kept)
    # a run that is there twice is no other seed: folders go before archives, what is finished before what failed
    by_id: dict[Any, Path] = {}
    for path, run in sorted(
        found.items(), key=lambda entry: (isinstance(entry[1], Archived), entry[1].row.get("status") != "done")
    ):
        if by_id.setdefault(run.row.get("id") or path, path) != path:
            del found[path]
    damaged = list(dict.fromkeys(damaged))  # a folder that cannot be read is met on both ways
    if not found:
        there = ", ".join(map(str, folders))
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            raise InputError(f"no run in {there} can be read: {damaged[0].path}: {damaged[0].reason}{more}")
        raise InputError(f"no finished run (no row.json, no {archive.FILE}) in {there}")
    for one in damaged:
        on_damaged(one)
    return list(found.values())


def archived(folders: Iterable[str | Path], on_damaged: OnDamaged = warn) -> Iterator[Archived]:
    """The runs that pages in these folders keep in their archives.

    Args:
        on_damaged: called with every archive that is damaged and every folder that cannot be read: they are left out.
    """
    for file in archives(folders, on_damaged):
        try:
            _, several = archive.unpack(file)
        except files.Damaged as error:
            on_damaged(LeftOut(file, str(error)))
            continue
        yield from (Archived(file.parent / parts["id"], parts) for parts in several)


def archives(folders: Iterable[str | Path], on_damaged: OnDamaged = lambda _: None) -> Iterator[Path]:
    """The archives in these folders, at any depth.

    Args:
        on_damaged: called with every folder that cannot be read; nothing is said if whoever looks for runs says it.
    """
    for folder in folders:
        yield from (place / archive.FILE for place in _that_hold(Path(folder), archive.FILE, on_damaged))


def _that_hold(folder: Path, name: str, on_damaged: OnDamaged) -> Iterator[Path]:
    """Folders that hold something of that name; links to other folders are not followed."""

    def closed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # not made yet, or gone by now: it holds nothing
            on_damaged(LeftOut(Path(error.filename), f"the folder cannot be read: {error.strerror or error}"))

    for place, inside, names in os.walk(folder, onerror=closed):
        if name in names or name in inside:
            yield Path(place)
        inside[:] = sorted(name for name in inside if not name.startswith("."))


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
        with files.writing(folder):
            if keep_bytes is not None:
                files.folder(folder)
                files.remove_halves(folder)
                (folder / "row.json").unlink(missing_ok=True)  # of a try that failed later on
                with files.open_to_write(folder / "metrics.jsonl", "r+") as metrics:
                    metrics.truncate(keep_bytes)
            elif os.path.lexists(folder):
                _set_aside(folder)
            files.folder(folder)
            self._metrics = files.open_to_write(folder / "metrics.jsonl")
            self._made = os.stat(folder)

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

        files.write_whole(self.folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        files.write_whole(self.folder / "environment.json", json.dumps(environment(), indent=2))

    def log(self, **line: Any) -> None:
        """Append one line of metrics, at once on disk.

        Raises:
            InputError: somebody took the folder away.
        """
        self._check()
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def finish(self, row: dict[str, Any]) -> Run:
        """Write the row, last of all.

        Raises:
            InputError: somebody took the folder away; it is not made again for a row alone.
        """
        self._metrics.close()
        self._check()
        return write_row(self.folder, row)

    def _check(self) -> None:
        with suppress(OSError):
            if os.path.samestat(self._made, os.stat(self.folder)):
                return
        raise InputError(f"the run failed: {self.folder} was taken away while its run wrote there")


def write_row(folder: Path, row: dict[str, Any]) -> Run:
    """End a run, also one whose own process no longer can; what it logged stays.

    A figure that could not be read again is null, and `missing` says why.
    """
    files.write_whole(files.folder(folder) / "row.json", json.dumps(schema.readable(row), indent=2))
    return Run(folder)


def flat(values: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones: {"recipe": {"lr": 1}} → {"recipe.lr": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{under}{key}.") if isinstance(value, Mapping) else {under + key: value}
    return found


def is_done(folder: Path) -> bool:
    """Whether this folder holds a run that went through to its end and can be read."""
    try:
        return Run(folder).row["status"] == "done" and bool(Run(folder).check())
    except InputError:
        return False


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
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def command() -> str:
    """The command that a user gave; worker processes get it from whoever started them."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "tps-lab")  # python -m tps_lab.cli
    return os.environ.get("TPS_LAB_COMMAND") or shlex.join([program, *sys.argv[1:]])


def _set_aside(folder: Path) -> None:
    earlier = files.folder(folder.parent / ".earlier")
    taken: Iterable[Path] = (earlier / f"{folder.name}.{i}" for i in range(1, 10_000))
    folder.rename(next(path for path in taken if not os.path.lexists(path)))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache  # what a process runs is what it loaded, whatever is checked out later
def _commit() -> str | None:
    """The commit of this package's checkout, with "+changes" if the package's files differ from it."""

    def git(*arguments: str) -> str:
        asked = ["git", "--no-optional-locks", *arguments]  # looking changes nothing in anybody's repository
        package = Path(__file__).parents[1]
        done = subprocess.run(asked, cwd=package, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "-uno", "--", ".")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
