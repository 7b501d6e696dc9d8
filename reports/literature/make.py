"""Our verdicts beside published ones: `python reports/literature/make.py --runs reports/ablations`.

tables.yaml holds what papers print side by side. Every pair of its rows that variants here can answer is put to the
finished runs of our grids: same data, seeds, clips and settings on both sides, the largest budget that both have run
at. What was found is kept in verdicts.csv; without --runs the page is written again from it.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from scipy.stats import kendalltau

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
import study  # noqa: E402

TIE, CLEAR = 1.0, 2.0  # points: below the first a published gap counts as none, from the second on as clear
FEWEST = 2  # such pairs in a setting that has a section; print has one alone of what an embedding adds
DRAWS = 2000
AGREE, DISAGREE, OPEN = "agree", "disagree", "open"
VARIES, PRINTED = "varies", "as printed"
SINES = ", from sines"  # papers start an embedding of time at zero where they begin with image weights
Found = dict[str, Any]


def pairs(table: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows that may be compared and that variants here can answer, the one that is printed ahead first."""
    ours = {name for name, row in table["rows"].items() if "ours" in row}
    allowed = table.get("pairs") or itertools.combinations(table["rows"], 2)
    top1 = {name: row["top1_pct"] for name, row in table["rows"].items()}
    return [tuple(sorted(pair, key=lambda name: -top1[name])) for pair in allowed if ours.issuperset(pair)]  # type: ignore[misc]


def half(table: dict[str, Any]) -> str:
    """Tasks may be changed by looking at half of the papers; the other half only reports."""
    return "chosen by" if hashlib.sha256(table["arxiv"].encode()).digest()[0] % 2 else "kept aside"


def verdict(gap: float, found: Found | None) -> str:
    """Whether a published gap of so many points (0 or more) and our comparison say the same.

    Args:
        found: ours, the row first that is ahead in print: difference, low, high (points), settled, and learnt: whether
            one of the two is above what a model blind to the order of frames can reach. Where neither is, they learnt
            nothing about time that could be compared. None: not asked.
    """
    if found is None or not found["learnt"]:
        return OPEN
    if gap < TIE:
        if abs(found["low"]) <= TIE and abs(found["high"]) <= TIE:
            return AGREE
        return DISAGREE if found["settled"] and abs(found["difference"]) >= CLEAR else OPEN
    if not found["settled"]:
        return OPEN
    return AGREE if found["difference"] > 0 else DISAGREE


def ways(
    table: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], run: Collection[bool | str]
) -> Iterator[tuple[str, list[bool | str]]]:
    """How a pair's embeddings of time can be set: what that is called, and each side's `temporal_position`.

    Where a table does not vary it: an embedding on both sides, on neither, and as in the paper.

    Args:
        run: every `temporal_position` that a setting has run: an embedding may start as usual, as sines, or both.
    """
    varied = [row["temporal_position"] for row in rows if "temporal_position" in row]
    printed = [row.get("time", table.get("time")) for row in rows]
    found = {VARIES: varied} if varied else {"with": [True, True]}
    if not varied and None not in printed:
        found[PRINTED] = printed
    for start in [start for start in (True, "sines") if start in run] or [True]:
        said = SINES if start == "sines" else ""
        yield from ((way + said, [time and start for time in times]) for way, times in found.items())
    if not varied:
        yield "without", [False, False]


