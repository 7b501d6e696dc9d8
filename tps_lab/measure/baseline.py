"""Two sets of benchmarks, before and after: what became slower or hungrier, and how sure that is.

Reads what `pytest --benchmark-json=FILE` writes (`make benchmark`). The two were not run in turn, so
besides the scatter of single calls the machine itself may have become slower; the plain copy that is
timed in both says by how much, and a change counts only beyond a tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tps_lab.errors import InputError

_DRAWS, _SEED = 2000, 0


@dataclass(frozen=True)
class Change:
    """One benchmark, after / before.

    Attributes:
        name: the test's.
        what: "time", or a figure that the benchmark noted beside it, such as "peak_memory_bytes".
        before, after: medians, in seconds or the figure's unit.
        ratio, low, high: after / before with its 95 % interval (equal to it for figures that are exact).
        verdict: "slower" or "faster" ("more" or "less") if the whole interval lies beyond the
            tolerance, "same" if the whole interval lies within, else "unclear".
    """

    name: str
    what: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: str

    def row(self) -> dict[str, Any]:
        return asdict(self)


def compare_benchmarks(before: Path, after: Path, tolerance: float = 0.1) -> list[Change]:
    """Every benchmark that both files hold, in the order of the second.

    Args:
        before, after: files of pytest-benchmark.
        tolerance: changes up to this share do not count.

    Raises:
        InputError: a file cannot be read, or they have no benchmark in common.
    """
    old, new = _read(before), _read(after)
    changes = []
    for name, entry in new.items():
        if name not in old:
            continue
        low, ratio, high = ratio_of_medians(old[name]["stats"]["data"], entry["stats"]["data"])
        medians = old[name]["stats"]["median"], entry["stats"]["median"]
        changes.append(
            Change(name, "time", *medians, ratio, low, high, _verdict(low, high, tolerance, "slower faster"))
        )
        for what, value in entry.get("extra_info", {}).items():
            earlier = old[name].get("extra_info", {}).get(what)
            if what.endswith("_bytes") and value and earlier:
                share = value / earlier
                verdict = _verdict(share, share, tolerance, "more less")
                changes.append(Change(name, what, earlier, value, share, share, share, verdict))
    if not changes:
        raise InputError(f"{before} and {after} have no benchmark in common")
    return changes


def ratio_of_medians(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Lower end, ratio and upper end of after / before: a bootstrap over calls, 95 %."""
    rng = np.random.default_rng(_SEED)

    def medians(values: Sequence[float]) -> np.ndarray:
        drawn = rng.integers(0, len(values), (_DRAWS, len(values)))
        return np.median(np.asarray(values)[drawn], axis=1)

    low, high = np.quantile(medians(after) / medians(before), [0.025, 0.975])
    return float(low), float(np.median(after) / np.median(before)), float(high)


def regressions(changes: Sequence[Change]) -> list[Change]:
    """Those that became slower or need more."""
    return [change for change in changes if change.verdict in ("slower", "more")]


def text(changes: Sequence[Change], tolerance: float) -> str:
    """A table for the terminal, what became worse at its end once more."""
    width = max(len(_title(change)) for change in changes)
    lines = [f"{'':{width}}  after / before (95 %)"]
    for change in changes:
        around = f" ({change.low:.2f} to {change.high:.2f})" if change.high > change.low else ""
        lines.append(f"{_title(change):{width}}  {change.ratio:.2f}{around}  {change.verdict}")
    worse = regressions(changes)
    share = f"beyond {100 * tolerance:g} %"
    lines += ["", f"{len(worse)} of {len(changes)} figures became worse {share}" + (":" if worse else ".")]
    return "\n".join([*lines, *(f"  {_title(change)}: {change.ratio:.2f}" for change in worse)])


def _title(change: Change) -> str:
    return change.name if change.what == "time" else f"{change.name}, {change.what}"


def _verdict(low: float, high: float, tolerance: float, words: str) -> str:
    worse, better = words.split()
    if low > 1 + tolerance:
        return worse
    if high < 1 / (1 + tolerance):
        return better
    return "same" if low >= 1 / (1 + tolerance) and high <= 1 + tolerance else "unclear"


def _read(file: Path) -> dict[str, Any]:
    try:
        benchmarks = json.loads(file.read_text())["benchmarks"]
        found = {entry["name"]: entry for entry in benchmarks}
        # one call has no spread to judge by
        return {name: entry for name, entry in found.items() if len(entry["stats"]["data"]) > 1}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no file of pytest-benchmark with its data (--benchmark-json): {error}") from error
