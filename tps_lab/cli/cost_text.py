"""What models cost, as text: one in detail, or several side by side. Who prints it breaks its longest lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tps_lab.text import table

if TYPE_CHECKING:
    from tps_lab.measure.timing import Compared
    from tps_lab.measure.trace import Part

Facts = Mapping[str, Any]
_PARTS = ("parameters", "gradients", "optimizer", "activations", "temporary", "overhead")
_TIMED = {"latency_ms": "inference of one clip", "batch_ms": "inference", "train_step_ms": "training step"}


def one(facts: Facts, parts: Sequence[Part] | None = None) -> str:
    """One variant: parameters, multiply-adds, memory by part, largest batches, times, bytes moved.

    Args:
        facts: of `measure.cost_figures.count_and_predict`, with those of `measured` over them if it was run.
        parts: of a training step, if they shall be shown.
    """
    macs = "not counted" if facts["macs"] is None else f"{facts['macs'] / 1e9:.4f} G per clip"
    counters = ", ".join(
        f"{name} {count:,}" if count else f"{name} –" for name, count in facts["macs_by_counter"].items()
    )
    lines = [
        f"{facts['backbone']}, {facts['attention']}",
        _setting(facts),
        "",
        _fact("parameters", f"{facts['params'] / 1e6:.3f} M"),
        _fact("multiply-adds", f"{macs} ({facts['macs_status']}: {counters})"),
    ]
    memory, predicted = facts["peak_memory_bytes"], facts.get("predicted_memory_bytes", facts["peak_memory_bytes"])
    if memory is not predicted and memory:
        lines += _peaks("memory", memory)
    if predicted:
        lines += ["", *_peaks("memory", predicted), "", *_by_part(facts)]
        sizes = facts["largest_batch"].items()
        lines += ["", _fact("largest batch", ", ".join(f"{size}: {batch or 'none'}" for size, batch in sizes))]
    if facts["latency_ms"] or facts["train_step_ms"]:
        lines += ["", *_times(facts)]
    reasons: dict[str, list[str]] = {}
    for figure, why in facts["missing"].items():
        reasons.setdefault(why, []).append(figure)
    lines += [""] * bool(reasons)
    lines += [_fact("missing", f"{', '.join(figures)}: {why}") for why, figures in reasons.items()]
    if facts.get("work"):
        lines += ["", *_work(facts["work"], facts["views"]), "", *_traffic(facts["traffic_bytes"])]
    if facts.get("roofline"):
        lines += ["", *_roofline(facts)]
    if parts:
        lines += ["", where_it_goes(parts, facts["batch"])]
    return "\n".join(lines)


def several(rows: Sequence[Facts], impossible: Mapping[str, str]) -> str:
    """Several variants: a line each in a table of costs, one of memory by part and one of largest batches."""
    lines = []
    if rows:
        first = rows[0]
        names = [row["attention"] for row in rows]
        lines += [f"{first['backbone']}, {_setting(first)}", ""]
        if any("predicted_memory_bytes" in row for row in rows):
            lines += ["measured"]
        lines.append(_table(
            ["parameters", "multiply-adds", f"× {names[0]}" if len(names[0]) < 12 else "× first", "training",
             "inference", "reserved"],
            {name: [f"{row['params'] / 1e6:.2f} M", _giga(row["macs"]), _ratio(row["macs"], first["macs"]),
                    *(_gib(row["peak_memory_bytes"], what) for what in ("training", "inference", "training_reserved"))]
             for name, row in zip(names, rows, strict=True)},
        ))  # fmt: skip
        memory = first["peak_memory_bytes"]
        lines += [f"multiply-adds of one clip; peak memory in GiB, {memory['how'] if memory else 'unknown'}", ""]
        shown = {name: row for name, row in zip(names, rows, strict=True) if row.get("largest_batch")}
        if shown:
            lines += ["predicted for a GPU: GiB at the training step's peak"]
            lines.append(_table(_PARTS, {name: [f"{row['training_parts_bytes'][part] / 2**30:.3f}" for part in _PARTS]
                                         for name, row in shown.items()}))  # fmt: skip
            lines += ["", "largest batch that trains on a GPU of"]
            sizes = list(next(iter(shown.values()))["largest_batch"])
            lines.append(_table(sizes, {name: [str(row["largest_batch"][size] or "none") for size in sizes]
                                        for name, row in shown.items()}))  # fmt: skip
        for device in first.get("roofline") or ():
            lines += ["", f"roofline on {device}, batch {first['batch']}, ms: {_bound(first, device)}"]
            kinds = ("inference", "training")
            best = {name: [str(row["roofline"][device][kind]["ms"]) for kind in kinds]
                    for name, row in zip(names, rows, strict=True)}  # fmt: skip
            lines.append(_table(kinds, best))
        missing = [(name, *one) for name, row in zip(names, rows, strict=True) for one in row["missing"].items()]
        # but for what is so wherever nothing was run
        lines += [f"{name}: {figure}: {why}" for name, figure, why in missing if not why.startswith("not measured")]
    lines += [""] * bool(rows and impossible)
    return "\n".join([*lines, *(f"{name}: {why}" for name, why in impossible.items())])


def timings(timed: Mapping[str, Compared], batch: int) -> str:
    """A table for each timing: medians, and how many times as long as the first; and under what conditions."""
    lines = []
    for figure, found in timed.items():
        if figure == "batch_ms" and batch == 1:
            continue
        what = _TIMED[figure] + ("" if figure == "latency_ms" else f", batch {batch}")
        first = next(iter(found.timings.values()), None)
        lines += [f"{what}, ms" + (f": {first.how}" if first else "")]
        baseline = f"× {found.baseline}" if len(found.baseline) < 12 else "× first"
        compiled = any(timing.compile_seconds is not None for timing in found.timings.values())
        rows = {}
        for name, timing in found.timings.items():
            ratio = found.ratios.get(name)
            known = ratio is not None and ratio.low == ratio.low
            rows[name] = [f"{timing.median:.2f}", f"{timing.iqr:.2f}", f"{ratio.median:.3f}" if ratio else "–",
                          f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio and known else "–"]  # fmt: skip
            rows[name] += ["–" if timing.compile_seconds is None else f"{timing.compile_seconds:.1f}"] * compiled
        lines.append(_table(["median", "IQR", baseline, "95 %", *["compiled, s"] * compiled], rows))
        lines += [*(f"{name}: {why}" for name, why in found.failures.items()), ""]
    around = next(iter(timed.values())).conditions
    now = [f"{key} {value}" for key, value in around["after"].items() if value is not None]
    lines += [f"{around['gpu'] or around['cpu']}, {around['threads']} threads, torch {around['torch']}"]
    return "\n".join([*lines, "afterwards: " + ", ".join(now)])


# ---------------------------------------------------------------------- parts of these


def _setting(facts: Facts) -> str:
    """What was asked."""
    said = [f"clip (C, T, H, W) = {tuple(facts['clip_shape'])}", f"batch {facts['batch']}", facts["precision"]]
    said += [facts["optimizer"], "fused attention" if facts["fused"] else "unfused attention"]
    return ", ".join(said + ["gradient checkpointing"] * facts["checkpointing"])


def _peaks(label: str, memory: Facts) -> list[str]:
    lines = []
    for what in ("training", "inference"):
        reserved = memory[f"{what}_reserved"]
        beside = f", {reserved / 2**30:.3f} GiB reserved" if reserved else ""
        lines.append(_fact(label if what == "training" else "", f"{memory[what] / 2**30:.3f} GiB {what}{beside}"))
    return [*lines, _fact("", f"({memory['how']})")]


def _by_part(facts: Facts) -> list[str]:
    most = facts["most_of_each_part_bytes"]
    rows = {
        part: [f"{size / 2**30:.3f}", f"{most[part] / 2**30:.3f}"]
        for part, size in facts["training_parts_bytes"].items()
    }
    return [
        _table(["at the peak, GiB", "at most, GiB"], rows, first="of training"),
        "overhead: cuBLAS's workspaces, and what memory blocks have beyond what was asked for",
    ]


def _times(facts: Facts) -> list[str]:
    lines = []
    if facts["latency_ms"]:
        lines.append(_timing("latency", facts["latency_ms"]))
    if facts["clips_per_second"]:
        lines.append(_fact("throughput", f"{facts['clips_per_second']:.1f} clips/s at batch {facts['batch']}"))
    if facts["train_step_ms"]:
        lines.append(_timing("training step", facts["train_step_ms"]))
    return lines


def _timing(label: str, row: Facts) -> str:
    compiled = f", compiled in {row['compile_seconds']:.1f} s" if "compile_seconds" in row else ""
    return _fact(label, f"{row['median']:.2f} ms, IQR {row['iqr']:.2f}{compiled} ({row['how']})")


def _work(work: Facts, views: int) -> list[str]:
    rows = {}
    for name in ("forward", "backward", "forward + backward"):
        rows[name] = [_giga(work["model"][name]), _giga(work["executed"][name]), work["status"].get(name, "")]
    if views > 1:
        name = f"forward, × {views} views"
        rows[name] = [_giga(views * work["model"]["forward"]), _giga(views * work["executed"]["forward"]), ""]
    extra = {f"forward, {why}": macs for why, macs in work["idle_forward"].items()}
    extra |= {"backward, scores again": work["recomputed_backward"]} if work["recomputed_backward"] else {}
    if work.get("recomputed_by_checkpointing"):
        extra["backward, blocks again"] = work["recomputed_by_checkpointing"]
    disputed = [
        f"{name}: " + ", ".join(f"{counter} {count:,}" for counter, count in work["by_counter"][name].items())
        for name, status in work["status"].items()
        if status == "disputed"
    ]
    return [
        _table(["needed", "executed", "counters"], rows, first="multiply-adds per clip"),
        *(f"executed, not needed: {why} {macs / 1e9:.4f} G" for why, macs in extra.items()),
        *disputed,
    ]


def _traffic(moved: Facts) -> list[str]:
    kinds = ("inference", "forward", "backward", "optimizer")
    title = f"moved, MiB, batch {moved['batch']}, {moved['precision']}"
    return [_table(kinds, {title: [f"{moved[kind] / 2**20:.1f}" for kind in kinds]}), f"({moved['how']})"]


def _roofline(facts: Facts) -> list[str]:
    rows = {}
    for both in facts["roofline"].values():
        one_, other = both["inference"], both["training"]
        shares = [f"{100 * found['memory_bound_share']:.0f} %" for found in (one_, other)]
        rows[one_["device"]] = [str(one_["ms"]), str(other["ms"]), " / ".join(shares)]
    head = ["inference", "training", "waiting for memory"]
    how = [f"({name}: {_bound(facts, name)})" for name in facts["roofline"]]
    return [_table(head, rows, first=f"roofline, ms, batch {facts['batch']}"), *how]


def _bound(facts: Facts, device: str) -> str:
    return str(facts["roofline"][device]["inference"]["how"])


def where_it_goes(parts: Sequence[Part], batch: int) -> str:
    """Two tables: by operation, by stage; shares in percent."""
    from tps_lab.measure.trace import OPERATIONS

    whole = _sums(parts)
    lines = [f"Where it goes, batch {batch}: multiply-adds (G), MiB moved, MiB kept for backward; shares in %"]
    for what, order in (("operation", OPERATIONS), ("stage", tuple(dict.fromkeys(part.stage for part in parts)))):
        grouped = {name: [part for part in parts if getattr(part, what) == name] for name in order}
        rows = {name: _shares(chosen, whole) for name, chosen in [*grouped.items(), ("all", list(parts))] if chosen}
        heads = ["forward", "+ back", "%", "forward", "+ back", "%", "kept", "%"]
        lines += ["", _table(heads, rows, first=what)]
    return "\n".join(lines)


def _sums(parts: Iterable[Part]) -> list[int]:
    rows = [(p.macs, p.macs + p.backward_macs, p.bytes, p.bytes + p.backward_bytes, p.activation_bytes) for p in parts]
    return [sum(column) for column in zip(*rows, strict=True)]


def _shares(parts: Sequence[Part], whole: Sequence[int]) -> list[str]:
    forward, both, moved, moved_both, kept = _sums(parts)
    share = [f"{100 * mine / all_:.1f}" if all_ else "–" for mine, all_ in zip(_sums(parts), whole, strict=True)]
    mib = [f"{size / 2**20:.1f}" for size in (moved, moved_both, kept)]
    return [f"{forward / 1e9:.3f}", f"{both / 1e9:.3f}", share[1], mib[0], mib[1], share[3], mib[2], share[4]]


def _giga(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e9:.4f} G"


def _ratio(count: int | None, first: int | None) -> str:
    return f"{count / first:.3f}" if count and first else "–"


def _gib(memory: Facts | None, what: str) -> str:
    return f"{memory[what] / 2**30:.3f}" if memory and memory[what] else "–"


# ---------------------------------------------------------------------- lines and tables


def _fact(label: str, text: str) -> str:
    return f"{label:<16}{text}"


def _table(head: Sequence[str], rows: Mapping[str, Sequence[str]], first: str = "") -> str:
    """Names at the left, figures at the right."""
    return table([first, *head], [[name, *figures] for name, figures in rows.items()])
