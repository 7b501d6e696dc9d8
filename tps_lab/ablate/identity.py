"""What a cell is: the hash of its configuration and of the version of everything that it names.

An attention variant, a backbone's family, a data set and the recipe each declare a `version`. Whoever
changes what a cell of theirs computes raises it; `tests/test_outcomes.py` holds tiny runs to stored
losses and fails where that was forgotten. Another wording, layout or speed re-runs nothing.

Patterns and small backbones are tables of values: the entry that a cell uses counts as the value that
it is, so that an entry can be added or renamed at no cost.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tps_lab.backbones import PAPER, SMALL, family_class
from tps_lab.backbones._options import TemporalPosition
from tps_lab.training.config import Recipe, RunConfig
from tps_lab.training.model import shipped_file


def cell_hash(config: RunConfig, is_trial: bool = False) -> str:
    """Twelve hexadecimal digits. A trial of a tuning, which sees no test clip, is a cell of its own.

    Raises:
        InputError: the backbone has no such model.
    """
    content = {
        "config": config.content() | {"temporal_position": _temporal_position(config)},
        "versions": versions(config),
        "values": _values(config),
        **({"trial": True} if is_trial else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def versions(config: RunConfig) -> dict[str, int]:
    """What a configuration names, and the version of each.

    Raises:
        InputError: the backbone has no such model.
    """
    return {
        "attention": config.attention.version,
        "backbone": family_class(config.model[0]).version,
        "data": config.data.version,
        "recipe": Recipe.version,
    }


def _values(config: RunConfig) -> dict[str, Any]:
    name, shipped = config.model[0], shipped_file(config.weights)
    pattern = getattr(config.attention, "pattern", None)
    return {
        "tile": pattern.text if pattern is not None else None,
        "preset": repr(PAPER[name]) if name in PAPER else repr(SMALL.get(name)),
        **({"weights": hashlib.sha256(shipped.read_bytes()).hexdigest()} if shipped else {}),
    }


def _temporal_position(config: RunConfig) -> TemporalPosition:
    """As asked for; None, too, where that is what happens unasked, because it is the same model."""
    unasked = family_class(config.model[0]).asks_for_time and config.attention.temporal_position
    return None if config.temporal_position == unasked else config.temporal_position
