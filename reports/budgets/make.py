"""Can one long run stand for several short ones? A warm-up, stable, decay schedule against a cosine for each budget.

One run holds its learning rate after the warm-up; at four fifths of each budget a copy of it goes off and lets the rate
fall to zero in a straight line over the last fifth (arXiv 2405.18392 compares such schedules with cosines). That costs
less than one cosine run a budget. Whether it puts the variants in the same order is asked here, on validation clips
alone; the cosine runs are those of reports/ablations/attention, and each variant has the learning rate chosen for it
at the longest budget. `python reports/budgets/make.py` makes the page, and goes on where it stopped.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, kept_cells, tested, write_csv, write_page  # noqa: E402

PAGE = HERE.parent / "ablations" / "attention"
DECAY = 0.2  # share of a budget in which the rate falls to zero
WARM_UP = 15  # steps: a tenth of the shortest budget, as in its cosine run
SEEDS = (0, 1)
CLEAR = 2  # points between two variants from which on their order counts


def branched(case: str, config: dict[str, Any], budgets: list[int], seed: int) -> dict[str, Any]:
    """Validation accuracy at each budget, from one long run with a decay branched off it for each."""
    import torch

    from tps_lab.measure import step
    from tps_lab.measure.accuracy import evaluate
    from tps_lab.training.config import make
    from tps_lab.training.feed import ClipOrder, Feed
    from tps_lab.training.loop import parameter_groups
    from tps_lab.training.model import build

    run = make(config | {"seed": seed})
    recipe = run.recipe
    clips = run.data.opened()
    model = build(run, clips)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), lr=recipe.lr, betas=(0.9, recipe.beta2))
    peaks = [group["lr"] for group in optimizer.param_groups]
    order = ClipOrder(clips.size("train"), recipe.batch, seed)
    torch.manual_seed(seed)

    def train(model: Any, optimizer: Any, order: Any, factors: Iterable[float]) -> None:
        """As many steps as there are factors on the learning rate."""

        def backward(loss: Any) -> None:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)

        for factor, (x, y) in zip(factors, Feed(clips, order, torch.device("cpu")), strict=False):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            step.run(model, x, y, step.Step(recipe.batch), optimizer, backward=backward)

    found: dict[str, float] = {}
    done = 0
    model.train()
    for budget in sorted(budgets):
        leaves = budget - round(DECAY * budget)
        train(model, optimizer, order, [min(1.0, (early + 1) / WARM_UP) for early in range(done, leaves)])
        done = leaves
        branch, own, its_order = copy.deepcopy((model, optimizer, order))
        train(branch, own, its_order, [(budget - late) / (budget - leaves) for late in range(leaves, budget)])
        found[str(budget)] = evaluate(branch, clips, "val").top1_pct
    return {"case": case, "seed": seed, "lr": recipe.lr, "val_top1_pct": found}


def cosine_runs() -> tuple[dict[str, dict[int, dict[int, float]]], dict[str, dict[str, Any]]]:
    """Case → budget → seed → validation accuracy of the tuned runs of the page on attention; and each case's
    configuration at its longest budget."""
    found: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    configs: dict[str, dict[str, Any]] = {}
    longest: dict[str, int] = defaultdict(int)
    for run in tested(PAGE):
        row = run.row
        case, steps = row["case"], row["steps"]
        found[case][steps][row["seed"]] = row["val_top1_pct"]
        if steps > longest[case]:
            longest[case], configs[case] = steps, run.config
    return found, configs


def main(
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = HERE,
    jobs: Annotated[int, typer.Option(help="Runs at once.", min=1)] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Set one long run with a decay for each budget beside a cosine run for each."""
    from scipy.stats import kendalltau

    cosine, configs = cosine_runs()
    budgets = sorted(set.intersection(*(set(found) for found in cosine.values())))
    todo = [
        {"case": case, "config": config, "budgets": budgets, "seed": seed}
        for seed in SEEDS
        for case, config in configs.items()
    ]
    rows = []
    with advancing("long runs", len(todo), quiet) as advance:
        for row in kept_cells(out / "runs.jsonl", todo, branched, fresh_without="config", jobs=jobs):
            rows.append(row)
            advance(len(rows), None)
    branches: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        if "val_top1_pct" in row:
            branches[row["case"]].append(row["val_top1_pct"])
    table: list[dict[str, Any]] = []
    taus = []
    for budget in budgets:
        long = {case: fmean(found[str(budget)] for found in several) for case, several in branches.items()}
        short = {case: fmean(cosine[case][budget].values()) for case in long}
        tau = kendalltau(list(long.values()), list(short.values())).statistic
        ahead = [max(means, key=lambda case: means[case]) for means in (long, short)]
        turned = [
            f"{one} and {other}"
            for one, other in itertools.permutations(long, 2)
            if short[one] - short[other] >= CLEAR and long[one] <= long[other]
        ]
        taus.append({"budget": budget, "tau": tau, "long": ahead[0], "short": ahead[1], "turned": turned})
        table += [
            {"budget": budget, "case": case, "one long run": mean, "a cosine run": short[case]}
            for case, mean in long.items()
        ]
    write_csv(out / "results.csv", table)
    steps = max(budgets) - round(DECAY * max(budgets)) + sum(round(DECAY * budget) for budget in budgets)
    write_page(
        HERE / "template.md", out, budgets=budgets, table=table, taus=taus, steps=steps, separate=sum(budgets),
        lrs={row["case"]: row["lr"] for row in rows if "lr" in row}, seeds=len(SEEDS),
        failed=[row for row in rows if "val_top1_pct" not in row],
        most=max(table, key=lambda row: abs(row["one long run"] - row["a cosine run"])), clear=CLEAR,
    )  # fmt: skip


if __name__ == "__main__":
    command(main)
