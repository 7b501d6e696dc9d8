"""Several variants of one backbone, each made from its name: what the commands `memory` and `latency` print."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tps_lab.errors import InputError

if TYPE_CHECKING:
    from tps_lab.measure.predict import Prediction
    from tps_lab.measure.timeline import Timeline


def count(attention: Sequence[str] | None, ways: Sequence[Any]) -> int:
    """How many predictions `predicted` will try."""
    return len(_names(attention)) * len(ways)


def predicted(
    attention: Sequence[str] | None,
    backbone: str,
    model: Mapping[str, Any],
    setting: Mapping[str, Any],
    ways: Sequence[tuple[bool, bool]],
    advance: Callable[[int, str | None], None] = lambda step, news: None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Predicted peaks (`memory_facts`), and the variants that cannot be, with why.

    Args:
        attention: variants; None is all there are.
        model: frames, tubelet, size.
        setting: of `predict.Setting`, without the two that follow.
        ways: pairs (checkpointing, fused).
    """
    from tps_lab.attention import parse
    from tps_lab.backbones import create_model
    from tps_lab.measure.predict import Setting, counts, predict_batches

    base = Setting(**setting)
    rows, impossible = [], {}
    for index, name in enumerate(_names(attention)):
        variant = parse(name)

        def make(variant: Any = variant) -> Any:
            return create_model(backbone, variant, **model)

        for place, (checkpointing, fused) in enumerate(ways, 1):
            try:
                found = predict_batches(make, replace(base, checkpointing=checkpointing, fused=fused))
                rows.append(memory_facts(backbone, str(variant), counts(make), *found))
            except InputError as error:
                impossible[name] = str(error)
            advance(index * len(ways) + place, None)
    return rows, impossible


def memory_facts(
    backbone: str, attention: str, counts: Mapping[str, Any], predicted: Any, largest_batch: Mapping[int, int]
) -> dict[str, Any]:
    """A predicted peak of memory as plain data; nothing was run, so there is no latency."""
    setting = predicted.setting
    return {
        "backbone": backbone,
        "attention": attention,
        "batch": setting.batch,
        "precision": setting.precision,
        "optimizer": setting.optimizer,
        "checkpointing": setting.checkpointing,
        "fused": setting.fused,
        **counts,
        "latency_ms": None,
        "peak_memory_bytes": predicted.row(),
        "training_parts_bytes": predicted.parts,
        "most_of_each_part_bytes": predicted.most,
        "fits": {f"{gb} GB": predicted.training <= gb * 10**9 for gb in largest_batch},
        "largest_batch": {f"{gb} GB": batch for gb, batch in largest_batch.items()},
    }


def timelines(
    attention: Sequence[str], backbone: str, model: Mapping[str, Any], setting: Mapping[str, Any]
) -> dict[str, Timeline]:
    """Memory over a training step, by label, of variants that the backbone can have.

    Args:
        setting: of `predict.Setting`.
    """
    from tps_lab.attention import parse
    from tps_lab.backbones import create_model
    from tps_lab.measure.predict import Setting
    from tps_lab.measure.timeline import timeline

    variants = [parse(name) for name in dict.fromkeys(attention)]
    return {
        variant.label: timeline(lambda v=variant: create_model(backbone, v, **model), Setting(**setting))  # type: ignore[misc]
        for variant in variants
    }


Configuration = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]


def predictions(configurations: Sequence[Configuration], jobs: int = 1) -> list[Prediction]:
    """Predicted peaks of many configurations, in their order, in several processes.

    Args:
        configurations: backbone, attention, arguments of `create_model`, arguments of `Setting`.
        jobs: processes; neighbours in the list should be alike, what one has seen it need not work out again.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    if jobs == 1:
        return [_prediction(configuration) for configuration in configurations]
    # a process that has run torch's threads must not be forked
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_prediction, configurations, chunksize=5))


def _prediction(configuration: Configuration) -> Prediction:
    from tps_lab.measure.predict import Setting, predict_in

    backbone, attention, model, given = configuration
    setting = Setting(**given)
    made, mode = _made(backbone, attention, tuple(model.items()), setting.checkpointing)
    return predict_in(mode, made, setting)


@lru_cache(maxsize=1)
def _made(backbone: str, attention: str, model: tuple[tuple[str, Any], ...], checkpointing: bool) -> Any:
    """The model of one configuration, which its neighbours may share: making it takes a fifth of a prediction."""
    from tps_lab.backbones import create_model
    from tps_lab.measure.fake import fake_mode
    from tps_lab.measure.predict import Setting, modelled

    mode = fake_mode()
    how = Setting(checkpointing=checkpointing)
    return modelled(lambda: create_model(backbone, attention, **dict(model)), how, mode), mode


def timed(
    attention: Sequence[str],
    backbone: str,
    model: Mapping[str, Any],
    how: Mapping[str, Any],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Timings in turn as plain data: latency_ms, ratio to the first, failures, conditions, calls_ms.

    Args:
        model: frames, tubelet, size.
        how: of `steps.How`.

    Raises:
        InputError: fewer than 2 rounds, or a variant that cannot be.
    """
    from tps_lab.attention import parse
    from tps_lab.backbones import create_model
    from tps_lab.measure import best_device
    from tps_lab.measure.latency import compare_latency
    from tps_lab.measure.steps import How

    if rounds < 2:
        raise InputError(f"rounds must be 2 or more, got {rounds}")
    device, given = best_device(), How(**how)
    models = {name: create_model(backbone, parse(name), **model).to(device) for name in dict.fromkeys(attention)}
    found = compare_latency(models, None, given, rounds, seconds)
    return {
        "backbone": backbone,
        "clip_shape": list(next(iter(models.values())).clip_shape),  # type: ignore[arg-type]
        **{key: how[key] for key in ("what", "batch", "precision", "compile", "graphs")},
        "latency_ms": {name: timing.row() for name, timing in found.timings.items()},
        "baseline": found.baseline,
        "ratio": {name: ratio.row() for name, ratio in found.ratios.items()},
        "failures": found.failures,
        "conditions": found.conditions,
        "calls_ms": {name: list(timing.calls) for name, timing in found.timings.items()},
    }


def save(file: Path, facts: Mapping[str, Any]) -> None:
    """Write figures as JSON, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    from tps_lab import files

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(file, json.dumps(facts, indent=1))
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error


def _names(attention: Sequence[str] | None) -> list[str]:
    from tps_lab.attention import variants

    return list(dict.fromkeys(attention)) if attention else list(variants())
