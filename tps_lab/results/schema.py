"""What may stand in a run's folder: figures in the ranges that they can have, and text.

Keys that are not listed here are let through (a newer version writes more), but not beyond the sizes that any
value may have. Figures are ranges that no experiment leaves; they guard what is computed from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model, model_validator

from tps_lab.files import Damaged

_LONGEST_TEXT, _DEEPEST, _MOST_VALUES = 200_000, 12, 500_000
_LARGEST_NUMBER = 2**63

Pct = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Figure = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Side = Annotated[int, Field(ge=1, le=100_000)]
Scalar = str | int | float | bool | None


class _Open(BaseModel):
    """Types are taken as they stand ("3" is no number), keys of a newer version are let through."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class _Memory(_Open):
    training: Figure | None = None
    inference: Figure | None = None
    how: str | None = None


class _Time(_Open):
    median: Figure | None = None
    iqr: Figure | None = None
    how: str | None = None


class Row(_Open):
    """What `row.json` says; a run that failed early knows little of it."""

    status: Literal["done", "failed", "interrupted"]
    reason: str | None = None
    id: str | None = None
    name: str | None = None
    case: str | None = None
    label: str | None = None
    attention: str | None = None
    variant: str | None = None
    pattern: str | None = None
    backbone: str | None = None
    data: str | None = None
    seed: Count | None = None
    frames: Side | None = None
    size: Side | None = None
    tubelet: Side | None = None
    grid: Annotated[list[Side], Field(min_length=2, max_length=3)] | None = None
    channels: Side | None = None
    depth: Annotated[int, Field(ge=0, le=256)] | None = None
    steps: Count | None = None
    batch: Count | None = None
    temporal_position: bool | Literal["sines", "zeros"] | None = None
    place: Count | None = None
    varied: dict[str, Any] | None = None
    tuned: dict[str, Any] | None = None
    trial: bool | None = None  # of a tuning: it saw no test clip
    missing: dict[str, str | None] | None = None
    classes: list[str] | None = None
    twins: Annotated[int, Field(ge=1, le=2**31)] | None = None
    data_notes: list[Any] | None = None
    top1_pct: Pct | None = None
    top5_pct: Pct | None = None
    val_top1_pct: Pct | None = None
    chance_pct: Pct | None = None
    ceiling_pct: Pct | None = None
    ceiling_reason: str | None = None
    per_class_pct: dict[str, Pct | None] | None = None
    per_pair_pct: dict[str, Pct | None] | None = None
    test_clips: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    params: Count | None = None
    macs: Count | None = None
    macs_by_counter: dict[str, Figure | None] | None = None
    macs_status: str | None = None
    peak_memory_bytes: _Memory | None = None
    latency_ms: _Time | None = None
    train_step_ms: _Time | None = None
    clips_per_second: Figure | None = None
    train_seconds: Figure | None = None
    proved_ceiling_pct: Pct | None = None

    @model_validator(mode="after")
    def _done_means_tested(self) -> Row:
        if self.status == "done":
            accuracy = "val_top1_pct" if self.trial else "top1_pct"
            lacking = [key for key in ("attention", "label", "data", "seed", accuracy) if getattr(self, key) is None]
            if lacking:
                raise ValueError(f"the run is done, but {', '.join(lacking)} is missing")
        return self


class _Line(_Open):
    """A line of `metrics.jsonl`."""

    step: Count
    split: str | None = None
    seconds: Figure | None = None
    top1_pct: Pct | None = None


class _Views(_Open):
    """What `tps-lab evaluate` leaves: `views-KxC.json`."""

    views: Annotated[str, Field(pattern=r"^[1-9]\d{0,4}×[1-9]\d{0,2}$")]
    top1_pct: Pct
    per_view_top1_pct: Annotated[list[Pct], Field(min_length=1)]
    macs_per_view: Count | None
    macs_total: Count | None
    test_clips: Annotated[int, Field(ge=1, lt=2**31)]

    @model_validator(mode="after")
    def _as_many_as_it_says(self) -> _Views:
        clips, crops = map(int, self.views.split("×"))
        if len(self.per_view_top1_pct) != clips * crops:
            raise ValueError(f"per_view_top1_pct has {len(self.per_view_top1_pct)} figures for {self.views} views")
        return self


