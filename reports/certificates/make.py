"""Certificates of well-known video models, as a page. Run: python reports/certificates/make.py

Writes docs/certificates.md, and beside this file a line of JSON and a badge for each model. Random weights, no data,
no downloads; minutes on two cores. A stopped command goes on where it was; delete certificates.jsonl to look at all
models again. It ends with 1 if a certificate says something else than a model's definition.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path
from typing import Any

from tps_lab.results.runs import processor

HERE, PAGE = Path(__file__).parent, Path(__file__).parents[2] / "docs" / "certificates.md"
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, kept_cells  # noqa: E402

KEPT, BADGES = HERE / "certificates.jsonl", HERE / "badges"
PICTURED = "transformers:qwen2-vl-tower"
LIBRARIES = ("torch", "torchvision", "transformers", "timm")
HEAD = """# Does it see time at all?

What well-known video models can tell about the order of frames. Nothing here is trained: a model's symmetries follow
from its architecture, and random weights show them. Made by `python reports/certificates/make.py`; for a model of
your own run `tps-lab certify FILE.py:factory`.

**Same under** names every rearrangement of frames that never changes the answer. **Order from** is the first place
in the model where the order of frames (of whole tubelets, where frames are read in tubelets) matters. **Position**
says whether time steps get a position that changes over frames; a dash means that frames already meet in the first
layer, a convolution, so that there is nothing to compare. **Witness ÷ rounding** compares how far rearranging the clip
moves the answer with how far rounding could move it. The models are small ones of their kind, because what they can
tell does not depend on their width. A certificate holds for almost all weights, not for all of them. What it says about
accuracy is a ceiling ("cannot"), never a promise ("can be learnt").

| Model | Clip | Verdict | Same under | Order from | Position | Witness ÷ rounding | CPU s |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
Processor time on {machine}, busy with other work; the longest took {longest:.0f} s by the clock.
{versions}. Plain data: [certificates.jsonl](../reports/certificates/certificates.jsonl).

![The frames that influence each step of the tower of Qwen2-VL](../reports/certificates/qwen2-vl-tower.png)

A certificate as a picture (`--save`): the vision tower of Qwen2-VL uses all frames, but its steps never meet, so it
cannot tell in which order they come.

What each verdict should be, from the model's definition:

"""
BUG = """
## A released bug

In transformers 5.3.0 the language models of Qwen2-VL and Qwen2.5-VL were given the same temporal position for every
frame of a video ([issue 45381](https://github.com/huggingface/transformers/issues/45381), fixed in [pull request
45400](https://github.com/huggingface/transformers/pull/45400)). Because they read from left to right, they could still
tell orders apart. So shuffling frames would not have shown the bug; the certificate also checks the positions.
`python reports/certificates/released_bug.py` installs both versions into separate folders and prints:

```
{said}```
"""


def cell(model: str) -> dict[str, Any]:
    """The certificate of a known model as plain data, with a badge beside it; its row says what it took."""
    import torch

    from tps_lab import certify, viz
    from tps_lab.explain.subjects import SUBJECTS

    subject, start, clock = SUBJECTS[model], time.process_time(), time.perf_counter()
    torch.manual_seed(0)
    found = certify(subject.make(), subject.shape, axes=subject.axes, name=model)
    took = {"cpu_s": round(time.process_time() - start, 1), "s": round(time.perf_counter() - clock, 1)}
    BADGES.mkdir(exist_ok=True)
    badge(model).write_text(viz.badge(found), encoding="utf-8")
    if model == PICTURED:
        viz.certificate(found).figure.savefig(HERE / f"{model.partition(':')[2]}.png", dpi=100)
    return found.facts() | took | {
        "same_under": str(found.symmetry),
        "order_first": found.inside.order_from if not found.symmetry.blind else "",
        "as_defined": found.kind == subject.truth and not found.faults,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "machine": processor(),
    }  # fmt: skip


def badge(model: str) -> Path:
    return BADGES / f"{''.join(c if c.isalnum() else '-' for c in model).strip('-')}.svg"


def row(kept: dict[str, Any]) -> str:
    witness = kept["witness"]
    model = kept["model"]
    cells = (
        model,
        "×".join(map(str, kept["clip_shape"])),
        f"![{kept['kind']}](../{badge(model).relative_to(PAGE.parents[1])})",
        kept["same_under"],
        f"`{kept['order_first']}`" if kept["order_first"] else "–",
        {True: "changes", False: "the same", None: "–"}[kept["temporal_position"]],
        "–" if witness is None else f"{witness['difference'] / kept['floating_point_floor']:.0e}",
        f"{kept['cpu_s']:.0f}",
    )
    return f"| {' | '.join(cells)} |\n"


def page(rows: list[dict[str, Any]]) -> str:
    """docs/certificates.md, from what `cell` found of each model."""
    from tps_lab.explain.subjects import SUBJECTS

    last = rows[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    tail = TAIL.format(versions=versions, machine=last["machine"], longest=max(kept["s"] for kept in rows))
    whys = "".join(f"- {s.name}: {s.truth}, because {s.why}.\n" for s in SUBJECTS.values())
    said = (HERE / "released_bug.txt").read_text(encoding="utf-8")
    return HEAD + "".join(map(row, rows)) + tail + whys + BUG.format(said=said)


def main(quiet: bool = False) -> None:
    """Certify every known model, and write the page."""
    from tps_lab.explain.subjects import SUBJECTS

    rows = []
    with advancing("models", len(SUBJECTS), quiet) as advance:
        for kept in kept_cells(KEPT, [{"model": name} for name in SUBJECTS], cell):
            rows.append(kept)
            advance(len(rows), f"{kept['model']}: {kept['verdict']}")
    PAGE.write_text(page(rows), encoding="utf-8")
    print(PAGE)
    wrong = [kept for kept in rows if not kept["as_defined"]]
    for kept in wrong:
        print(f"{kept['model']}: {kept['verdict']}, but by its definition {SUBJECTS[kept['model']].truth}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    command(main)
