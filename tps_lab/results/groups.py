"""Runs that differ in the seed only, as one: what pictures and tables show a line of."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from tps_lab import specs
from tps_lab.attention import Variant, parse, variants
from tps_lab.errors import InputError
from tps_lab.patterns import gallery
from tps_lab.results.axes import level_text, phrase, spoken
from tps_lab.results.metrics import METRICS
from tps_lab.results.runs import flat
from tps_lab.results.statistics import choice_cost
from tps_lab.text import short

SETTINGS = (
    *("frames", "size", "tubelet", "temporal_position", "backbone", "channels", "depth", "weights", "steps", "batch"),
    "data",
)
# Counterparts whose answers are equal in real numbers may differ in the last bit of a float, and once in a
# great while that decides which of two classes is ahead: one test clip in a thousand.
SLACK_PCT = 0.1
_ONLY_HOW = {"validate_every", "checkpointing", "compile"}  # of a recipe
# what a run that ended well may be without, and why
_WITHOUT = {
    "ceiling_pct": "nothing caps a model blind to the order of frames here",
    "top5_pct": "with so few classes it says nothing",
}


class RunLike(Protocol):
    """One training run, as read back from its folder."""

    @property
    def row(self) -> dict[str, Any]: ...
    @property
    def metrics(self) -> list[dict[str, Any]]: ...
    @property
    def environment(self) -> dict[str, Any]: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class As:
    """A run under another row or environment, such as a grid's names for it; what else it has is its own."""

    run: RunLike
    row: dict[str, Any]
    environment: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


def with_trials(
    runs: Iterable[RunLike], trials: Iterable[RunLike], case: Callable[[dict[str, Any]], Hashable]
) -> list[RunLike]:
    """Runs whose rows hold what the trials found by which their settings were chosen: see `Group.choice_variance`.

    Args:
        case: from a row what a run and its trials have in common.
    """
    found: dict[Hashable, dict[str, list[float]]] = {}
    for trial in trials:
        accuracy = figure(trial.row, "val_top1_pct")
        if trial.row.get("status") == "done" and accuracy is not None:
            found.setdefault(case(trial.row), {}).setdefault(str(trial.row.get("tuned")), []).append(accuracy)
    told: list[RunLike] = []
    for run in runs:
        by_setting = list(found.get(case(run.row), {}).values())
        if not by_setting:
            told.append(run)
            continue
        more = {
            "trials": {"found": [statistics.fmean(some) for some in by_setting], "seeds": min(map(len, by_setting))}
        }
        told.append(As(run, run.row | more, run.environment))
    return told


