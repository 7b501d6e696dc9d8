"""Makes the studio: one HTML file that holds its program, clips, test digits and trained models.

    python -m tps_lab.studio.build         # writes docs/studio.html

The sources stand in `page/`; this file adds what comes from Python (patterns, colours, constants, pixels,
weights), so that the page says what the package says. Nothing in it points outside of itself.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tps_lab import patterns, zoo
from tps_lab.data._sample_clips import SAMPLE_CLIPS
from tps_lab.studio import clips
from tps_lab.studio.judge import WORKSPACES
from tps_lab.viz import mosaics
from tps_lab.viz.studio_page import PAGE

SOURCES = Path(__file__).parent / "page"
CLASSES = 174  # of the ViT-S whose training memory is shown: Something-Something's
LARGEST_BYTES = 3 * 10**6
SCENES = 120  # test scenes in the page; each is shown forwards and backwards
_SHADES = 64  # grey levels of the stored digits
_SIDE = 144  # pixels of the stored clips' frames
_CLIPS = {"bigbuckbunny": ("Big Buck Bunny", range(0, 64, 2)), "bikes": ("a street with bicycles", range(188, 220))}
_MODELS = {
    "opposites/tps": ("TPS-C", "tps", "Patch shift C in every second block, spatial attention in the others."),
    "opposites/tps+tcs": (
        "TPS+TCS-C",
        "tps+tcs",
        "Patch shift C and channel shift in turn; the pattern changes only the former.",
    ),
    "opposites/spatial": (
        "Spatial, for comparison",
        "spatial",
        "It never mixes frames, so no pattern and no order changes its answer.",
    ),
}


def sources() -> dict[str, str]:
    """The texts that the page is made of, by name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(SOURCES.iterdir())}


def identity() -> str:
    """A hash of all that the page is made of but the clips' pixels: a page with another one is old."""
    found = hashlib.sha256()
    for name, text in sources().items():
        found.update(f"{name}\n{text}\n".encode())
    found.update(json.dumps([_told(), SCENES, _SHADES, _SIDE, _MODELS, str(_CLIPS)]).encode())
    for name in _MODELS:
        found.update(_weights(name))
    return found.hexdigest()[:16]


def page() -> str:
    """The whole page."""
    texts = sources()
    data = _told() | {"clips": _stored_clips(), "digits": _digits(), "models": _models()}
    texts["data"] = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    texts["sources"] = identity()
    return re.sub(r"\{\{([\w.]+)\}\}", lambda found: texts[found[1]], texts["page.html"])


def _told() -> dict[str, Any]:
    """What the page knows of the package without pixels and weights."""
    return {
        "presets": {name: [list(row) for row in pattern.tile] for name, pattern in patterns.gallery.items()},
        "notes": {name: pattern.note for name, pattern in patterns.gallery.items()},
        "colours": {
            "now": mosaics._NOW,
            "past": mosaics._PAST,
            "future": mosaics._FUTURE,
            "largest": mosaics.LARGEST,
            "power": mosaics._POWER,
        },
        "constants": {"classes": CLASSES, "workspaces": WORKSPACES},
    }


def _stored_clips() -> dict[str, Any]:
    from PIL import Image

    stored = {}
    for name, (title, indices) in _CLIPS.items():
        frames = clips.frames_of(name, indices, _SIDE)
        rows = [np.concatenate(list(frames[t : t + 8]), axis=1) for t in range(0, len(frames), 8)]
        file = io.BytesIO()
        Image.fromarray(np.concatenate(rows)).save(file, "JPEG", quality=72, optimize=True)
        about = SAMPLE_CLIPS[f"{name}.mp4"]
        stored[name] = {
            "title": title,
            "frames": len(frames),
            "side": _SIDE,
            "picture": "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(),
            "credit": f"{about.source}, {about.licence}",
        }
    return stored


def stored_digits() -> tuple[np.ndarray, np.ndarray, float, float]:
    """The first test scenes shown forwards, rounded: bytes (N, T, S, S), labels (N,), and the ink of 0 and of 255."""
    import torch

    from tps_lab import data
    from tps_lab.data import _digits

    opened = data.parse("opposites").opened()
    pixels, labels = opened.batch("test", torch.arange(0, 2 * SCENES, 2))
    ink = pixels[:, 0].numpy() * _digits.SPREAD + _digits.MEAN
    low, high = float(ink.min()), float(ink.max())
    step = 256 // _SHADES
    rounded = np.rint((ink - low) / (high - low) * 255 / step) * step
    return rounded.clip(0, 255).astype(np.uint8), labels.numpy(), low, high


def _digits() -> dict[str, Any]:
    from tps_lab import data
    from tps_lab.data import _digits

    pixels, labels, low, high = stored_digits()
    return {
        "pixels": base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode(),
        "labels": labels.tolist(),
        "classes": list(data.parse("opposites").opened().classes),
        "low": low,
        "high": high,
        "mean": _digits.MEAN,
        "spread": _digits.SPREAD,
        "credit": _digits.DIGITS,
    }


def _models() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": title,
            "kind": kind,
            "about": about,
            "weights": base64.b64encode(_weights(name)).decode(),
            "top1_pct": zoo.run(name).row["top1_pct"],
            "test_clips": zoo.run(name).row["test_clips"],
        }
        for name, (title, kind, about) in _MODELS.items()
    ]


def _weights(name: str) -> bytes:
    return (zoo.run(name).path / "model.safetensors").read_bytes()


def main() -> None:
    text = page()
    size = len(text.encode())
    if size > LARGEST_BYTES:
        raise SystemExit(f"the page has {size:,} bytes, more than {LARGEST_BYTES:,}")
    PAGE.resolve().parent.mkdir(parents=True, exist_ok=True)
    PAGE.resolve().write_text(text, encoding="utf-8")
    print(f"{PAGE.resolve()}: {size:,} bytes")


if __name__ == "__main__":
    main()