class _Rearranged(_Open):
    probe: str
    top1_pct: Pct


class _TimeUse(_Open):
    """What `tps-lab evaluate --rearranged` leaves: `time_use.json`."""

    probes: Annotated[list[_Rearranged], Field(min_length=1)]
    answer: str
    chance_pct: Pct
    ceiling_pct: Pct | None


_Environment = TypeAdapter(dict[str, Scalar])


class _Config(_Open):
    """Of `config.yaml`, what is read before `training.config.make` has checked all of it."""

    data: str | None = None
    recipe: dict[str, Any] | None = None


# what is known of a cell that has not run: a row that need say nothing
_Planned = create_model(
    "_Planned", __base__=_Open, **{k: (f.annotation, None) for k, f in Row.model_fields.items() if k != "status"}
)  # type: ignore[call-overload]


class _Cell(_Open):
    id: str
    case: str
    seed: Count
    values: dict[str, Any]
    tuned: dict[str, Any] = {}
    row: _Planned  # type: ignore[valid-type]


class _Paper(_Open):
    source: str | None = None
    numbers: dict[str, dict[str, float]] | None = None


class _About(_Open):
    title: str
    question: str
    baseline: str | None = None
    compare: str | None = None
    across: str | None = None
    measures: list[str] | None = None
    paper: _Paper | None = None


class _Record(_Open):
    """What `ablate` keeps of a grid: `grids/<name>-<scale>.json`."""

    name: str
    scale: str
    settings: dict[str, Any]
    about: _About
    file: str = ""
    plugins: Annotated[list[str], Field(max_length=1000)] = []
    cells: Annotated[list[_Cell], Field(max_length=100_000)]
    trials: Annotated[list[_Cell], Field(max_length=100_000)] = []


_KINDS: dict[str, Any] = {
    "row": Row, "line": _Line, "views": _Views, "time_use": _TimeUse, "environment": _Environment, "config": _Config,
    "planned": _Planned, "record": _Record,
}  # fmt: skip