@dataclass(frozen=True)
class RowAlone:
    """A run of which nothing but its row is there, because it is still to come."""

    row: dict[str, Any]
    path: Path = Path()
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval around it.

    `over` says what varies: "seeds" (Student's t, over tasks a bootstrap), "test clips" (Wilson, one seed), "trials"
    of a tuning, or "" (unknown, then low and high are the mean).
    """

    mean: float
    low: float
    high: float
    over: Literal["seeds", "test clips", "trials", ""]

    def overlaps(self, other: Interval) -> bool:
        """Whether the two must not be ranked; an unknown interval is never enough to rank."""
        return not self.over or not other.over or (self.low <= other.high and other.low <= self.high)

    @property
    def span(self) -> str:
        """The interval alone: "55.2–56.9"."""
        return f"{self.low:.1f}–{self.high:.1f}" if self.over else ""

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.span})" if self.over else f"{self.mean:.1f}"


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one attention variant in one setting, with different seeds."""

    runs: tuple[RunLike, ...]
    label: str

    @property
    def first(self) -> dict[str, Any]:
        return self.runs[0].row

    @property
    def attention(self) -> str:
        return str(self.first.get("attention") or self.label)

    @cached_property
    def variant(self) -> Variant | None:
        """Its attention as an object; None for one that lives elsewhere (a plugin's)."""
        try:
            return parse(self.attention)
        except (InputError, TypeError):
            return None

    @property
    def done(self) -> tuple[RunLike, ...]:
        """Runs that finished; only their accuracies count."""
        return tuple(run for run in self.runs if run.row.get("status") == "done")

    @property
    def undone(self) -> tuple[RunLike, ...]:
        return tuple(run for run in self.runs if run.row.get("status") != "done")

    @property
    def status(self) -> str:
        """ "done", "partly done" or what became of the first run."""
        if not self.undone:
            return "done"
        return "partly done" if self.done else str(self.undone[0].row.get("status") or "unknown")

    def values(self, key: str) -> list[float]:
        """The figure in every run that has it: of finished runs, else of any."""
        for runs in (self.done, self.runs):
            found = [figure(run.row, key) for run in runs]
            if any(value is not None for value in found):
                return [value for value in found if value is not None]
        return []

    def one(self, key: str, pick: Callable[[list[float]], float] = statistics.median) -> float | None:
        """The figure for the whole group, by default the median of its runs."""
        values = self.values(key)
        return pick(values) if values else None

    def cost(self, name: str) -> float | None:
        """A metric by its name (`results.metrics`): of accuracies the mean, of memory the most, else the median."""
        one = METRICS[name]
        if one.of is not None or (one.kind == "percent" and name != "ceiling_pct"):
            return self.mean(one.key)
        return self.one(one.key, max) if one.kind == "bytes" else self.one(one.key)

    @property
    def is_disputed(self) -> bool:
        """Whether the counters of multiply-adds disagree in some run."""
        return any(run.row.get("macs_status") == "disputed" for run in self.runs)

    def mean(self, key: str) -> float | None:
        """The mean over finished runs alone: for accuracies."""
        values = [value for run in self.done if (value := figure(run.row, key)) is not None]
        return statistics.fmean(values) if values else None

    def why_missing(self, key: str) -> str:
        """The reason that a run gives for not having this figure."""
        for run in self.done or self.runs:
            reasons = run.row.get("missing") or {}
            for name in (key, key.split(".")[0]):
                if reasons.get(name):
                    return str(reasons[name])
        if not self.done:
            return str(self.first.get("reason") or f"the run is {self.status}")
        return _WITHOUT.get(key, "not recorded")

    @cached_property
    def top1(self) -> Interval | None:
        """Test accuracy in percent over the seeds, or over the test clips if there is one seed."""
        values = [value for run in self.done if (value := figure(run.row, "top1_pct")) is not None]
        if not values:
            return None
        clips = self.one("test_clips")
        if len(values) > 1:
            return student(values)
        return wilson(values[0], int(clips)) if clips else Interval(values[0], values[0], values[0], "")

    @property
    def is_above_ceiling(self) -> bool | None:
        """Whether its interval is above what models blind to the order of frames can reach; None: nothing caps them."""
        ceiling, top1 = self.one("ceiling_pct"), self.top1
        if ceiling is None or top1 is None:
            return None
        return bool(top1.over) and top1.low > ceiling + SLACK_PCT

    @cached_property
    def choice_variance(self) -> float:
        """What choosing its settings by trials may have cost: a variance of accuracies from 0 to 1; 0 untuned."""
        trials, found = self.first.get("trials"), self.values("top1_pct")
        if not trials or len(found) < 2:
            return 0.0
        spread = statistics.stdev(found) / trials["seeds"] ** 0.5
        return (choice_cost(trials["found"], spread) / 100) ** 2

    @property
    def over(self) -> str:
        """What its interval is over: "3 seeds", "2,000 clips"; empty without an accuracy."""
        if self.top1 is None:
            return ""
        if self.top1.over == "seeds":
            return f"{len(self.done)} seeds"
        clips = self.one("test_clips")
        return f"{clips:,.0f} clips" if clips else "1 seed"


def figure(row: dict[str, Any], key: str) -> float | None:
    """A number of a row by its dotted name ("latency_ms.median"), None if it is not there."""
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    return value if is_number else None


def student(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval of percentages over seeds, by Student's t.

    >>> str(student([90.0, 91.0, 92.0]))
    '91.0 (88.5–93.5)'
    """
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / len(values) ** 0.5
    return Interval(mean, max(mean - half, 0.0), min(mean + half, 100.0), "seeds")


def wilson(pct: float, clips: int) -> Interval:
    """A percentage of `clips` independent test clips, and Wilson's 95 % interval.

    >>> str(wilson(50.0, 100))
    '50.0 (40.4–59.6)'
    """
    z, p = 1.959964, pct / 100
    scale = 1 + z * z / clips
    middle = (p + z * z / (2 * clips)) / scale
    half = z * (p * (1 - p) / clips + z * z / (4 * clips * clips)) ** 0.5 / scale
    return Interval(pct, 100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0), "test clips")


# ---------------------------------------------------------------------- grouping


def group_runs(runs: Iterable[RunLike]) -> list[Group]:
    """Runs by everything but the seed, plain spatial attention first, each with a label of its own."""
    together: list[list[RunLike]] = []
    # A run that failed early may not know all its settings: it joins the finished ones it fits.
    for run in sorted(runs, key=lambda run: run.row.get("status") != "done"):
        for members in together:
            if _same_but_for_the_seed(run, members[0]):
                members.append(run)
                break
        else:
            together.append([run])
    groups = [Group(tuple(sorted(members, key=_seed)), _label(members[0])) for members in together]
    groups.sort(key=_place)
    return _told_apart(groups)


def by_data(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Groups by the data that they were tested on: accuracies compare only within one.

    Clips of more or fewer frames show the same scenes for longer, and how many it takes is a question
    of its own: they stay together.
    """
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(_task(str(group.first.get("data") or "unknown data")), []).append(group)
    return found


def _task(data: str) -> str:
    try:
        name, options = specs.split("data", data)
    except InputError:
        return short(data, 300)
    inside = ", ".join(f"{key}={value}" for key, value in options.items() if key != "frames")
    return short(f"{name}({inside})" if inside else name, 300)


def usual_start(weights: str) -> str:
    """What `create_model` starts an embedding of time as, if nobody asks, by the weights that the model begins with."""
    return "zeros" if weights.partition(":")[0] in ("timm", "image", "zoo") else "sines"


def start_of_time(row: dict[str, Any]) -> str | None:
    """What a run's embedding of time started as; None without one. Rows name only a start that was asked for."""
    value = row.get("temporal_position")
    return value if isinstance(value, str) else usual_start(row.get("weights") or "") if value else None


def setting(row: dict[str, Any], key: str) -> Any:
    """One setting as it is compared: an embedding of time by what it starts as."""
    return start_of_time(row) if key == "temporal_position" else row.get(key)


def setting_text(row: dict[str, Any], key: str) -> str:
    """One setting as a phrase, "16 frames"; empty if it is not known."""
    value = row.get(key)
    if value is None:
        return ""
    if key == "temporal_position":
        return phrase(key, level_text(value))
    said = {
        "frames": "{} frames",
        "size": "{} px",
        "tubelet": "tubelet {}",
        "channels": "{} channels",
        "depth": "{} blocks",
        "weights": "from {}",
        "steps": "{:,} steps",
        "batch": "batch {}",
    }.get(key, "{}")
    return said.format(value) if isinstance(value, int) or ":," not in said else str(value)


def _same_but_for_the_seed(run: RunLike, another: RunLike) -> bool:
    row, other = run.row, another.row
    if row.get("attention") is None or row.get("attention") != other.get("attention"):
        return False
    # a grid's cases differ by definition, whatever in
    if row.get("case") != other.get("case"):
        return False
    pairs = ((row.get(key), other.get(key)) for key in SETTINGS)
    if not all(a == b or (None in (a, b) and row.get("status") != "done") for a, b in pairs):
        return False
    one, two = recipe_of(run), recipe_of(another)
    return one == two or not one or not two


def recipe_of(run: RunLike) -> dict[str, Any]:
    """What a run's configuration says of its training, by dotted keys, but for what does not change what it learns;
    empty where it is not known."""
    recipe = flat(run.config.get("recipe") or {})
    return {key: value for key, value in recipe.items() if key.removeprefix("compute.") not in _ONLY_HOW}


def _seed(run: RunLike) -> tuple[bool, int, str]:
    seed = run.row.get("seed")
    return (True, seed, "") if isinstance(seed, int) else (False, 0, str(seed))


def _label(run: RunLike) -> str:
    if run.row.get("case"):
        return short(spoken(str(run.row.get("called") or run.row["case"])))
    keys = ("label", "attention", "name", "id")
    return next((short(run.row[key]) for key in keys if run.row.get(key)), "run")


def _settings(group: Group) -> dict[str, tuple[Any, str]]:
    """What may tell a group from others of its name: its value, and how people say that."""
    found = {key: (setting(group.first, key), setting_text(group.first, key)) for key in SETTINGS}
    for key, value in recipe_of(group.runs[0]).items():
        name = key.replace(".", " ").replace("_", " ")
        text = f"{name} {level_text(value)}" if "." in key else phrase(key, level_text(value))
        found[f"recipe.{key}"] = value, text
    return found


def _told_apart(groups: list[Group]) -> list[Group]:
    """Labels that occur twice get those settings added that tell them apart."""
    result = []
    alike = Counter(group.label for group in groups)
    settings = {group: _settings(group) for group in groups if alike[group.label] > 1}
    for group in groups:
        rivals = [other for other in groups if other.label == group.label and other is not group]
        label = group.label
        for key, (value, text) in settings.get(group, {}).items():
            apart = [other for other in rivals if settings[other].get(key, (None, ""))[0] != value]
            if apart and text:
                label += f" · {text}"
                rivals = [other for other in rivals if other not in apart]
        result.append(Group(group.runs, label))
    # what is still alike (two long names cut to the same) is numbered
    times = Counter(group.label for group in result)
    seen: Counter[str] = Counter()
    for i, group in enumerate(result):
        if times[group.label] > 1:
            seen[group.label] += 1
            result[i] = Group(group.runs, f"{group.label} ({seen[group.label]})")
    return result


def _place(group: Group) -> tuple[Any, ...]:
    """Order in tables: the baseline, what costs as much as it, then the rest; patterns as in the gallery."""
    variant, patterns = variants().get(str(group.first.get("variant") or ""), Variant), list(gallery)
    pattern = str(group.first.get("pattern") or "")
    return (
        int(figure(group.first, "place") or 0),  # a grid's own order
        str(group.first.get("data")),
        variant.rank,
        patterns.index(pattern) if pattern in patterns else len(patterns),
        group.attention,
        *(str(group.first.get(key)).zfill(8) for key in SETTINGS),
    )
