"""One look per attention variant, the same in every picture, table and report.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart under the
common kinds of colour blindness, with darker and lighter shades of their blue for the patterns of
TPS. Markers and line styles differ as well, so that a grey print can be read.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

P = ParamSpec("P")
R = TypeVar("R")

INK, QUIET, RULE = "#222222", "#6b6b6b", "#e3e3e3"  # text, secondary text, grid lines
CEILING = "#9a3412"  # the line that an order-blind model cannot pass, and 50 % of a pair


@dataclass(frozen=True)
class Look:
    """How a variant is drawn.

    Args:
        colour: hex, "#rrggbb".
        marker: Matplotlib's letter.
        line: Matplotlib's line style, text or (offset, dashes).
    """

    colour: str
    marker: str
    line: Any = "-"

    def marker_size(self, size: float) -> float:
        """Points that make this marker look as large as a square of `size`."""
        return size * {"*": 1.5, "P": 1.2, "X": 1.15, "^": 1.1, "v": 1.1, "<": 1.1, ">": 1.1, "p": 1.2}.get(
            self.marker, 1
        )


_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 3)), (0, (8, 3)))

# (variant, pattern, options that differ from the defaults) → look
_KNOWN: dict[tuple[str, str, str], Look] = {
    ("spatial", "", ""): Look("#4d4d4d", "o", _DASHES[0]),
    ("tps", "a", ""): Look("#56b4e9", "^", _DASHES[1]),
    ("tps", "b", ""): Look("#3487c4", "v", _DASHES[2]),
    ("tps", "c", ""): Look("#0072b2", "s", _DASHES[0]),
    ("tps", "d", ""): Look("#003a63", "D", _DASHES[3]),
    ("tps", "c", "every=1"): Look("#009e73", "P", _DASHES[4]),
    ("tps+tcs", "c", ""): Look("#d55e00", "*", _DASHES[0]),
    ("tcs", "", ""): Look("#e69f00", "<", _DASHES[1]),
    ("tsm", "", ""): Look("#a6761d", ">", _DASHES[2]),
    ("joint", "", ""): Look("#cc79a7", "X", _DASHES[0]),
    ("divided", "", ""): Look("#7b3f98", "p", _DASHES[1]),
    ("axial", "", ""): Look("#8c8200", "d", _DASHES[3]),
    ("local", "", ""): Look("#e7298a", "h", _DASHES[2]),
    ("l+g", "", ""): Look("#b15928", "8", _DASHES[4]),
    ("factorised encoder", "", ""): Look("#33a02c", "H", _DASHES[0]),
    ("factorised self", "", ""): Look("#66a61e", "^", _DASHES[2]),
    ("factorised dot", "", ""): Look("#1f6f54", "v", _DASHES[5]),
    ("trajectory", "", ""): Look("#e31a1c", "D", _DASHES[1]),
    ("xvit", "", ""): Look("#6a51a3", "<", _DASHES[3]),
    ("tokshift", "", ""): Look("#a50f5f", ">", _DASHES[5]),
    ("natten", "", ""): Look("#00798c", "s", _DASHES[2]),
    ("sliding tile", "", ""): Look("#4fb3bf", "D", _DASHES[2]),
    ("radial", "", ""): Look("#c0392b", "o", _DASHES[3]),
    ("svg", "", ""): Look("#f08a5d", "v", _DASHES[4]),
    ("causal", "", ""): Look("#34495e", ">", _DASHES[0]),
    ("first and previous", "", ""): Look("#7f8fa6", "<", _DASHES[0]),
    ("aim", "", ""): Look("#556b2f", "P", _DASHES[1]),
    ("st adapter", "", ""): Look("#9c6644", "d", _DASHES[1]),
    ("areas", "", ""): Look("#b8860b", "h", _DASHES[4]),
    ("mem", "", ""): Look("#2e8b57", "X", _DASHES[2]),
    ("zeroi2v", "", ""): Look("#8e6fc1", "p", _DASHES[3]),
    ("leap", "", ""): Look("#d9667b", "8", _DASHES[1]),
}
# names and titles whose "-" separates no pattern, as the keys above spell them
_SPELT = {
    "x-vit": "xvit",
    "factorised-encoder": "factorised encoder",
    "factorised-self": "factorised self",
    "factorised self-attention": "factorised self",
    "factorised-dot": "factorised dot",
    "factorised dot-product": "factorised dot",
    "leap (laps)": "leap",
    "st-adapter": "st adapter",
    "sliding-tile": "sliding tile",
    "frame-causal": "causal",
    "first-and-previous": "first and previous",
    "first and previous frame": "first and previous",
}
# for everything else, where a hash of its name points to
_SPARE = tuple(
    Look(colour, marker, _DASHES[i % len(_DASHES)])
    for i, (colour, marker) in enumerate(
        [
            ("#b2182b", "h"),
            ("#8c510a", "8"),
            ("#6b8e23", "H"),
            ("#17a2b8", "v"),
            ("#ef6f5e", "s"),
            ("#5b3a29", "^"),
            ("#00796b", "D"),
            ("#c51b7d", "P"),
            ("#9467bd", "X"),
            ("#d4a017", "p"),
            ("#3f5f1f", "<"),
            ("#7a8794", ">"),
        ]
    )
)


def look(text: str) -> Look:
    """The look of a variant, by its text form or its label.

    >>> look("tps(pattern=A)") == look("TPS-A")
    True
    """
    key = _key(text)
    return _KNOWN.get(key) or _SPARE[zlib.crc32(repr(key).encode()) % len(_SPARE)]


def colour(text: str) -> str:
    """The colour of a variant, by its text form or its label: "#rrggbb".

    >>> colour("joint")
    '#cc79a7'
    """
    return look(text).colour


def marker(text: str) -> str:
    """The marker of a variant, by its text form or its label.

    >>> marker("TPS-C")
    's'
    """
    return look(text).marker


def looks(texts: Iterable[str]) -> list[Look]:
    """Looks for things that share a picture, all of them different while there are enough.

    A known variant keeps its own look. Others move on from the one that their name points to if it
    is taken; a variant that comes twice (other frames, other data) keeps its colour and gets
    another marker and line style.

    >>> first, second = looks(["joint", "joint"])
    >>> first.colour == second.colour, first.marker == second.marker
    (True, False)
    """
    keys = [_key(text) for text in texts]
    given: dict[Any, Look] = {key: _KNOWN[key] for key in keys if key in _KNOWN}
    for key in sorted(set(keys) - set(given)):
        start = zlib.crc32(repr(key).encode())
        turns = (_SPARE[(start + step) % len(_SPARE)] for step in range(len(_SPARE)))
        taken = {used.colour for used in given.values()}
        given[key] = next((spare for spare in turns if spare.colour not in taken), _SPARE[start % len(_SPARE)])
    markers = "osD^vPX*ph<>d8H"
    result: list[Look] = []
    times: Counter[Any] = Counter()
    for key in keys:
        before, base = times[key], given[key]
        times[key] += 1
        turned = markers[(markers.index(base.marker) + before) % len(markers)]
        line = _DASHES[(_DASHES.index(base.line) + before) % len(_DASHES)]
        result.append(dataclasses.replace(base, marker=turned, line=line))
    return result


def looks_if_variants(texts: Iterable[str]) -> list[Look]:
    """`looks` where some of the things are variants; all alike where colours would mean nothing."""
    texts = list(texts)
    return looks(texts) if any(_key(text) in _KNOWN for text in texts) else [Look("#0072b2", "o")] * len(texts)


def _key(text: str) -> tuple[str, str, str]:
    """(variant, pattern, other options) of "tps(pattern=A, every=1)" or "TPS-A (every=1)"."""
    text = text.casefold().strip()
    head = next((head for head in _SPELT if re.match(rf"{re.escape(head)}\s*(\(|$)", text)), None)
    if head:
        text = _SPELT[head] + text.removeprefix(head)
    match = re.fullmatch(r"\s*(.+?)(?:-(\[[^\]]*\]|[^\s(]+))?\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if not match:
        return text, "", ""
    name, pattern, inside = match[1], match[2] or "", match[3] or ""
    # "Divided (T+S)": brackets that belong to a title hold no "="
    options = {part.strip().replace(" =", "=").replace("= ", "=") for part in re.split(r",(?![^\[]*\])", inside)}
    options = {part for part in options if "=" in part}
    for part in sorted(options):
        if part.startswith("pattern="):
            pattern = part.removeprefix("pattern=")
            options.discard(part)
    if not pattern and name in ("tps", "tps+tcs"):
        pattern = "c"  # their default
    return name, pattern.strip("[] "), ",".join(sorted(options))


# ---------------------------------------------------------------------- figures

RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9a9a9a",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "savefig.dpi": 160,
    # Text stays text: sharp, searchable, in the page's own font. DejaVu Sans is wider than the
    # usual page fonts, so what fits here fits there.
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # labels are names: a "$" in one is a dollar
    "text.usetex": False,
    "xtick.color": "#4a4a4a",
    "ytick.color": "#4a4a4a",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under this style, and leave Matplotlib's settings as they were."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        _let_notebooks_show_figures()
        with matplotlib.rc_context(RC):
            return function(*args, **kwargs)

    return inside


@functools.lru_cache(maxsize=1)
def _let_notebooks_show_figures() -> None:
    """In IPython, show a figure as a picture; its own way of doing so begins with pyplot, which we leave alone."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    shell = get_ipython()  # type: ignore[no-untyped-call]
    if shell is not None:
        select_figure_formats(shell, {"retina"})


