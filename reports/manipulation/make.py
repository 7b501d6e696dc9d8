"""Moving digits' predictions put to a robot arm: `python reports/manipulation/make.py --run` asks and makes the page.

`--run` renders the scenes, trains the image model that some runs begin with, if it is not kept here, runs what is
missing of the grids beside this file (resumable; about three hours of two cores) and asks every trained model about
rearranged frames. Without it the page is written again from the runs in --runs, or from those that are kept beside it.
`prediction.md` and `prediction_2.md` were written before what they predict ran.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
import study  # noqa: E402

# grid → the page that predicted it, and what "opposites" calls its cases where they have a longer name
ROUNDS = {
    "attention": ("prediction.md", "attention", ""),
    "more_scenes": ("prediction_2.md", "attention", ""),
    "image_weights": ("prediction_2.md", "embedding_start", "zeros, "),
}
GRIDS = (*ROUNDS, "classes", "baselines", "baselines_direction", "patterns", "frames")
# what the prediction calls the cases of attention.yaml
PREDICTED = {"TPS+TCS": "PST", "TCS": "channel only", "TPS": "patch only"}
DRAWS = 2000
IMAGE_STEPS = 1200
MOTION_FRAMES, MOTION_SCENES, STILL = (4, 8, 16), 120, 1 / 16  # STILL in patches
PROBES = ("as it is", "shuffled", "reversed", "frozen")
Means = dict[str, float]


def prediction(text: str) -> dict[str, tuple[int, float, float]]:
    """Case → its place and the interval of its distance from PST, out of the sealed page's last table."""
    rows = re.findall(r"^\| (\d+) \| (\S+) \| ([−+\d]+) \| ([−+\d]+) \|$", text, re.MULTILINE)
    return {
        PREDICTED.get(name, name): (int(place), float(low.replace("−", "-")), float(high.replace("−", "-")))
        for place, name, low, high in rows
    }


def tau(expected: Mapping[str, float], rights: Mapping[str, np.ndarray], twins: int) -> tuple[float, float, float]:
    """Kendall's tau-b between an expected order and accuracies, and its 95 % interval.

    Seeds and scenes are drawn anew, the same for all cases: the interval says how far the order hangs on them.

    Args:
        expected: case → what grows with the accuracy that is expected of it.
        rights: case → (S, N), whether seed s answered clip c right.
        twins: so many clips in a row are of one scene.
    """
    from tps_lab.results.orders import kendall

    cases = [case for case in expected if case in rights]
    wanted = np.array([expected[case] for case in cases])
    right = np.stack([rights[case].reshape(len(rights[case]), -1, twins).mean(2) for case in cases])
    _, seeds, scenes = right.shape

    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        # how often each seed and each scene is drawn
        seed, scene = (rng.multinomial(n, np.full(n, 1 / n)) / n for n in (seeds, scenes))
        drawn.append(kendall(wanted, np.einsum("csn,s,n->c", right, seed, scene)))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(kendall(wanted, right.mean((1, 2)))), float(low), float(high)


def confusion(
    said: np.ndarray, label: np.ndarray, opposites: Sequence[tuple[int, int]], both_ways: bool
) -> dict[str, float]:
    """What answers are, in percent of the clips: right, or in which way a task was taken for what undoes it.

    Args:
        said, label: (N,) classes.
        opposites: pairs of kinds that undo each other.
        both_ways: class 2k is kind k, and 2k + 1 its reversal; else classes are kinds.
    """
    other = dict(opposites) | {b: a for a, b in opposites}
    ways = 2 if both_ways else 1
    kind, said_kind = label // ways, said // ways
    undoes = np.array([other.get(int(k), -1) for k in kind]) == said_kind
    turned = (label % ways) != (said % ways)
    found = {
        "right": said == label,
        "its own reversal": (kind == said_kind) & turned,
        "its opposite": undoes & ~turned,
        "its opposite reversed": undoes & turned,
        "another object": (kind != said_kind) & ~undoes,
    }
    return {name: 100 * float(np.mean(which)) for name, which in found.items() if both_ways or "revers" not in name}


def rights(group: Any) -> np.ndarray:
    """(S, N): whether a group's runs answered each test clip right."""
    return np.stack([run.predictions[0] == run.predictions[1] for run in group.done])


