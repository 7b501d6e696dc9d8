"""Where metrics also go: TensorBoard, MLflow, W&B, Trackio and others, through Accelerate.

A tracker that cannot start is an error before anything is trained. One that fails on the way (its server is gone,
its disk is full) is said once and left out: figures are in the run's folder anyway, and days of training are worth
more.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tps_lab.errors import InputError, one_line, unknown


def check(names: tuple[str, ...]) -> None:
    """Refuse names that Accelerate has no tracker for, and those whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise unknown("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in {str(getattr(found, "value", found)) for found in get_available_trackers()}:
            raise InputError(f"tracker '{name}' is not installed: pip install {name}")


def begin(accelerator: Any, settings: Mapping[str, Any]) -> None:
    """Start the trackers that the accelerator was made with, and tell them the run's settings.

    Raises:
        InputError: one cannot start, and why.
    """
    plain = {key: value if isinstance(value, int | float) else str(value) for key, value in settings.items()}
    try:
        accelerator.init_trackers("tps_lab", plain)
    except Exception as error:  # each service has its own
        names = ", ".join(str(getattr(name, "value", name)) for name in accelerator.log_with)
        raise InputError(f"the tracker ({names}) cannot start: {one_line(error)}") from error


def log(accelerator: Any, step: int, **figures: float) -> None:
    """Tell the trackers figures of a step. Letters, digits and _ make names that every service takes."""
    for tracker in list(accelerator.trackers):
        try:
            tracker.log(figures, step=step)
        except Exception as error:
            accelerator.trackers.remove(tracker)
            print(f"{tracker.name} failed and is left out from here on: {one_line(error)}", file=sys.stderr)


def end(accelerator: Any) -> None:
    """Finish with all trackers, whatever they say to it."""
    try:
        accelerator.end_training()
    except Exception as error:
        print(f"a tracker did not end well: {one_line(error)}", file=sys.stderr)