def asked(runs: Iterable[Any], proofs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> list[dict[str, Any]]:
    """Every pair of every table, put to finished runs: once for each setting that answers it.

    Args:
        proofs: a run's id → what was proved of it before training (`RecordedCell.proved`).
    """
    from tps_lab.attention import parse
    from tps_lab.results.groups import As, group_runs, with_trials
    from tps_lab.results.paired import compare_groups

    def setting_of(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["data"], row["backbone"], row.get("weights") or ""

    def model_of(row: dict[str, Any]) -> tuple[str, bool | str]:
        return str(parse(row["attention"])), row["temporal_position"]

    settings: dict[tuple[Any, ...], dict[tuple[str, bool | str], dict[int, Any]]]
    settings = defaultdict(lambda: defaultdict(dict))
    # trials of a tuning have no test accuracy
    tested = [
        As(run, proofs[run.row["id"]] | run.row, run.environment) if run.row.get("id") in proofs else run
        for run in runs
        if run.row.get("top1_pct") is not None
    ]
    trials = [run for run in runs if run.row.get("trial")]
    for group in group_runs(with_trials(tested, trials, lambda row: (*setting_of(row), *model_of(row), row["steps"]))):
        row = group.first
        if not group.done:
            continue
        setting = setting_of(row)
        settings[setting][model_of(row)][int(row["steps"])] = group
    rows: list[dict[str, Any]] = []
    # what our runs are compared in, once each, however many papers print it: one family of comparisons a setting
    families: dict[tuple[Any, ...], dict[frozenset[Any], tuple[Any, Any]]] = defaultdict(dict)
    for table in yaml.safe_load((HERE / "tables.yaml").read_text()):
        for ahead, behind in pairs(table):
            gap = round(table["rows"][ahead]["top1_pct"] - table["rows"][behind]["top1_pct"], 2)
            rows_of = [table["rows"][name] for name in (ahead, behind)]
            for setting, known, (embedding, times) in (
                (*item, way) for item in settings.items() for way in ways(table, rows_of, {time for _, time in item[1]})
            ):
                keys = [(str(parse(row["ours"])), time) for row, time in zip(rows_of, times, strict=True)]
                budgets = known[keys[0]].keys() & known[keys[1]].keys() if keys[0] != keys[1] else ()
                if not budgets:
                    continue
                steps = max(budgets)
                both = known[keys[0]][steps], known[keys[1]][steps]
                family = (*setting, embedding)
                families[family].setdefault(frozenset(map(id, both)), both)
                rows.append(
                    {"table": table["id"], "ahead": ahead, "behind": behind, "gap": gap}
                    | {"ours_ahead": keys[0][0], "ours_behind": keys[1][0]}
                    | dict(zip(("data", "backbone", "weights"), setting, strict=True))
                    | {"embedding": embedding, "steps": steps, "tuned": bool(both[0].first.get("tuned"))}
                    | {"both": both, "family": family}
                )
    compared = {
        (family, key): pair
        for family, asked_for in families.items()
        for key, pair in zip(asked_for, compare_groups(list(asked_for.values())), strict=True)
    }
    answered = []
    for row in rows:
        one, other = row.pop("both")
        pair = compared[row.pop("family"), frozenset((id(one), id(other)))]
        if pair.found is None:
            continue
        found = pair.found if pair.group is one else -pair.found  # another paper has them the other way round
        ends = {"difference": found.difference, "low": found.low, "high": found.high}
        answer: Found = {key: round(value, 2) + 0.0 for key, value in ends.items()}
        learnt = one.is_above_ceiling is not False or other.is_above_ceiling is not False
        answer |= {"settled": found.settled, "seeds": found.seeds, "learnt": learnt}
        answered.append(row | answer | {"verdict": verdict(row["gap"], answer)})
    return answered


def tau(rows: Sequence[dict[str, Any]], papers: dict[str, str]) -> tuple[float, float, float] | None:
    """Kendall's tau-b between published gaps and ours, and its 95 % interval over papers drawn with replacement.

    Each pair counts in both directions, so that what stands first in print does not matter. None: fewer than
    three papers.
    """
    by_paper: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        gap = 0.0 if row["gap"] < TIE else row["gap"]
        by_paper[papers[row["table"]]] += [(gap, row["difference"]), (-gap, -row["difference"])]
    if len(by_paper) < 3:
        return None

    def of(names: Iterable[str]) -> float:
        points = [point for name in names for point in by_paper[name]]
        return float(kendalltau(*zip(*points, strict=True)).statistic)

    rng, names = np.random.default_rng(0), list(by_paper)
    drawn = [of(rng.choice(names, len(names))) for _ in range(DRAWS)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return of(names), float(low), float(high)


def summary(rows: Sequence[dict[str, Any]], tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each kind of data and each half: pairs, clear pairs, how many agree, disagree and are open."""
    by_id = {table["id"]: table for table in tables}
    papers = {table["id"]: table["arxiv"] for table in tables}
    lines = []
    for what, keep in {
        "temporal data (Something-Something)": lambda t: t["domain"] == "temporal",
        "appearance data (Kinetics)": lambda t: t["domain"] == "appearance",
        "other": lambda t: t["domain"] == "other",
        "papers that tasks are chosen by": lambda t: half(t) == "chosen by",
        "papers kept aside": lambda t: half(t) == "kept aside",
        "all": lambda t: True,
    }.items():
        chosen = [row for row in rows if keep(by_id[row["table"]])]
        clear = [row for row in chosen if row["gap"] >= CLEAR]
        count = {name: sum(row["verdict"] == name for row in clear) for name in (AGREE, DISAGREE, OPEN)}
        lines.append({"what": what, "pairs": len(chosen), "clear": len(clear), **count, "tau": tau(chosen, papers)})
    return lines


def main(
    runs: Annotated[list[Path] | None, typer.Option(help="Results folders to take verdicts from.")] = None,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = HERE,
) -> None:
    """Set our verdicts beside those of papers, pair by pair."""
    if runs:
        from tps_lab.ablate import record
        from tps_lab.results.runs import find

        recorded = (cell for one in record.find(runs).values() for cell in one.cells)
        found = asked(find(*runs), {cell.id: cell.proved for cell in recorded if cell.proved})
        study.write_csv(out / "verdicts.csv", found)
    tables = yaml.safe_load((HERE / "tables.yaml").read_text())
    rows = read(out / "verdicts.csv")
    answerable = {table["id"]: pairs(table) for table in tables}
    settings: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        settings[row["data"], row["backbone"], row["weights"], row["embedding"]].append(row)
    page = study.write_page(
        HERE / "template.md",
        out,
        tables=tables,
        by_id={table["id"]: table for table in tables},
        remarks=(HERE / "remarks.md").read_text(),
        papers=len({table["arxiv"] for table in tables}),
        printed=sum(len(list(t.get("pairs") or itertools.combinations(t["rows"], 2))) for t in tables),
        possible=sum(map(len, answerable.values())),
        settings=[
            (key, found, summary(found, tables))
            for key, found in sorted(settings.items(), key=lambda item: (not item[0][-1].startswith(PRINTED), item[0]))
            if sum(row["gap"] >= CLEAR for row in found) >= (1 if key[-1].startswith(VARIES) else FEWEST)
        ],
    )
    print(page)


def read(file: Path) -> list[dict[str, Any]]:
    """The pairs that were asked, with numbers as numbers."""
    numbers = {"gap": float, "difference": float, "low": float, "high": float, "steps": int, "seeds": int}
    with file.open(newline="") as opened:
        rows: list[dict[str, Any]] = list(csv.DictReader(opened))
    return [
        row
        | {key: kind(row[key]) for key, kind in numbers.items()}
        | {key: row[key] == "True" for key in ("settled", "tuned", "learnt")}
        for row in rows
    ]


if __name__ == "__main__":
    study.command(main)