def asked(grid: str, sources: Sequence[Path]) -> dict[str, Any] | None:
    """What a grid has found so far at each budget; None: nothing of it ran."""
    from tps_lab.errors import InputError
    from tps_lab.report import grids
    from tps_lab.results.groups import group_runs

    if not sources:
        return None
    try:
        found = grids.chosen(sources, HERE / f"{grid}.yaml")
    except InputError:
        return None
    assert found is not None
    done = [run for run in found.told if run.row.get("status") == "done"]
    if not done:
        return None
    budgets = []
    for steps in sorted({int(run.row["steps"]) for run in done}):
        groups = group_runs(run for run in done if run.row["steps"] == steps)
        budgets.append({"steps": steps, "rows": rows(groups, found.record.about), "groups": groups})
    return {
        "grid": found, "title": found.record.about["title"], "question": found.record.about["question"],
        "done": len(done), "of": len(found.runs), "budgets": budgets, "runs": done,
    }  # fmt: skip


def rows(groups: Sequence[Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line a case, best first: accuracy, distance from the baseline, what was chosen, what rearranging does."""
    from tps_lab.data import parse
    from tps_lab.results.paired import along, paired

    baseline, axis = about["baseline"], about["compare"]
    has_run = any(group.label == baseline for group in groups)
    pairs = paired(groups, baseline) if has_run else along(groups, axis) if axis else []
    against = {pair.group.label: pair for pair in pairs}
    lines = []
    for group in groups:
        row = group.first
        spec: Any = parse(row["data"])
        answers = [run.predictions for run in group.done]
        each = [confusion(said, right, spec.opposites, spec.task == "direction") for said, right in answers]
        pair = against.get(group.label)
        lines.append(
            {
                "case": group.label,
                "top1": group.top1,
                "mean": group.top1.mean,
                "seeds": len(group.done),
                "lr": row["lr"],
                "train": float(np.mean([trained(run) for run in group.done])),
                "macs": row.get("macs"),
                "pair": pair,
                "verdict": "" if pair is None else pair.verdict,
                "confusion": {name: float(np.mean([one[name] for one in each])) for name in each[0]},
                "probes": probes(group),
            }
        )
    return sorted(lines, key=lambda line: -line["mean"])


def trained(run: Any) -> float:
    """Accuracy on the training clips of the last hundred steps or so, in percent."""
    return float([line for line in run.metrics if line.get("split") == "train"][-1]["top1_pct"])


def probes(group: Any) -> dict[str, Any] | None:
    """Probe → accuracy and share of answers that stay, means over the runs that were probed, and how many these are
    ("seeds"); None: none was."""
    from tps_lab.report.evaluations import over_seeds

    found = [one for run in group.done for one in run.time_use]
    if not found:
        return None
    return {"seeds": len(found)} | {row["probe"]: row for row in over_seeds(found)["probes"] if row["probe"] in PROBES}


def outcome(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What was sealed for a grid beside what came out at its largest budget."""
    page, digits_page, begins = ROUNDS[name]
    sealed = prediction((HERE / page).read_text())
    budget = found["budgets"][-1]
    right = {group.label: rights(group) for group in budget["groups"] if group.label in sealed}
    seeds = min(map(len, right.values()))
    by = {line["case"]: line for line in budget["rows"]}
    places = {case: place for place, case in enumerate((line["case"] for line in budget["rows"]), 1)}
    lines = []
    for case, (place, low, high) in sealed.items():
        distance = by[case]["mean"] - by["PST"]["mean"] if case in by and "PST" in by else None
        held = None if distance is None or case == "PST" else low <= distance <= high
        lines.append(
            {"case": case, "predicted": place, "came": places.get(case), "low": low, "high": high}
            | {"distance": distance, "held": held}
        )
    digits = on_digits(HERE.parent / "ablations" / digits_page, sealed, begins)
    twins = int(budget["groups"][0].first["twins"])
    expected = {case: -float(place) for case, (place, _, _) in sealed.items()}
    same_seeds = {case: answers[:seeds] for case, answers in right.items()}
    return {
        "title": found["title"], "steps": budget["steps"], "lines": lines, "page": page, "digits_page": digits_page,
        "tau": tau(expected, same_seeds, twins) if len(right) > 2 else None,
        "digits": {steps: (means, tau(means, same_seeds, twins)) for steps, means in digits.items()}
        if len(right) > 2 else {},
    }  # fmt: skip


def on_digits(page: Path, cases: Collection[str], begins: str) -> dict[int, Means]:
    """Steps → case → accuracy on moving digits, out of the runs that a page keeps; only budgets that all cases had.

    Args:
        begins: what the page puts before the names of the cases.
    """
    several: dict[int, dict[str, list[float]]] = {}
    for run in study.tested(page):
        row = run.row
        case = str(row.get("case"))
        if case.startswith(begins) and (case := case.removeprefix(begins)) in cases:
            several.setdefault(int(row["steps"]), {}).setdefault(case, []).append(row["top1_pct"])
    means = {steps: {case: float(np.mean(each)) for case, each in by.items()} for steps, by in several.items()}
    return {steps: by for steps, by in sorted(means.items()) if len(by) == len(cases)}


def published(runs: Sequence[Any]) -> list[dict[str, Any]]:
    """Verdicts on manipulation beside those of papers: reports/literature's own comparison."""
    import yaml

    literature = study.load("literature")
    tables = yaml.safe_load((literature.HERE / "tables.yaml").read_text())
    # all runs here have an embedding of time: the pairs as printed are some of these once more
    pairs = [row for row in literature.asked(runs) if row["embedding"] != literature.PRINTED]
    papers = {table["id"]: table["arxiv"] for table in tables}
    from tps_lab.data import parse

    lines = []
    for data, weights in sorted({(row["data"], row["weights"]) for row in pairs}):
        chosen = [row for row in pairs if (row["data"], row["weights"]) == (data, weights)]
        spec: Any = parse(data)
        task = "forwards or backwards" if spec.task == "direction" else "natural classes"
        clear = [row for row in chosen if row["gap"] >= literature.CLEAR]
        count = {says: sum(row["verdict"] == says for row in clear) for says in ("agree", "disagree", "open")}
        lines.append(
            {
                "task": task,
                "scenes": spec.train,
                "begins": "image weights" if weights else "scratch",
                "pairs": len(chosen),
            }
            | {"steps": max(row["steps"] for row in chosen), "clear": len(clear), **count}
            | {"tau": literature.tau(chosen, papers)}
        )
    return lines


def motion(data: str, frames: int) -> dict[str, float]:
    """How far things move from one frame to the next, by reports/real_video/motion.py.

    Returns:
        moving_pct, the share of places with texture that move by STILL or more, and how far these move, in patches:
        median and nine_tenths, which so many of them do not exceed.
    """
    import torch
    from torch.nn.functional import interpolate

    from tps_lab.data import parse

    by_phase = study.load(HERE.parent / "real_video" / "motion.py")
    clips = parse(data, task="classes", frames=frames).opened()
    pictures = clips.batch("val", torch.arange(MOTION_SCENES))[0].mean(1)
    grey = interpolate((pictures / 4 + 0.5) * 255, size=(by_phase.SIDE, by_phase.SIDE), mode="bicubic").numpy()
    pairs = [pair for clip in grey for pair in itertools.pairwise(clip)]
    moves = np.array([move for one, other in pairs for move in by_phase.moves(one, other)])
    moving = moves[moves >= STILL]
    return {
        "moving_pct": 100 * len(moving) / len(moves),
        "median": float(np.median(moving)),
        "nine_tenths": float(np.percentile(moving, 90)),
    }


def strips(data: str, out: Path) -> None:
    """A test clip of each kind, every frame of it, opposites beside each other."""
    import matplotlib.pyplot as plt
    import torch

    from tps_lab.data import parse

    spec: Any = parse(data, task="classes")
    clips = spec.opened()
    pictures = clips.batch("test", torch.arange(len(spec.kinds)))[0].permute(0, 2, 3, 4, 1) / 4 + 0.5
    frames = pictures.shape[1]
    figure, grid = plt.subplots(len(spec.opposites), 2, figsize=(2 * frames * 0.62, len(spec.opposites) * 0.86))
    for line, pair in zip(np.atleast_2d(grid), spec.opposites, strict=True):
        for place, kind in zip(line, pair, strict=True):
            place.imshow(np.concatenate(list(pictures[kind].clamp(0, 1).numpy()), axis=1), interpolation="nearest")
            place.set_title(spec.kinds[kind], fontsize=8, loc="left", pad=2)
            place.set_xticks([]), place.set_yticks([])
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=150)
    plt.close(figure)


def image_model(data: str, folder: Path) -> None:
    """Train the model of still frames that runs begin with (spatial attention, natural classes), unless it is kept."""
    from tps_lab import files
    from tps_lab.errors import InputError
    from tps_lab.progress import for_this_terminal
    from tps_lab.training.config import make
    from tps_lab.training.train import train

    kept = files.folder(HERE / "image")
    if (kept / "model.safetensors").is_file():
        return
    settings = {"attention": "spatial", "backbone": "vit_micro", "data": data, "recipe.steps": IMAGE_STEPS}
    trained = train(make(settings), folder / "image", progress=for_this_terminal())
    if trained.row["status"] != "done":  # half a training is no image model
        raise InputError(f"the image model was not trained: the run is {trained.row['status']}")
    for file in ("config.yaml", "metrics.jsonl", "row.json", "model.safetensors"):
        files.write_whole(kept / file, (trained.path / file).read_bytes())


def run_grids(folder: Path, names: Sequence[str]) -> None:
    """Render, train and run what is missing of the grids."""
    from tps_lab import children
    from tps_lab.ablate.grid import load
    from tps_lab.data import parse

    def run(*command: str | Path) -> None:
        done = subprocess.run(children.python("-m", "tps_lab.cli", *command), env=children.environment())
        if done.returncode not in (0, 1):  # 1: a cell failed, and its row says why
            sys.exit(done.returncode)

    asked_about = [load(HERE / f"{name}.yaml").cells[0].config for name in names]
    for data in dict.fromkeys(str(parse(config.data, task="classes", frames=8, at=0.5)) for config in asked_about):
        run("data", "make", data)
    for config in asked_about:
        if config.weights:
            image_model(str(parse(config.data, task="classes")), folder)
    for name in names:
        run("ablate", HERE / f"{name}.yaml", "--out", folder)


def probe(folder: Path, names: Sequence[str]) -> None:
    """Ask every run whose frames the page rearranges, and that was not asked yet."""
    from tps_lab import children

    compared = [
        run for name in (*ROUNDS, "classes") if name in names and (one := asked(name, [folder])) for run in one["runs"]
    ]
    new = [
        run.path
        for run in compared
        if run.row.get("top1_pct") is not None and (run.path / "model.safetensors").is_file() and not run.time_use
    ]
    if new:
        command = children.python("-m", "tps_lab.cli", "evaluate", *new, "--rearranged")
        subprocess.run(command, env=children.environment(), check=True)


def keep(grid: Any, folder: Path) -> None:
    """A grid's runs in one small file, from which this page is made again."""
    from tps_lab import files
    from tps_lab.results import archive

    files.write_whole(files.folder(folder) / archive.FILE, grid.packed())


def main(
    runs: Annotated[Path | None, typer.Option(help="Folder of the runs. [default: those kept here]")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run what is missing first, into --runs.")] = False,
    grids: Annotated[str, typer.Option(help="Which of the grids, with commas.")] = ",".join(GRIDS),
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = HERE,
) -> None:
    """Ask the grids about manipulation and set what comes out beside what digits predicted."""
    from tps_lab.errors import InputError

    names = [name.strip() for name in grids.split(",")]
    out.mkdir(parents=True, exist_ok=True)
    if run:
        runs = runs or Path("runs/manipulation")
        run_grids(runs, names)
    if runs is not None:
        probe(runs, names)
    found: dict[str, Any] = dict.fromkeys(GRIDS)
    moves: dict[int, dict[str, float]] = {}
    for name in GRIDS:
        if runs is not None and name in names:
            found[name] = asked(name, [runs])
        if found[name] is not None:
            keep(found[name]["grid"], out / name)
        elif (runs is None or out == HERE) and (HERE / name / "runs.jsonl.xz").is_file():
            found[name] = asked(name, [HERE / name])
    first = next((one for one in found.values() if one is not None), None)
    if first is None:
        raise InputError("nothing has run yet: python reports/manipulation/make.py --run")
    moved = [{"data": first["runs"][0].row["data"], "frames": frames} for frames in MOTION_FRAMES]
    try:
        moves = dict(zip(MOTION_FRAMES, study.kept_cells(HERE / "motion.jsonl", moved, motion), strict=True))
        strips(moved[0]["data"], out / "strips.png")
    except InputError as error:
        print(f"the film strips stay as they are: {error}", file=sys.stderr)
    asked_grids = [found[name] for name in (*ROUNDS, "classes") if found[name]]
    asked_runs = [run for one in asked_grids for run in one["runs"]]
    page = study.write_page(
        HERE / "template.md",
        out,
        found=found,
        data={one["runs"][0].row["data"]: one["runs"][0].row["data_notes"] for name in ROUNDS if (one := found[name])},
        moves=moves,
        outcomes=[outcome(name, found[name]) for name in ROUNDS if found[name]],
        published=published(asked_runs) if asked_runs else [],
        remarks=(HERE / "remarks.md").read_text(),
        probes=PROBES,
    )
    print(page)


if __name__ == "__main__":
    study.command(main)
