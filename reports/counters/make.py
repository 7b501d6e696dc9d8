"""What common counters say of the same models: `python reports/counters/make.py`.

Each counter is one function here, model and clip to its own figure; nothing is corrected. `UNITS` says
by what a figure is divided to be multiply-adds. Counters that are not installed say so.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from study import advancing, command, write_csv, write_page  # noqa: E402

MODELS: dict[str, dict[str, Any]] = {
    "two ViT-B blocks, joint": {
        "name": "vit_base_patch16_224", "attention": "joint", "frames": 16, "tubelet": 2, "depth": 2,
        "num_classes": 174, "class_token": False, "global_pool": "avg",
    },
    "Swin-T, TPS": {
        "name": "swin_tiny_patch4_window7_224", "attention": "tps(pattern=A)", "frames": 8, "tubelet": 2,
        "num_classes": 174,
    },
    "TinyViT-5M, TPS": {
        "name": "tiny_vit_5m_224", "attention": "tps(pattern=A)", "frames": 3, "num_classes": 174,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Counter:
    """A counter as its readers use it.

    Args:
        package: whose version is printed.
        per_mac: how many of its units a multiply-add is.
        count: model and clip to its figure.
        why: one sentence on what it leaves out or adds.
    """

    package: str
    per_mac: int
    count: Callable[[Any, Any], float]
    why: str


def _closed(model: Any, clip: Any) -> float:
    return sum(model.closed_form_macs().values())


def _fvcore_ours(model: Any, clip: Any) -> float:
    from tps_lab.measure.macs import by_fvcore

    return by_fvcore(model, clip)


def _fvcore_plain(model: Any, clip: Any) -> float:
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    found = FlopCountAnalysis(model, clip).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return float(found.tracer_warnings("none").total())


def _torch_ours(model: Any, clip: Any) -> float:
    from tps_lab.measure.macs import by_torch

    return 2 * by_torch(model, clip)


def _torch_plain(model: Any, clip: Any) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(clip)
    return counter.get_total_flops()


def _profiler(model: Any, clip: Any) -> float:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as found:
        model(clip)
    return float(sum(event.flops for event in found.key_averages()))


def _thop(model: Any, clip: Any) -> float:
    from thop import profile

    return profile(model, inputs=(clip,), verbose=False)[0]


def _ptflops(backend: str) -> Callable[[Any, Any], float]:
    def count(model: Any, clip: Any) -> float:
        from ptflops import get_model_complexity_info

        macs, _ = get_model_complexity_info(
            model, tuple(clip.shape[1:]), as_strings=False, print_per_layer_stat=False, verbose=False, backend=backend
        )
        if macs is None:
            raise RuntimeError("it could not run the model")
        return macs

    return count


def _torchinfo(model: Any, clip: Any) -> float:
    from torchinfo import summary

    return summary(model, input_data=clip, verbose=0).total_mult_adds


COUNTERS: dict[str, Counter] = {
    "closed form (tps_lab)": Counter(
        "tps_lab", 1, _closed,
        "The reference: linear layers, convolutions and attention products, including those on padding.",
    ),
    "fvcore with tps_lab's handlers": Counter(
        "fvcore", 1, _fvcore_ours,
        "The same, because we add a formula for fused attention and leave out norms and pooling."
    ),
    "torch FlopCounterMode with tps_lab's formulas": Counter(
        "torch", 2, _torch_ours,
        "The same, because we add a formula for the fused CPU kernel; a multiply-add counts as two here."
    ),
    "fvcore as it comes": Counter(
        "fvcore", 1, _fvcore_plain,
        "It has no formula for fused attention, which counts 0. It counts norms and pooling, which others leave out.",
    ),
    "torch FlopCounterMode as it comes": Counter(
        "torch", 2, _torch_plain,
        "Before torch 2.15 the fused CPU kernel has no formula and counts 0. It is right where the CPU uses another "
        "kernel (TinyViT's bias), and on CUDA, whose kernels have formulas.",
    ),
    "torch.profiler with_flops": Counter(
        "torch", 2, _profiler,
        "It counts matrix products, convolutions, and elementwise sums and products, but no fused attention.",
    ),
    "thop": Counter(
        "thop", 1, _thop,
        "It hooks modules of known classes, so attention products count 0. It adds norms of torch's own classes but "
        "not timm's.",
    ),
    "ptflops, pytorch backend": Counter(
        "ptflops", 1, _ptflops("pytorch"),
        "It hooks modules and patches functions, but not fused attention, which counts 0. It adds norms, activations, "
        "biases and sums.",
    ),
    "ptflops, aten backend": Counter(
        "ptflops", 1, _ptflops("aten"),
        "It counts the dispatcher's matrix products, convolutions and elementwise operators; fused attention counts 0.",
    ),
    "torchinfo": Counter(
        "torchinfo", 1, _torchinfo,
        "For a linear layer it multiplies the weights by the batch, not by the tokens. What has no weights, such as "
        "attention products, counts 0. Convolutions are right.",
    ),
}  # fmt: skip


def count_all(advance: Callable[[int, str | None], None] = lambda done, status: None) -> list[dict[str, Any]]:
    """Every counter on every model, each on a model of its own (some leave things behind in it).

    Returns:
        Rows of model, counter, version, macs (None where it failed or is not installed), status.
    """
    import torch

    from tps_lab import create_model

    rows = []
    for model_name, given in MODELS.items():
        torch.manual_seed(0)
        for name, counter in COUNTERS.items():
            row: dict[str, Any] = {
                "model": model_name,
                "counter": name,
                "version": _version(counter.package),
                "macs": None,
            }
            if row["version"] is None:
                rows.append(row | {"status": f"not installed: pip install {counter.package}"})
                continue
            model: Any = create_model(**given).eval()
            clip = torch.zeros(1, *model.clip_shape)
            try:
                with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    figure = counter.count(model, clip)
                rows.append(row | {"macs": int(figure) // counter.per_mac, "status": "counted"})
            except Exception as error:  # a counter's failure is what it says of the model
                rows.append(row | {"status": f"failed: {type(error).__name__}: {error}".splitlines()[0]})
            advance(len(rows), None)
    return rows


def _version(package: str) -> str | None:
    if package == "tps_lab":
        from tps_lab import __version__

        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def left_out(model: Any) -> dict[str, int]:
    """Multiply-adds of the parts that counters differ in, by closed form."""
    from tps_lab.measure.macs import work

    return {"attention products": work(model).products, "all": sum(model.closed_form_macs().values())}


def publish(rows: list[dict[str, Any]], out: Path) -> Path:
    """report.md and counters.csv."""
    import torch

    from tps_lab import create_model

    write_csv(out / "counters.csv", rows)
    with torch.device("meta"):
        known = {name: left_out(create_model(**given)) for name, given in MODELS.items()}
    return write_page(
        HERE / "template.md", out, models=MODELS, parts=known, counters=COUNTERS, rows=rows, short=_short(rows, known)
    )


def _short(rows: list[dict[str, Any]], known: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Counts that are short by the attention products, to the integer."""
    of = [(row, known[row["model"]]) for row in rows if row["macs"] is not None]
    return [row for row, parts in of if parts["all"] - row["macs"] == parts["attention products"]]


def main(
    out: Annotated[Path, typer.Option(help="Where report.md and counters.csv go.")] = HERE, quiet: bool = False
) -> None:
    """What common counters (fvcore, torch, thop, ptflops, torchinfo) say of the same models, and why they differ."""
    with advancing("counts", len(MODELS) * len(COUNTERS), quiet) as advance:
        rows = count_all(advance)
    print(publish(rows, out))


if __name__ == "__main__":
    command(main)