@styled
def new_axes(width: float = 5.6, height: float = 4.0) -> Axes:
    """Axes on a new figure of its own, size in inches; pyplot knows nothing of it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def plain_log(*axes: Axis) -> None:
    """Figures of logarithmic axes as "0.1" and "200": Matplotlib's own are mathematical text."""
    from matplotlib.ticker import LogFormatter, LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if LogFormatter.__call__(self, x, pos) else ""

    for axis in axes:
        axis.set_major_formatter(Plain())
        axis.set_minor_formatter(Plain(minor_thresholds=(1, 0.4)))


def insets(
    ax: Axes, rows: int, columns: int, box: tuple[float, float, float, float] = (0, 0, 1, 1), gap: float = 0.02
) -> np.ndarray:
    """Rows × columns of small axes inside `ax`, which itself becomes invisible: for pictures of several panels.

    Args:
        box: left, bottom, width and height of the part of `ax` to fill, in shares of it.
        gap: between two panels; a row's titles and labels need more, and get it.
    """
    left, bottom, width, height = box
    wide, high = (width - gap * (columns - 1)) / columns, height / rows
    ax.set_axis_off()
    made = [
        [
            ax.inset_axes((left + j * (wide + gap), bottom + (rows - 1 - i) * high + 0.1 * high, wide, 0.8 * high))
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    return np.array(made, dtype=object)


def nothing(ax: Axes, why: str) -> Axes:
    """Empty axes that say why they are empty."""
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=QUIET)
    return ax


def marker_path(letter: str, size: float = 12.0) -> str:
    """A marker as the `d` of an SVG path, centred in a square of `size`; for a page's swatches."""
    from matplotlib.markers import MarkerStyle
    from matplotlib.path import Path

    style = MarkerStyle(letter)
    path = style.get_path().transformed(style.get_transform())
    reach = float(np.abs(np.asarray(path.vertices)).max()) or 1.0
    steps = []
    for points, code in path.iter_segments(simplify=False):
        spots = " ".join(
            f"{size / 2 + 0.45 * size * (v if i % 2 == 0 else -v) / reach:.2f}" for i, v in enumerate(points)
        )
        letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
        steps.append("Z" if code == Path.CLOSEPOLY else f"{letters[code]}{spots}")
    return "".join(steps)
