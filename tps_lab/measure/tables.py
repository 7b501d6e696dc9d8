"""Measured and predicted costs side by side, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PARTS = ("parameters", "gradients", "optimizer", "activations", "temporary", "overhead")


def memory_table(rows: Sequence[Mapping[str, Any]], impossible: Mapping[str, str]) -> str:
    """Predicted peaks of several variants, a line each (`many.memory_facts`)."""
    if not rows:
        return "\n".join(f"{name}: {why}" for name, why in impossible.items())
    wide = max(len(_name(row)) for row in rows)
    sizes = list(rows[0]["largest_batch"])
    head = ["training", *_PARTS, "reserved", "inference"]
    lines = [
        f"{rows[0]['backbone']}, batch {rows[0]['batch']}, {rows[0]['precision']}, {rows[0]['optimizer']}: "
        f"{rows[0]['peak_memory_bytes']['how']}",
        "",
        f"{'':{wide}}  GiB at the training step's peak, then reserved for it, and inference",
        f"{'':{wide}}" + "".join(f"{word:>12}" for word in head),
    ]
    for row in rows:
        memory, parts = row["peak_memory_bytes"], row["training_parts_bytes"]
        figures = [memory["training"], *(parts[part] for part in _PARTS)]
        figures += [memory["training_reserved"], memory["inference"]]
        lines.append(f"{_name(row):{wide}}" + "".join(f"{figure / 2**30:>12.3f}" for figure in figures))
    lines += [
        "",
        f"{'':{wide}}  largest batch on a GPU of",
        f"{'':{wide}}" + "".join(f"{size:>12}" for size in sizes),
    ]
    for row in rows:
        lines.append(f"{_name(row):{wide}}" + "".join(f"{row['largest_batch'][size] or 'none':>12}" for size in sizes))
    lines += [""] * bool(impossible)
    lines += [f"{name}: {why}" for name, why in impossible.items()]
    return "\n".join(lines)


def latency_text(facts: Mapping[str, Any]) -> str:
    """What `tps-lab latency` found."""
    timed = facts["latency_ms"]
    wide = max(map(len, [*timed, *facts["failures"]]))
    lines = [f"{facts['backbone']}, clip (C, T, H, W) = {tuple(facts['clip_shape'])}"]
    lines += [next(iter(timed.values()))["how"], ""] if timed else [""]
    lines.append(f"{'':{wide}}    median       IQR   × {facts['baseline']} (95 %)")
    for name, row in timed.items():
        ratio = facts["ratio"].get(name)
        beside = "" if ratio is None else f"   {ratio['median']:.3f}"
        if ratio is not None and ratio["low"] is not None:
            beside += f" ({ratio['low']:.3f} to {ratio['high']:.3f})"
        compiled = f"   compiled in {row['compile_seconds']:.1f} s" if "compile_seconds" in row else ""
        lines.append(f"{name:{wide}}  {row['median']:8.2f}  {row['iqr']:8.2f} ms{beside}{compiled}")
    lines += [f"{name:{wide}}  {why}" for name, why in facts["failures"].items()]
    around, after = facts["conditions"], facts["conditions"]["after"]
    lines += ["", f"{around['gpu'] or around['cpu']}, {around['threads']} threads, torch {around['torch']}"]
    now = [f"{key} {value}" for key, value in after.items() if value is not None]
    return "\n".join([*lines, "afterwards: " + ", ".join(now)])


def _name(row: Mapping[str, Any]) -> str:
    extra = ["unfused"] if not row["fused"] else []
    extra += ["checkpointing"] if row["checkpointing"] else []
    return ", ".join([row["attention"], *extra])
