"""Certificates of well-known video models, as a page. Run: python reports/certificates/make.py

Writes docs/certificates.md, and JSON and badges beside this file. Random weights, no data, no downloads; a few
minutes on two cores. It ends with 1 if a certificate says something else than a model's definition.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from tps_lab import certify, viz
from tps_lab.explain import Certificate
from tps_lab.explain.subjects import SUBJECTS

HERE, PAGE = Path(__file__).parent, Path(__file__).parents[2] / "docs" / "certificates.md"
HEAD = """# Does it see time at all?

What well-known video models can tell of the order of frames. Nothing here is trained: a model's symmetries follow
from its architecture, and random weights show them. Made by `python reports/certificates/make.py`; for a model of
your own run `tps-lab certify FILE.py:factory`.

**Same under** names every rearrangement of frames that never changes the answer. **Order from** is the first place
in the model where the order of frames (of whole tubelets, where frames are read in tubelets) matters. **Position**
says whether time steps get a position that changes over frames; – where frames meet in the first layer, a
convolution, so that there is nothing to compare. Models are small ones of their kind: what they can tell does not
depend on their width. A certificate holds for almost all weights, not for every one; what it says about accuracy is
a ceiling ("cannot"), never a promise ("can be learnt").

| Model | Clip | Verdict | Same under | Order from | Position | Witness ÷ rounding | CPU s |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
Why each should be so, from its definition:

"""
BUG = """
## A released bug

In transformers 5.3.0 the language models of Qwen2-VL and Qwen2.5-VL were given the same temporal position for every
frame of a video ([issue 45381](https://github.com/huggingface/transformers/issues/45381), mended in
[pull request 45400](https://github.com/huggingface/transformers/pull/45400)). Reading from left to right they still
told orders apart, so that no test of shuffling would have found it; the certificate watches the positions:

```sh
python reports/certificates/released_bug.py   # installs both versions into folders of their own
```

```
5.3.0   qwen2-vl    sees order from block 0 on, though every frame has the same temporal position
5.3.0   qwen2.5-vl  sees order from block 0 on, though every frame has the same temporal position
5.24.0  qwen2-vl    sees order from block 0 on
5.24.0  qwen2.5-vl  sees order from block 0 on
```
"""


def row(found: Certificate, seconds: float) -> str:
    inside, witness = found.inside, found.witness
    position = {True: "changes", False: "the same", None: "–"}[inside.position]
    ratio = "–" if witness is None else f"{witness.difference / found.floor:.0e}"
    order = f"`{inside.order_from}`" if inside.order_from and not found.symmetry.blind else "–"
    clip = "×".join(map(str, found.layout.shape))
    said = found.verdict.partition(";")[0].partition(":")[0].partition(" from ")[0].partition(" already")[0]
    cells = found.model, clip, f"**{said}**", found.symmetry, order, position, ratio, f"{seconds:.0f}"
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> int:
    rows, wrong, facts = "", [], {}
    for subject in SUBJECTS.values():
        start = time.process_time()
        torch.manual_seed(0)
        found = certify(subject.make(), subject.shape, axes=subject.axes, name=subject.name)
        rows += row(found, time.process_time() - start)
        facts[subject.name] = found.facts()
        if found.kind != subject.truth or found.faults:
            wrong.append(f"{subject.name}: {found.verdict}, but by its definition {subject.truth}")
        name = "".join(c if c.isalnum() else "-" for c in subject.name)
        (HERE / "badges").mkdir(exist_ok=True)
        (HERE / "badges" / f"{name}.svg").write_text(viz.badge(found), encoding="utf-8")
        print(f"{subject.name:<30}{found.verdict}", flush=True)
    whys = "".join(f"- {s.name}: {s.truth}, for {s.why}.\n" for s in SUBJECTS.values())
    (HERE / "certificates.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    PAGE.write_text(HEAD + rows + TAIL + whys + BUG, encoding="utf-8")
    print(PAGE, *wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
