"""Clips as film strips, mixed by patterns, one mixed frame taken apart, and where a trained model looks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tps_lab.data import Clips, Split, batch_of
from tps_lab.errors import InputError
from tps_lab.lazy import torch
from tps_lab.patterns import Border, ShiftPattern, check_whole
from tps_lab.viz.labels import wrap
from tps_lab.viz.mosaics import LARGEST, Size, offset_colour, signed
from tps_lab.viz.style import INK, QUIET, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform
    from torch import Tensor

_SLANT, _SQUASH = 0.42, 0.62  # a frame seen from the side: how far its right edge rises, how narrow it gets
_AT_ONCE = 2**28  # bytes of clips


@styled
def mixed_frames(
    clip_THWC: Any,
    patterns: Sequence[ShiftPattern | str],
    patch: int,
    frame: int | None = None,
    border: Border = "circular",
) -> Figure:
    """A real clip as the attention sees it: its frames, then one frame mixed by each pattern.

    Thin borders around the patches have the colours of `mosaic`: orange came from the past, blue
    from the future, none from the frame itself.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), integers 0 to 255 or floats 0 to 1.
        patterns: which patterns to mix by.
        patch: side of a patch in pixels.
        frame: which mixed frame; None is the middle one.
        border: what enters at the ends of the clip.

    Raises:
        InputError: the clip is not four-dimensional, or a pattern does not fit it.

    >>> figure = mixed_frames(np.zeros((4, 16, 24, 3)), ["A", "B"], patch=8)
    """
    from matplotlib.figure import Figure

    clip = _pixels(clip_THWC)
    frames, height, width = clip.shape[:3]
    frame = _frame(frames, frame)
    check_whole(patch=patch)
    chosen = [ShiftPattern.parse(pattern) for pattern in patterns]
    small = _shown_frames(frames, frame, chosen)
    most = 3 if width >= height else 5
    down = math.ceil(len(chosen) / most)
    across = math.ceil(len(chosen) / max(down, 1)) or 1  # rows of nearly equal length
    shape = height / width
    inches = 11.1
    strip = inches / len(small) * shape + 0.3
    large = [inches / max(across, 2) * shape + 0.55] * down
    figure = Figure(figsize=(inches, strip + sum(large)))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.04, wspace=0.0, hspace=0.0)
    heights = [strip, sum(large)] if chosen else [strip]
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).ravel()
    above = parts[0].subplots(1, len(small), squeeze=False).ravel()
    below = parts[1].subplots(down, across, squeeze=False).ravel() if chosen else []
    for panel, index in zip(above, small, strict=True):
        _image(panel, clip[index])
        panel.set_title(f"frame {index}", fontsize=8.5, fontweight="bold" if index == frame else "normal", loc="center")
        if index == frame:
            panel.add_patch(_outline(0, 0, width, height, INK, 1.8))
    for panel in below[len(chosen) :]:
        panel.set_axis_off()
    for panel, pattern in zip(below, chosen, strict=False):
        _mixed(panel, clip, pattern, patch, frame, border)
    return figure


def mix(
    clip_THWC: np.ndarray, pattern: ShiftPattern, patch: int, frame: int, border: Border = "circular"
) -> np.ndarray:
    """One mixed frame in pixels (H, W, C): every patch from the frame that the pattern names."""
    frames, height, width = clip_THWC.shape[:3]
    source = pattern.source_frames(frames, math.ceil(height / patch), math.ceil(width / patch), border)[frame]
    y, x = np.indices((height, width))
    from_frame = source[y // patch, x // patch]
    return np.where((from_frame >= 0)[..., None], clip_THWC[from_frame, y, x], 0)


@styled
def exploded_cube(
    clip_THWC: Any,
    pattern: ShiftPattern | str,
    patch: int,
    frame: int | None = None,
    border: Border = "circular",
    ax: Axes | None = None,
) -> Axes:
    """Frames one behind the other, the patches that one mixed frame picks from each, and the mixed frame.

    After the idea of figure 2 of arXiv 2207.13259. Patches that are not picked are faded; the
    frame's own number is bold. Colours of outlines are those of `mosaic`: orange the past, blue
    the future.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), integers 0 to 255 or floats 0 to 1.
        pattern: a pattern, its name, or a tile.
        patch: side of a patch in pixels.
        frame: which mixed frame; None is the middle one.
        border: what enters at the ends of the clip.

    Raises:
        InputError: the clip has another shape, the pattern does not fit it, or there is no such frame.

    >>> ax = exploded_cube(np.zeros((8, 16, 24, 3)), "A", patch=8)
    """
    from matplotlib.transforms import Affine2D

    clip, pattern = _pixels(clip_THWC), ShiftPattern.parse(pattern)
    frames, height, width = clip.shape[:3]
    frame = _frame(frames, frame)
    check_whole(patch=patch)
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    source = pattern.source_frames(frames, rows, columns, border)[frame]
    shown = sorted({int(t) for t in source.ravel() if t >= 0} | {frame})
    tall, wide = height / width, 1.0  # a frame is one unit wide
    step = 0.66
    left = len(shown) * step + 0.35  # where the mixed frame stands
    high = tall * (1 + _SLANT * _SQUASH) + 0.24
    ax = new_axes(1.3 * (left + 1.3), 1.3 * high + 0.3) if ax is None else ax
    ax.set_axis_off()
    for number, t in enumerate(shown):
        slanted = Affine2D().scale(_SQUASH * wide, tall).skew(0, math.atan(_SLANT * tall))
        slanted = slanted.translate(number * step, 0)
        picked = source == t
        _slab(ax, clip[t], picked, patch, slanted, t, frame, pattern)
        ax.text(
            number * step + _SQUASH / 2, -0.09, f"{t}", ha="center", va="top", fontsize=8,
            fontweight="bold" if t == frame else "normal", color=INK if t == frame else QUIET,
        )  # fmt: skip
    middle = 0.62 * tall
    ax.annotate(
        "", (left + 0.12, middle), (left - 0.28, middle), arrowprops={"arrowstyle": "-|>", "color": QUIET, "lw": 1.4}
    )
    flat = Affine2D().scale(wide, tall).translate(left + 0.2, 0.12 * tall)
    mixed = mix(clip, pattern, patch, frame, border)
    _slab(ax, mixed, np.ones((rows, columns), bool), patch, flat, None, frame, pattern)
    ax.text(left + 0.7, -0.09, f"mixed frame {frame}", ha="center", va="top", fontsize=8, color=INK)
    ax.set_xlim(-0.06, left + 1.26)
    ax.set_ylim(-0.2, high - 0.2)
    ax.set_aspect("equal")
    ax.set_title(wrap(f"{pattern}: one mixed frame from {len(shown)} frames", 60), loc="left")
    return ax


@styled
def attention_maps(clip_THWC: Any, weights_THW: Any, token: Size, title: str = "") -> Figure:
    """The frames of a clip, pale where a patch looks little and clear where it looks much.

    Below each frame stands the share of all attention that it gets. Clearness is relative to the
    most attended patch of the clip; patches that get more than twice an equal share are outlined in blue.

    Args:
        clip_THWC: pixels (T, H, W, C) or (T, H, W), one frame per step in time of the weights.
        weights_THW: how much attention each patch gets (`measure.inspection.attention_of_token`, one
            head or their mean).
        token: frame, row and column of the patch that looks; it is outlined in black.
        title: above the frames.

    Raises:
        InputError: clip and weights have different numbers of frames, or the patch is not in them.

    >>> figure = attention_maps(np.zeros((4, 16, 16, 3)), np.ones((4, 2, 2)) / 16, (1, 0, 1))
    """
    from matplotlib.figure import Figure

    clip, weights = _pixels(clip_THWC), np.asarray(weights_THW, float)
    if weights.ndim != 3 or len(weights) != len(clip):
        raise InputError(f"expected weights of {len(clip)} frames (T, H, W), got {weights.shape}")
    if not all(0 <= at < length for at, length in zip(token, weights.shape, strict=True)):
        raise InputError(f"token {token} is not in weights of shape {weights.shape}")
    frames, height, width = clip.shape[:3]
    rows, columns = weights.shape[1:]
    across = min(frames, 8)
    down = -(-frames // across)
    figure = Figure(figsize=(1.25 * across, (1.25 * height / width + 0.28) * down + 0.3))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.02)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    y, x = np.indices((height, width))
    high, wide = height / rows, width / columns
    strongest = weights.max() or 1.0
    much = 2 * weights.sum() / weights.size
    for t, panel in enumerate(axes):
        if t >= frames:
            panel.set_axis_off()
            continue
        clear = (weights[t] / strongest)[y * rows // height, x * columns // width]
        clear = 0.12 + 0.88 * clear[..., None] ** 0.6
        _image(panel, 1 - clear * (1 - clip[t]))
        panel.set_xlabel(f"{t}: {100 * weights[t].sum():.0f} %", fontsize=8, color=INK if t == token[0] else QUIET)
        for row, column in np.argwhere(weights[t] > much):
            panel.add_patch(_outline(column * wide, row * high, wide, high, "#0072b2", 1.2))
        if t == token[0]:
            for shade, thick in (("white", 3.4), (INK, 1.8)):
                panel.add_patch(_outline(token[2] * wide, token[1] * high, wide, high, shade, thick))
    if title:
        figure.suptitle(title, x=0.005, ha="left", fontsize=10, fontweight="bold")
    return figure


@styled
def film_strips(clips: Clips, split: Split = "test", rows: int = 6, most: int = 16, title: str = "") -> Figure:
    """Clips of a data set, one to a row, as a model gets them, and their classes: what is asked, at a glance.

    They are of many classes. Clips that show the same frames in another order stand together. Pixels that are no
    numbers are left empty.

    Args:
        clips: an opened data set, `data.parse("order").opened()`.
        split: which clips: "train", "val" or "test".
        rows: how many clips.
        most: how many frames of each, in order and evenly spaced.
        title: above all.

    Raises:
        InputError: the split has no clips, or they have neither one channel nor three, or labels without a class.

    >>> from tps_lab import data
    >>> figure = film_strips(data.parse("opposites").opened(), rows=4)
    """
    from matplotlib.figure import Figure

    check_whole(rows=rows, most=most)
    channels, total, height, width = clips.clip_shape
    if channels not in (1, 3):
        raise InputError(f"clips of 1 or 3 channels can be drawn; these have {channels}")
    frames = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int))
    # all sizes in inches: strips no longer than a page is wide
    one = min(0.95, 9 / len(frames), 1.5 * width / height)
    parts, labels = [], []
    for batch, found in _few_at_a_time(clips, split, _of_many_classes(clips, split, rows)):
        parts.append(_at_most(batch[:, :, frames], round(200 * one)))
        labels += found
    pixels = torch.cat(parts).permute(0, 2, 3, 4, 1).double().numpy()  # (N, T, H, W, C)
    height, width = pixels.shape[2:4]
    pixels = _as_seen(pixels)
    gap = np.zeros((height, max(width // 16, 1), 4))  # transparent: the page may be dark
    names = [wrap(clips.classes[label], 22) for label in labels]
    wide, high = one * len(frames), one * height / width
    title = wrap(title, int(max(wide, 5) / 0.09))
    sizes = [_extent(name) for name in names]
    title_wide, title_high = _extent(title, fontsize=10, fontweight="bold")
    left, top = 0.15 + max(name_wide for name_wide, _ in sizes), 0.22 + (title_high + 0.1 if title else 0)
    step = max(high, *(name_high for _, name_high in sizes)) + 0.06
    size = left + max(wide, title_wide) + 0.05, top + step * len(names)
    figure = Figure(figsize=size)
    for row, (clip, name) in enumerate(zip(pixels, names, strict=True)):
        middle = top + step * row + (step - 0.06) / 2  # names may be higher than strips
        place = left / size[0], 1 - (middle + high / 2) / size[1], wide / size[0], high / size[1]
        ax = figure.add_axes(place, gid=f"film-{row}")  # a dark page turns drawings, but not films, to negatives
        _image(ax, np.concatenate([part for frame in clip for part in (frame, gap)][:-1], axis=1))
        ax.set_ylabel(name, rotation=0, ha="right", va="center", color=INK)
        if row == 0:
            ax.xaxis.tick_top()
            each = math.ceil((0.08 * len(str(frames[-1])) + 0.02) / one)  # numbers that do not touch
            at = range(0, len(frames), each)
            middles = [(width + gap.shape[1]) * i + width / 2 for i in at]
            ax.set_xticks(middles, [str(frames[i]) for i in at], fontsize=8, color=QUIET)
    if title:
        figure.text(left / size[0], 1 - 0.06 / size[1], title, va="top", fontsize=10, fontweight="bold")
    return figure


# ---------------------------------------------------------------------- parts


def _of_many_classes(clips: Clips, split: Split, rows: int) -> list[int]:
    """Clips to show, whole scenes: of every class one before of any a second, from all over the split."""
    scene, total = clips.clips_per_scene, int(clips.size(split))
    if not total:
        raise InputError(f"this data set has no {split} clips")
    size = -(-total // scene)
    wanted = min(-(-rows // scene), size)
    # one from each stretch of the split, here and there in it: classes may take turns
    stretches = np.arange(min(4 * wanted, size))
    looked = ((stretches + 0.618 * stretches % 1) * (size / len(stretches))).astype(int)
    labels = [label for _, found in _few_at_a_time(clips, split, (scene * looked).tolist()) for label in found]
    times: dict[int, int] = {}
    turns = []
    for at, label in zip(looked.tolist(), labels, strict=True):
        turns.append((times.setdefault(label, 0), label, at))
        times[label] += 1
    chosen = sorted(sorted(turns)[:wanted], key=lambda turn: turn[1:])
    return [clip for _, _, at in chosen for clip in range(scene * at, min(scene * (at + 1), total))][:rows]


def _few_at_a_time(clips: Clips, split: Split, index: list[int]) -> Iterator[tuple[Tensor, list[int]]]:
    """Clips and their labels, as many at once as take little memory: one may be large."""
    at_once = max(_AT_ONCE // (4 * math.prod(clips.clip_shape)), 1)
    for start in range(0, len(index), at_once):
        batch, labels = batch_of(clips, split, torch.tensor(index[start : start + at_once]), "cpu")
        found = labels.tolist()
        for label in found:
            if not 0 <= label < len(clips.classes):
                raise InputError(
                    f"{type(clips).__name__}.batch must give labels from 0 to {len(clips.classes) - 1}, got {label}"
                )
        yield batch, found


def _at_most(clips: Tensor, wide: int) -> Tensor:
    """Clips (B, C, T, H, W), made smaller if they have more pixels across than can be seen."""
    frames, height, width = clips.shape[2:]
    if width <= wide:
        return clips
    return torch.nn.functional.interpolate(clips, (frames, max(height * wide // width, 1), wide), mode="area")


def _as_seen(pixels: np.ndarray) -> np.ndarray:
    """Normalised pixels (..., C), which have no range of their own, as colours with an opacity (..., 4)."""
    known = np.isfinite(pixels)
    low, high = np.quantile(pixels[known], [0.001, 0.999]) if known.any() else (0.0, 1.0)
    shown = ((np.where(known, pixels, low) - low) / max(high - low, 1e-9)).clip(0, 1)
    colours = np.broadcast_to(shown, (*shown.shape[:-1], 3))
    return np.concatenate([colours, known.all(-1, keepdims=True)], axis=-1)


def _extent(text: str, **how: Any) -> tuple[float, float]:
    """How wide and high a text is, in inches: in tenths, so that other rules of drawing text change no picture."""
    from matplotlib.figure import Figure

    figure = Figure()
    box = figure.text(0, 0, text, **how).get_window_extent()
    return math.ceil(10 * box.width / figure.dpi) / 10, math.ceil(10 * box.height / figure.dpi) / 10


def _slab(
    ax: Axes, pixels: np.ndarray, picked: np.ndarray, patch: int, place: Transform, t: int | None, frame: int,
    pattern: ShiftPattern,
) -> None:  # fmt: skip
    """One frame on the unit square, moved to its place; what is not picked is faded."""
    from matplotlib.patches import Polygon

    height, width = pixels.shape[:2]
    rows, columns = picked.shape
    where = np.kron(picked, np.ones((patch, patch)))[:height, :width, None]
    faded = 0.82 + 0.18 * pixels  # towards white
    image = np.where(where > 0, pixels, faded)
    to_data = place + ax.transData
    ax.imshow(image, extent=(0, 1, 0, 1), transform=to_data, interpolation="nearest", aspect="auto", zorder=1)
    offsets = pattern.offsets_on(rows, columns)
    for (row, column), is_picked in np.ndenumerate(picked):
        offset = int(offsets[row, column])
        if not is_picked or (t is None and not offset):
            continue
        x0, x1 = column * patch / width, min((column + 1) * patch / width, 1)
        y0, y1 = 1 - row * patch / height, max(1 - (row + 1) * patch / height, 0)
        outline = offset_colour(offset, palest=0.5) if offset else (0.25, 0.25, 0.25)
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        ax.add_patch(Polygon(corners, fill=False, edgecolor=outline, linewidth=0.9, transform=to_data, zorder=2))
    edge = INK if t in (None, frame) else "#b5b5b5"
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    thick = 1.4 if t in (None, frame) else 0.7
    ax.add_patch(Polygon(square, fill=False, edgecolor=edge, linewidth=thick, transform=to_data, zorder=3))


def _mixed(ax: Axes, clip: np.ndarray, pattern: ShiftPattern, patch: int, frame: int, border: Border) -> None:
    height, width = clip.shape[1:3]
    _image(ax, mix(clip, pattern, patch, frame, border))
    largest = max(LARGEST, *(abs(k) for k in pattern.offsets))
    offsets = pattern.offsets_on(math.ceil(height / patch), math.ceil(width / patch))
    for (row, column), offset in np.ndenumerate(offsets):
        if offset:
            x, y = column * patch, row * patch
            wide, high = min(patch, width - x), min(patch, height - y)
            # inset, so that neighbours do not paint over each other
            inset = 0.02 * patch
            colour = offset_colour(int(offset), largest, palest=0.5)
            ax.add_patch(_outline(x + inset, y + inset, wide - 2 * inset, high - 2 * inset, colour, 1.0))
    low, high = signed(pattern.offsets[0]), signed(pattern.offsets[-1])
    said = f"{pattern.frames_mixed} frames, offsets {low} to {high}" if pattern.frames_mixed > 1 else f"offset {low}"
    ax.set_title(wrap(str(pattern), 40), loc="left")
    ax.set_xlabel(said, fontsize=8, color=QUIET, loc="left")


def _frame(frames: int, wanted: int | None) -> int:
    """The one that is wanted, or the middle one."""
    frame = frames // 2 if wanted is None else wanted
    check_whole(0, frame=frame)
    if not 0 <= frame < frames:
        raise InputError(f"frame must be 0 to {frames - 1} for a clip of {frames} frames, got {frame}")
    return frame


def _outline(x: float, y: float, wide: float, high: float, colour: Any, thick: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), wide, high, fill=False, edgecolor=colour, linewidth=thick)


def _image(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels, interpolation="nearest", aspect="equal", zorder=0.5)
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)


def _pixels(clip: Any) -> np.ndarray:
    """Floats 0 to 1 with three channels."""
    pixels = np.asarray(clip)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
        raise InputError(f"a clip has shape (T, H, W, 3), (T, H, W, 1) or (T, H, W), got {np.asarray(clip).shape}")
    values = pixels / 255.0 if np.issubdtype(pixels.dtype, np.integer) else pixels.astype(float)
    return np.broadcast_to(values.clip(0, 1), (*values.shape[:3], 3))


def _shown_frames(frames: int, frame: int, patterns: Sequence[ShiftPattern]) -> list[int]:
    """The frames around the mixed one that the patterns take from, or evenly spaced ones of them; without, of all."""
    wanted = sorted({frame, *((frame - k) % frames for pattern in patterns for k in pattern.offsets)})
    most = 9 if patterns else 5
    if not patterns:
        wanted = list(range(frames))
    elif len(wanted) < min(frames, 5):
        first = max(min(frame - 2, frames - 5), 0)
        wanted = sorted({*wanted, *range(first, min(first + 5, frames))})
    if len(wanted) <= most:
        return wanted
    kept = {wanted[round(i * (len(wanted) - 1) / (most - 1))] for i in range(most)}
    nearest = min(kept, key=lambda index: abs(index - frame))
    return sorted(kept - {nearest} | {frame})
