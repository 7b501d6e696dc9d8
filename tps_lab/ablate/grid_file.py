"""What stands in a grid file, and what to say of a file in which something else does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tps_lab.documents import Document
from tps_lab.errors import shortened, unknown

ScaleName = Literal["small", "paper"]
SCALES: tuple[ScaleName, ...] = ("small", "paper")
_BRANCHES = ("list[", "dict[", "int")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Condition(_Strict):
    """Where all of `if` holds, `then` is set."""

    if_: dict[str, Any] = Field(alias="if")
    then: dict[str, Any]


class Vary(_Strict):
    """What varies: every combination of `product` with every row of `zip`, and then the `cases`.

    An axis is a list of values, or a mapping from what tables call a value to the value.
    """

    product: dict[str, list[Any] | dict[str, Any]] = {}
    zip: dict[str, list[Any] | dict[str, Any]] = {}
    cases: dict[str, dict[str, Any]] = {}
    exclude: list[dict[str, Any]] = []
    conditions: list[Condition] = []


class Paper(_Strict):
    """The paper's numbers: case → measure → number."""

    source: str
    numbers: dict[str, dict[str, float]]


class Tune(_Strict):
    """What every case may choose for itself before it is compared: on validation clips, with seeds of its own.

    All cases have the same trials. Then each runs with fresh seeds at its own choice, and only those runs
    read the test clips.
    """

    over: dict[str, list[Any]] = Field({"recipe.lr": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]}, min_length=1)
    trials: int | None = Field(None, ge=1, description="drawn at random from all combinations; None takes them all")
    seeds: int = Field(1, ge=1, description="runs of a trial; their seeds count from 1000")


class Scale(_Strict):
    """How large the runs are. `vary` replaces the grid's own axes of the same name."""

    base: dict[str, Any] = {}
    seeds: int | list[int] = 1
    timeout_minutes: float = Field(
        24 * 60, gt=0, le=60 * 24 * 365, description="of one cell and one try; then it is killed"
    )
    vary: Vary = Vary()
    tune: Tune | None = None
    budgets: list[int] = Field([], description="steps; a verdict at each. Runs at each are tuned and trained apart")


class GridFile(_Strict):
    """What stands in a file of `ablations/`."""

    title: str
    question: str
    base: dict[str, Any] = {}
    vary: Vary
    baseline: str | None = Field(None, description="the case that others are compared with")
    compare: str | None = Field(None, description="or the axis along which cases that are alike in all else are")
    across: str | None = Field(None, description="an axis at whose values the order along `compare` is compared")
    measures: list[str] = ["top1_pct", "macs", "peak_memory_bytes.training", "train_step_ms.median"]
    paper: Paper | None = None
    scales: dict[ScaleName, Scale]


def explained(error: ValidationError, document: Document) -> str:
    """The first thing that is wrong, in one line: file, line, and what would be right."""
    # a mistyped key also counts as missing; what stands in the file says more than what does not
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    # pydantic names the branch of a union as a step of the path; those are no keys of the file
    path = tuple(part for part in first["loc"] if not (isinstance(part, str) and part.startswith(_BRANCHES)))
    key = str(path[-1]) if path else ""
    where = document.where(path)
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', key, _fields_at(path[:-1]))}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing"
    if first["type"] == "literal_error" and path[:1] == ("scales",):
        return f"{where}: {unknown('scale', str(first['input']), SCALES)}"
    return f"{where}: {'.'.join(map(str, path))} = {shortened(repr(first['input']))}: {first['msg']}"


def _fields_at(path: Sequence[str | int]) -> list[str]:
    steps = [part for part in path if isinstance(part, str)]
    model: type[BaseModel] = GridFile
    if steps[:1] == ["paper"]:
        model = Paper
    elif "conditions" in steps:
        model = Condition
    elif steps[-1:] == ["vary"]:
        model = Vary
    elif steps[-1:] == ["tune"]:
        model = Tune
    elif steps[:1] == ["scales"]:
        model = Scale
    return [field.alias or name for name, field in model.model_fields.items()]