def checked(value: Any, kind: str, name: str) -> Any:
    """The value as it was given, if it is what it should be; in a row and a config, float32 by its name of today.

    Args:
        kind: "row", "line", "views", "time_use", "environment", "config", "planned" or "record".
        name: of the file, for the message.

    Raises:
        Damaged: it is not.
    """
    _within_sizes(value, name)
    wanted = _KINDS[kind]
    try:
        (wanted.validate_python if isinstance(wanted, TypeAdapter) else wanted.model_validate)(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("missing", "value_error") else f", got {_short(first['input'])}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise Damaged(f"{name}: {where + ': ' if where else ''}{said}{given}{more}") from None
    if kind == "row" and value.get("precision") == "no":
        return value | {"precision": "fp32"}
    if kind == "config" and (value.get("recipe") or {}).get("precision") == "no":
        return value | {"recipe": value["recipe"] | {"precision": "fp32"}}
    return value


def readable(row: dict[str, Any]) -> dict[str, Any]:
    """A row that is about to be written, so that it can be read: what `checked` refuses is null, `missing` says why.

    A run that then lacks what a finished one has counts as failed.
    """
    refused = {}
    for key, value in row.items():
        try:
            checked({key: value, "status": "failed"}, "row", "row")
        except Damaged as error:
            refused[key] = str(error).removeprefix("row: ")
    if not refused:
        return row
    missing = {} if "missing" in refused else row.get("missing") or {}
    row = row | dict.fromkeys(refused) | {"missing": missing | refused}
    try:
        return checked(row, "row", "row")  # type: ignore[no-any-return]
    except Damaged as error:
        return row | {"status": "failed", "reason": "; ".join([str(error).removeprefix("row: "), *refused.values()])}


class Answers(NamedTuple):
    """What a model said of every test clip, and what is right: whole numbers (N,).

    Args:
        scores: the probability of every class, (N, classes); None if they were not kept.
        clips: their names, likewise.
    """

    predicted: np.ndarray
    label: np.ndarray
    scores: np.ndarray | None = None
    clips: list[str] | None = None


def check_answers(stored: dict[str, np.ndarray], row: dict[str, Any], name: str) -> Answers:
    """The answers of a run, if they fit its row.

    Raises:
        Damaged: one is missing, or of another shape, length or range.
    """
    for key in ("predicted", "label"):
        if key not in stored:
            raise Damaged(f"{name} lacks {key}")
        if stored[key].ndim != 1 or stored[key].dtype.kind not in "iu":
            raise Damaged(f"{name}: {key} must be whole numbers (N,), got {stored[key].dtype} {stored[key].shape}")
    predicted, label = stored["predicted"], stored["label"]
    if predicted.shape != label.shape:
        raise Damaged(f"{name}: {len(predicted)} answers to {len(label)} clips")
    tested, classes = row.get("test_clips"), row.get("classes") or ()
    if tested is not None and len(label) != tested:
        raise Damaged(f"{name}: {len(label)} clips, the run was tested on {tested}")
    for key, values in (("predicted", predicted), ("label", label)):
        if len(values) and (values.min() < 0 or (classes and values.max() >= len(classes))):
            worst = values.min() if values.min() < 0 else values.max()
            raise Damaged(f"{name}: {key} holds class {worst} of {len(classes) or 'some'} classes")
    scores = stored.get("scores")
    if scores is not None:
        wanted = len(label), len(classes) or scores.shape[-1]
        if scores.shape != wanted or scores.dtype.kind != "f":
            raise Damaged(f"{name}: scores must be numbers {wanted}, got {scores.dtype} {scores.shape}")
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise Damaged(f"{name}: scores are no probabilities")
    return Answers(
        predicted, label, scores, _clip_names(stored["clips"], len(label), name) if "clips" in stored else None
    )


def _clip_names(stored: np.ndarray, count: int, name: str) -> list[str]:
    try:
        names = json.loads(stored.tobytes())
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(text, str) for text in names):
        raise Damaged(f"{name}: clips must be a list of names")
    if len(names) != count:
        raise Damaged(f"{name}: {len(names)} names of {count} clips")
    return names


def _within_sizes(value: Any, name: str) -> None:
    """Refuse what would take forever to print, whatever it is called; numbers that are none only as losses."""
    for count, (key, part, depth) in enumerate(_walk(value)):
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise Damaged(f"{name} holds more than {_MOST_VALUES:,} values, or is nested more than {_DEEPEST} deep")
        if isinstance(part, str) and len(part) > _LONGEST_TEXT:
            raise Damaged(f"{name}: {str(key)[:60]} is a text of {len(part):,} characters")
        if isinstance(part, float) and not math.isfinite(part) and "loss" not in str(key):
            raise Damaged(f"{name}: {str(key)[:60]} is {part}")
        if isinstance(part, int) and abs(part) > _LARGEST_NUMBER:
            raise Damaged(f"{name}: {str(key)[:60]} is a number of more than {len(str(_LARGEST_NUMBER))} digits")


def _walk(value: Any) -> Iterator[tuple[Any, Any, int]]:
    """(nearest key, value, depth) of everything inside, without recursion."""
    stack = [("", value, 0)]
    while stack:
        key, part, depth = stack.pop()
        yield key, part, depth
        if isinstance(part, dict):
            for name, inner in part.items():
                yield key, name, depth + 1
                stack.append((name, inner, depth + 1))
        elif isinstance(part, (list, tuple, set)):
            stack.extend((key, inner, depth + 1) for inner in part)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else text[:57] + "…'"
