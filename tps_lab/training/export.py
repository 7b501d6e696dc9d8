"""A trained model as a file that runs without this package, checked against the model itself.

`torch` is a program of torch.export (a .pt2 file, loaded by torch alone); `onnx` runs in ONNX runtimes. The
batch is fixed, as windows are laid out for it. What was exported is loaded again and run on random clips
beside the model; if they differ, nothing is left.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tps_lab import files
from tps_lab.errors import InputError, unknown
from tps_lab.results import runs
from tps_lab.training.inference import load

SUFFIX = {"torch": ".pt2", "onnx": ".onnx"}
_TOLERANCE = 1e-3  # of the largest logit: float32 in another order of sums


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from the model.

    Args:
        largest_difference: between its logits and the model's, over the clips tried.
        largest_logit: what that is to be compared with.
    """

    path: Path
    format: str
    clip_shape: tuple[int, ...]
    batch: int
    largest_difference: float
    largest_logit: float

    def plain(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "format": self.format,
            "input": [self.batch, *self.clip_shape],
            "bytes": self.path.stat().st_size,
            "largest_difference": self.largest_difference,
            "largest_logit": self.largest_logit,
        }


def export(run: runs.Run, out: Path | None = None, format: str = "onnx", batch: int = 1) -> Exported:
    """Export a run's model.

    Args:
        out: the file; None is model.onnx or model.pt2 in the run's folder.
        batch: clips that the exported model takes at a time.

    Raises:
        InputError: an unknown format, a package that is missing, a run without weights, a file that is there
            already or ends as the other format does, or a result that is not the model's.
    """
    if format not in SUFFIX:
        raise unknown("format", format, SUFFIX)
    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    path = out or run.path / f"model{SUFFIX[format]}"
    for other, suffix in SUFFIX.items():  # whoever gets the file knows it by its name
        if path.suffix.lower() == suffix and other != format:
            raise InputError(
                f"{path} ends as a file of the format {other}: give --format {other}, or a name in {SUFFIX[format]}"
            )
    files.check_file(path)
    return export_model(load(run), path, format, batch)


def export_model(model: nn.Module, path: Path, format: str, batch: int = 1) -> Exported:
    """Export any model of this package; see `export`."""
    model = copy.deepcopy(model).cpu().eval()
    shape: tuple[int, ...] = tuple(model.clip_shape)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(0)
    clips = [torch.randn(batch, *shape, generator=random) for _ in range(2)]
    with torch.no_grad():
        wanted = [model(clip) for clip in clips]
        with files.writing(path), files.whole(path) as half:
            with _quiet():
                run = _written(model, clips[0], half, format)
            found = [run(clip) for clip in clips]
            difference = max((a - b).abs().max().item() for a, b in zip(wanted, found, strict=True))
            largest = max(a.abs().max().item() for a in wanted)
            if not difference <= _TOLERANCE * max(largest, 1e-3):
                raise InputError(
                    f"the exported {format} model gives other answers: logits differ by {difference:.3g}, "
                    f"the largest is {largest:.3g}; nothing was written"
                )
    return Exported(path, format, shape, batch, difference, largest)


def _written(model: nn.Module, clip: Tensor, path: Path, format: str) -> Callable[[Tensor], Tensor]:
    """Write a file that takes such clips; what runs it, read from the file again."""
    if format == "torch":
        torch.export.save(torch.export.export(model, (clip,)), path)
        return torch.export.load(path).module()  # type: ignore[return-value]
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX export needs {', '.join(missing)}: pip install 'tps_lab[onnx]'")
    import onnxruntime

    torch.onnx.export(
        model, (clip,), str(path), dynamo=True, external_data=False, input_names=["clip"], output_names=["logits"],
        verbose=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda clip: torch.from_numpy(session.run(None, {"clip": clip.numpy()})[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn and log about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
