"""One look per attention variant, the same in every picture, table and report.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart under the
common kinds of colour blindness, with darker and lighter shades of their blue for the patterns of
TPS. Markers and line styles differ as well, so that a grey print can be read.
"""

from __future__ import annotations

import functools
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from tps_lab import specs
from tps_lab.attention import Look, Variant, variants
from tps_lab.attention._look import STROKES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

P = ParamSpec("P")
R = TypeVar("R")

INK, QUIET, RULE = "#222222", "#6b6b6b", "#e3e3e3"  # text, secondary text, grid lines
CEILING = "#9a3412"  # the line that an order-blind model cannot pass, and 50 % of a pair
CEILING_LINE: Any = {"color": CEILING, "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}


_MARKERS = "osD^vPX*ph<>d8H"
# for what has no look of its own: where a hash of its name points to
_SPARE = [
    Look("#b2182b", "h"),
    Look("#8c510a", "8", "dashed"),
    Look("#6b8e23", "H", "dotted"),
    Look("#17a2b8", "v", "dashdot"),
    Look("#ef6f5e", "s", "sparse"),
    Look("#5b3a29", "^", "long"),
    Look("#00796b", "D"),
    Look("#c51b7d", "P", "dashed"),
    Look("#9467bd", "X", "dotted"),
    Look("#d4a017", "p", "dashdot"),
    Look("#3f5f1f", "<", "sparse"),
    Look("#7a8794", ">", "long"),
]


@functools.lru_cache(maxsize=4)
def _known(classes: tuple[type[Variant], ...]) -> dict[tuple[str, str, str], Look]:
    """The looks that variants give themselves, by what text form and label are read as."""
    found: dict[tuple[str, str, str], Look] = {}
    for cls in classes:
        for options, own in vars(cls).get("looks", {}).items():  # a subclass of a variant is another thing
            variant = specs.parse("attention variant", f"{cls.name}({options})", {cls.name: cls})
            found |= dict.fromkeys((_key(str(variant)), _key(variant.label)), own)
    return found


def _own() -> dict[tuple[str, str, str], Look]:
    return _known(tuple(variants().values()))


def look(text: str) -> Look:
    """The look of a variant, by its text form or its label.

    >>> look("tps(pattern=A)") == look("TPS-A")
    True
    """
    key = _key(text)
    return _of(key) or _SPARE[zlib.crc32(repr(key).encode()) % len(_SPARE)]


def colour(text: str) -> str:
    """The colour of a variant, by its text form or its label: "#rrggbb".

    >>> colour("joint")
    '#cc79a7'
    """
    return look(text).colour


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
    given: dict[Any, Look] = {key: own for key in keys if (own := _of(key))}
    for key in sorted(set(keys) - set(given)):
        start = zlib.crc32(repr(key).encode())
        turns = (_SPARE[(start + step) % len(_SPARE)] for step in range(len(_SPARE)))
        taken = {used.colour for used in given.values()}
        given[key] = next((spare for spare in turns if spare.colour not in taken), _SPARE[start % len(_SPARE)])
    result: list[Look] = []
    times: Counter[Any] = Counter()
    for key in keys:
        result.append(_turned(given[key], times[key]))
        times[key] += 1
    return result


def looks_if_variants(texts: Iterable[str]) -> list[Look]:
    """`looks` where some of the things are variants; all alike where colours would mean nothing."""
    texts = list(texts)
    return looks(texts) if any(_key(text) in _own() for text in texts) else [Look("#0072b2", "o")] * len(texts)


def points(used: Look, size: float, edge: str = "white") -> dict[str, Any]:
    """How `Axes.plot` draws a variant's points, as its arguments; size in points of a square marker."""
    at_points = {"marker": used.marker, "markersize": used.marker_size(size), "markeredgecolor": edge}
    return {"color": used.colour, "linestyle": "none"} | at_points


def curve(used: Look, size: float, edge: str = "white") -> dict[str, Any]:
    """The same with the variant's line through them."""
    return points(used, size, edge) | {"linestyle": used.line}


def _of(key: tuple[str, str, str]) -> Look | None:
    """The look that a variant gives itself; with another border it keeps the colour."""
    name, pattern, options = key
    rest = options.split(",")
    borders = {"border=zero": 5, "border=edge": 2}  # turns that lead to other looks than a second and a third line have
    base = _own().get((name, pattern, ",".join(option for option in rest if option not in borders)))
    return base and _turned(base, sum(borders.get(option, 0) for option in rest))


def _turned(base: Look, turns: int) -> Look:
    """The same colour with another marker and line style."""
    if not turns:
        return base
    strokes: list[Any] = list(STROKES)
    marker = _MARKERS[(_MARKERS.find(base.marker) + turns) % len(_MARKERS)]
    return Look(base.colour, marker, strokes[(strokes.index(base.stroke) + turns) % len(strokes)])


def _key(text: str) -> tuple[str, str, str]:
    """(variant, pattern, other options) of "tps(pattern=A, every=1)" or "TPS-A (every=1)"."""
    text = text.casefold().strip()
    for head, variant in _heads(tuple(variants().values())).items():
        if match := re.fullmatch(rf"{re.escape(head)}(?:-(\[[^\]]*\]|[^\s(]+))?\s*(?:\((.*)\))?", text, re.DOTALL):
            name, pattern, inside = variant.name, match[1] or "", match[2] or ""
            break
    else:
        name, _, inside = text.partition("(")
        variant, name, pattern, inside = Variant, name.strip(), "", inside.removesuffix(")")
    # "Divided (T+S)": brackets that belong to a title hold no "="
    options = {part.strip().replace(" =", "=").replace("= ", "=") for part in re.split(r",(?![^\[]*\])", inside)}
    options = {part for part in options if "=" in part}
    for part in sorted(options):
        if part.startswith("pattern="):
            pattern = part.removeprefix("pattern=")
            options.discard(part)
    default = str(getattr(variant, "pattern", "")).casefold()
    return name, (pattern or default).strip("[] "), ",".join(sorted(options))


@functools.lru_cache(maxsize=4)
def _heads(classes: tuple[type[Variant], ...]) -> dict[str, type[Variant]]:
    """How a text form or a label may begin → the variant, the longest beginnings first."""
    found = {head.casefold(): cls for cls in classes for head in (cls.name, cls.title)}
    return dict(sorted(found.items(), key=lambda entry: -len(entry[0])))


# ---------------------------------------------------------------------- figures

# Families with the scripts that DejaVu Sans lacks: as Linux, macOS and Windows have them. Those that are installed are
# asked glyph by glyph, so that class names in Arabic, Chinese, Devanagari, Japanese or Korean are no boxes.
OTHER_SCRIPTS = (
    *("Noto Sans Arabic", "Noto Naskh Arabic", "Noto Sans Devanagari", "Lohit Devanagari"),
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic", "NanumGothic", "FreeSans", "Unifont"),
    *("Arial Unicode MS", "Geeza Pro", "Devanagari MT", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo"),
    *("Arial", "Nirmala UI", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic"),
)

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
        with matplotlib.rc_context(RC | {"font.family": _families()}):
            return function(*args, **kwargs)

    return inside


@functools.lru_cache(maxsize=1)
def _families() -> list[str]:
    """Our font, and behind it what is installed of others: Matplotlib complains of a name that is not."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in installed)]


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


def tag(label: str) -> str:
    """An id for artists that show a variant (`gid=`): a page hides it with the variant, and names it."""
    return f"of-{zlib.crc32(label.encode()):08x}"


def panels(rows: int, columns: int, size: tuple[float, float], sharey: bool = False) -> np.ndarray:
    """Rows × columns of axes on a new figure of that size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return np.asarray(figure.subplots(rows, columns, squeeze=False, sharey=sharey))


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
