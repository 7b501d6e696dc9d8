"""Where multiply-adds, bytes and activations go: per stage and per operation of a traced model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tps_lab.measure.trace import Trace

OPERATIONS = (
    "embed", "qkv", "attention products", "proj", "position bias", "shift, copies", "mlp", "convolution", "merging",
    "norm", "residual", "head", "other",
)  # fmt: skip

_QKV = frozenset("qkv q kv k v q_proj k_proj v_proj query key value in_proj sr".split())
_PROJ = frozenset("proj out out_proj attn_out_proj mlp_out_proj proj_drop".split())
_EMBED = frozenset("patch_embed stem pos_drop patch_drop norm_pre rope".split())
_HEAD = frozenset("head fc_norm attn_pool head_dist head_drop global_pool".split())
_ATTENTIONS = frozenset("attn attention attns attn_block attn_grid".split())
_MERGING = frozenset("downsample reduction".split())
_PRODUCTS = re.compile(r"bmm|attention|softmax")
_MOVES = re.compile(r"index|gather|embedding|roll|cat|stack|clone|copy|slice|select|split|pad|repeat|view|where")


@dataclass(frozen=True)
class Part:
    """One operation of one stage: multiply-adds and bytes of forward and backward, bytes kept for backward."""

    stage: str
    operation: str
    macs: int
    backward_macs: int
    bytes: int
    backward_bytes: int
    activation_bytes: int

    def row(self) -> dict[str, Any]:
        return self.__dict__.copy()


def breakdown(trace: Trace) -> list[Part]:
    """The parts of a traced training step (or forward pass), in the order in which they come; sums are the trace's."""
    sums: dict[tuple[str, str], list[int]] = {}

    def add(path: str, operator: str, column: int, amount: int) -> None:
        key = (stage_of(path), operation_of(path, trace.kinds.get(path, ""), operator))
        sums.setdefault(key, [0] * 5)[column] += amount

    for kernel in trace.kernels:
        later = kernel.phase == "backward"
        add(kernel.path, kernel.name, 1 if later else 0, kernel.macs)
        add(kernel.path, kernel.name, 3 if later else 2, kernel.bytes)
    for path, kept in trace.kept.items():
        add(path, "", 4, kept)
    return [Part(stage, operation, *figures) for (stage, operation), figures in sums.items()]


def stage_of(path: str) -> str:
    """A pyramid's stage, a plain ViT's block, or what stands before, behind and around them."""
    if "after" in path.split("."):
        return "temporal encoder"
    if match := re.search(r"(?:layers|stages)\.(\d+)", path):
        return f"stage {int(match[1]) + 1}"
    if match := re.search(r"blocks\.(\d+)", path):
        return f"block {int(match[1]) + 1}"
    names = set(path.split("."))
    if names & _EMBED:
        return "embed"
    return "head" if names & _HEAD else "outside blocks"


def operation_of(path: str, kind: str, operator: str) -> str:
    """What a kernel does, by the module that it runs in, the module's class and its own name."""
    names = path.split(".")
    inside, leaf = set(names), names[-1]
    if stage_of(path) == "embed":
        return "embed"
    if stage_of(path) == "head":
        return "head"
    if any(name.startswith(("cpb_mlp", "rel_pos")) for name in names):
        return "position bias"
    if "Norm" in kind or leaf.startswith("norm"):
        return "norm"
    if any(name.startswith(("mlp", "ffn")) for name in names) and leaf not in _PROJ:
        return "mlp"
    if inside & _MERGING:
        return "merging"
    if inside & _ATTENTIONS or "Attention" in kind:
        return _in_attention(leaf, operator)
    if any("conv" in name for name in names) or "Conv" in kind:
        return "convolution"
    if stage_of(path) == "outside blocks":
        return "other"
    return "proj" if leaf in _PROJ else "residual"


def _in_attention(leaf: str, operator: str) -> str:
    if leaf in _QKV:
        return "qkv"
    if leaf in _PROJ:
        return "proj"
    if _PRODUCTS.search(operator) or not operator:
        return "attention products"
    if operator in ("aten.mm", "aten.addmm"):  # a projection whose weights the attention uses itself
        return "qkv"
    return "shift, copies" if _MOVES.search(operator) else "attention products"


def text(parts: Iterable[Part], batch: int = 1) -> str:
    """Two tables for the terminal: by operation, by stage; shares in percent."""
    parts = list(parts)
    whole = [sum(_figures(part)[i] for part in parts) for i in range(4)]
    lines = [f"Where it goes, batch {batch}: multiply-adds (G), bytes moved (MiB), activations kept for backward (MiB)"]
    for what, order in (("operation", OPERATIONS), ("stage", tuple(dict.fromkeys(part.stage for part in parts)))):
        heads = ("forward", "fwd+bwd", "bytes fwd", "bytes f+b", "kept")
        lines += ["", f"{what:20}{heads[0]:>11}" + "".join(f"{head:>11}{'%':>6}" for head in heads[1:])]
        for name in order:
            chosen = [part for part in parts if getattr(part, what) == name]
            if chosen:
                lines.append(_line(name, chosen, whole))
    return "\n".join([*lines, _line("all", parts, whole)])


def _figures(part: Part) -> tuple[int, int, int, int]:
    both = part.macs + part.backward_macs
    return both, part.bytes, part.bytes + part.backward_bytes, part.activation_bytes


def _line(name: str, parts: list[Part], whole: list[int]) -> str:
    sums = [sum(_figures(part)[i] for part in parts) for i in range(4)]
    cells = [f"{sums[0] / 1e9:11.4f}", *(f"{figure / 2**20:11.2f}" for figure in sums[1:])]
    shares = [f"{100 * figure / all_:6.1f}" if all_ else f"{'–':>6}" for figure, all_ in zip(sums, whole, strict=True)]
    pairs = "".join(cell + share for cell, share in zip(cells, shares, strict=True))
    return f"{name:20}{sum(part.macs for part in parts) / 1e9:11.4f}{pairs}"
