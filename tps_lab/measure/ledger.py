"""What a model's work amounts to, without running it: `tps-lab cost --breakdown`, `--device-model`.

Multiply-adds needed and executed, forward and backward, by closed form and by torch's counter; bytes
moved; roofline times; parts. Plain data and its text for a terminal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from tps_lab.errors import InputError, shortened
from tps_lab.measure.breakdown import Part, breakdown
from tps_lab.measure.breakdown import text as breakdown_text
from tps_lab.measure.flops import Macs
from tps_lab.measure.predict import PRECISIONS
from tps_lab.measure.roofline import device, estimate
from tps_lab.measure.trace import trace
from tps_lab.measure.work import work
from tps_lab.specs import whole

_HOW = "torch's kernels on fake tensors, each reading its inputs and writing its outputs once"


def views_of(given: str | None) -> int:
    """How many views "3x4" or "12" are; None is 1.

    Raises:
        InputError: neither.
    """
    factors = [whole(factor) for factor in ("1" if given is None else given).replace("×", "x").split("x")]
    if len(factors) > 2 or not all(factor is not None and 1 <= factor <= 1_000 for factor in factors):
        raise InputError(f"views must be a number or crops x clips, such as 3x4, got {shortened(str(given))!r}")
    return math.prod(factor or 1 for factor in factors)


def ledger(
    make: Callable[[], nn.Module],
    batch: int = 1,
    devices: Sequence[str] = (),
    precision: str = "fp32",
    fused: bool = True,
    checkpointing: bool = False,
) -> tuple[dict[str, Any], list[Part]]:
    """All of it for the model that `make` makes (called on torch's meta device), and its parts.

    Args:
        batch: clips per step, for bytes, parts and times; multiply-adds are per clip.
        devices: of `roofline.DEVICES`, or "cpu".
        precision: fp32, or the type of autocast.
        fused, checkpointing: as for `trace`.

    Returns:
        work (see `Work.row`, with `by_counter` and `status`), traffic_bytes, roofline, breakdown.

    Raises:
        InputError: an unknown device or precision, or one that the device has no figure for.
    """
    import torch

    targets = [device(name) for name in devices]
    for target in targets:
        if precision not in target.flops:
            raise InputError(f"{target.name} has no {precision} peak here; it has: {', '.join(target.flops)}")
    lower = PRECISIONS[precision]
    step = trace(make, batch, True, fused, lower, checkpointing)
    inference = trace(make, batch, False, fused, lower)
    with torch.device("meta"):
        model = make()
    formula = work(model, fused)
    needs = sum(p.numel() for p in model.parameters())
    counted = {
        "forward": Macs({"torch": inference.macs() // batch, "closed form": formula.executed["forward"]}, {}),
        "forward + backward": Macs(
            {"torch": step.macs() // batch, "closed form": formula.executed["forward + backward"]}, {}
        ),
    }
    row = formula.row()
    if checkpointing:  # what runs again is for the counter to see; there is no closed form of it
        again = step.macs() // batch - formula.executed["forward + backward"]
        row["recomputed_by_checkpointing"] = again
        row["executed"] = {name: macs + again * (name != "forward") for name, macs in formula.executed.items()}
        del counted["forward + backward"]
    row["by_counter"] = {name: macs.by_counter for name, macs in counted.items()}
    row["status"] = {name: macs.status for name, macs in counted.items()}
    parts = breakdown(step)
    facts = {
        "params": needs,
        "work": row,
        "traffic_bytes": {
            "inference": inference.bytes(),
            "forward": step.bytes("forward"),
            "backward": step.bytes("backward"),
            # AdamW in one kernel: reads weights, gradients and two moments, writes all but the gradients, in float32
            "optimizer": 7 * 4 * needs,
            "batch": batch,
            "precision": precision,
            "how": f"estimated: {_HOW}; optimizer by formula for fused AdamW",
        },
        "roofline": {
            name: {
                "inference": estimate(inference, target, precision).row(batch),
                "training": estimate(step, target, precision).row(batch),
            }
            for name, target in zip(devices, targets, strict=True)
        },
        "breakdown": [part.row() for part in parts],
    }
    return facts, parts


def text(facts: Mapping[str, Any], parts: Sequence[Part] | None, views: int = 1) -> str:
    """For the terminal."""
    row, moved = facts["work"], facts["traffic_bytes"]
    lines = [
        f"{'multiply-adds per clip (G)':28}{'model':>12}{'executed':>12}  {'counters':10}",
    ]
    for name in ("forward", "backward", "forward + backward"):
        status = row["status"].get(name, "")
        by = row["by_counter"].get(name, {}) if status == "disputed" else {}
        status += " " + ", ".join(f"{counter} {count:,}" for counter, count in by.items()) if by else ""
        lines.append(f"  {name:26}{row['model'][name] / 1e9:12.4f}{row['executed'][name] / 1e9:12.4f}  {status}")
    if views > 1:
        lines.append(f"  {f'forward, × {views} views':26}{views * row['model']['forward'] / 1e9:12.4f}"
                     f"{views * row['executed']['forward'] / 1e9:12.4f}")  # fmt: skip
    extra = {f"forward, {why}": macs for why, macs in row["idle_forward"].items()}
    extra |= {"backward, scores again": row["recomputed_backward"]} if row["recomputed_backward"] else {}
    if row.get("recomputed_by_checkpointing"):
        extra["backward, blocks again"] = row["recomputed_by_checkpointing"]
    lines += [f"    not in model: {why} {macs / 1e9:.4f} G" for why, macs in extra.items()]
    lines += [
        "",
        f"bytes moved (MiB), batch {moved['batch']}, {moved['precision']}",
        *(f"  {name:26}{moved[name] / 2**20:12.1f}" for name in ("inference", "forward", "backward", "optimizer")),
        f"    ({moved['how']})",
    ]
    if facts["roofline"]:
        lines += ["", f"roofline, batch {moved['batch']} (ms)           inference   training   waiting for memory"]
    for both in facts["roofline"].values():
        one, other = both["inference"], both["training"]
        share = f"{100 * one['memory_bound_share']:.0f} % / {100 * other['memory_bound_share']:.0f} %"
        lines += [f"  {one['device'][:33]:33}{one['ms']:>11}{other['ms']:>11}   {share}", f"    ({one['how']})"]
    if parts is not None:
        lines += ["", breakdown_text(parts, moved["batch"])]
    return "\n".join(lines)
