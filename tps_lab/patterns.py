"""Shift patterns: a small tile of temporal offsets, repeated over the patch grid.

A tile entry k says that the patch there takes its content from k frames earlier, so positive
offsets bring the past and negative ones the future (the sign of the released code, which calls
`torch.roll(+k)` along time)::

    mixed[t, h, w] = clip[t - k, h, w],    k = tile[h mod rows][w mod columns]

Source: Xiang et al., "Spatiotemporal Self-attention Modeling with Temporal Patch Shift for Action
Recognition", ECCV 2022, arXiv 2207.13259, section 3.2 and figure 3. NumPy only: no torch here.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from tps_lab.errors import InputError, shortened, unknown
from tps_lab.plugins import place
from tps_lab.text import counted

Border = Literal["circular", "zero", "edge"]
BORDERS: tuple[str, ...] = get_args(Border)

# The gallery: what to say of each, and its tile as the paper draws it, one line for one row of patches.
# "uneven" and "even-2" have no printed tile: both are inferred from the figure so that they move
# the same 12 of the 49 patches of a 7×7 window, once in one corner and once spread out.
_GALLERY = {
    "none": ("no shift: plain spatial attention", "0"),
    "center-one": (
        "one patch of nine comes from the previous frame",
        """
         0  0  0
         0  1  0
         0  0  0""",
    ),
    "uneven": (
        "a quarter of a 7×7 window shifted, all of it in one corner (tile inferred)",
        """
         1  1  1  1  0  0  0
         1  1  1  1  0  0  0
         1  1  1  1  0  0  0
         0  0  0  0  0  0  0
         0  0  0  0  0  0  0
         0  0  0  0  0  0  0
         0  0  0  0  0  0  0""",
    ),
    "even-2": (
        "a quarter of the patches shifted, spread evenly (tile inferred)",
        """
         0  1
         0  0""",
    ),
    "A": (
        "Even-3, the Bayer mosaic: the previous, the current and the next frame",
        """
         0  1
        -1  0""",
    ),
    "B": (
        "four frames in a 2×2 tile",
        """
         0  1
        -1  2""",
    ),
    "C": (
        "nine frames in a 3×3 tile: the paper's choice",
        """
        -4  1  2
        -1  0  3
        -2 -3  4""",
    ),
    "C-without-4": (
        "an early variant of C in the released code: -4 is replaced by 0",
        """
         0  1  2
        -1  0  3
        -2 -3  4""",
    ),
    "D": (
        "sixteen frames in a 4×4 tile",
        """
         0  1  2  3
        -1 -7  4  5
        -2 -4  7  6
        -3 -5 -6  8""",
    ),
}
_LARGEST_TILE, _LARGEST_OFFSET = 64, 10_000
_ALIASES = {"even-3": "A", "bayer": "A", "c8": "C-without-4"}


@dataclass(frozen=True)
class ShiftPattern:
    """A tile of temporal offsets, in frames.

    Args:
        tile: rows of integers; `tile[h % rows][w % columns]` is the offset of patch (h, w).
        name: what to call it; no part of equality.
        note: one phrase about it; no part of equality.

    Raises:
        InputError: the tile is empty, ragged or not made of integers.

    >>> ShiftPattern.parse("0 1 / -1 0").frames_mixed
    3
    """

    tile: tuple[tuple[int, ...], ...]
    name: str = field(default="custom", compare=False)
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tile", _checked_tile(self.tile))

    # ------------------------------------------------------------------ making and naming

    @classmethod
    def parse(cls, given: ShiftPattern | str | Sequence[Sequence[int]]) -> ShiftPattern:
        """A pattern from a gallery name, from text ("0 1 / -1 0") or from nested lists.

        Text rows are separated by "/" or by line ends, offsets by blanks or commas; nested lists
        may be text, too ("[[0, 1], [-1, 0]]"). A tile that equals a named one gets its name.
        """
        if isinstance(given, ShiftPattern):
            return given
        if isinstance(given, str):
            text = given.strip()
            if re.search(r"[A-Za-z]", text) and not re.search(r"[/,\s]", text):
                return gallery[text]
            if text.startswith("[[") and text.endswith("]]"):
                text = re.sub(r"\]\s*,\s*\[", " / ", text[2:-2])
            rows = list(re.split(r"[/\n]", text))
            if rows and not rows[-1].strip():
                rows.pop()
            given = [[_integer(word, text) for word in re.split(r"[,\s]+", row.strip()) if word] for row in rows]
        pattern = cls(given)  # type: ignore[arg-type]
        return next((named for named in gallery.values() if named == pattern), pattern)

    @property
    def text(self) -> str:
        """The tile on one line: "0 1 / -1 0"; `parse` reads it back."""
        return " / ".join(" ".join(map(str, row)) for row in self.tile)

    def __str__(self) -> str:
        return self.name if gallery.get(self.name) == self else self.text

    # ------------------------------------------------------------------ what it mixes

    @property
    def rows(self) -> int:
        return len(self.tile)

    @property
    def columns(self) -> int:
        return len(self.tile[0])

    @property
    def offsets(self) -> tuple[int, ...]:
        """The distinct offsets in frames, ascending."""
        return tuple(sorted({k for row in self.tile for k in row}))

    @property
    def frames_mixed(self) -> int:
        """How many distinct frames meet in one mixed frame (of a clip that is long enough)."""
        return len(self.offsets)

    @property
    def shifted_share(self) -> float:
        """Share of the tile's patches that come from another frame, 0 to 1."""
        return float(np.mean(np.array(self.tile) != 0))

    def offsets_on(self, height: int, width: int) -> np.ndarray:
        """The tile repeated over a height × width grid that it need not divide: int array (H, W)."""
        check_whole(height=height, width=width)
        h, w = np.arange(height)[:, None], np.arange(width)
        return np.array(self.tile)[h % self.rows, w % self.columns]

    def reach(self, layers: int = 1, shift_back: bool = True) -> int:
        """How many frames away a token can be influenced from after `layers` patch-shift layers.

        With shift back, a query from frame t with offset k meets keys from frame t + k - k', so a
        layer reaches the span of the tile, max - min. Without it, the mixed frame t holds the
        frames t - k', so a layer reaches max |k|. Layers add up when tokens of a frame meet in
        between (TPS alternates with spatial or channel-shift blocks): stacked with nothing in
        between, a shifted-back layer on a ViT has the same partition every time and its reach
        stays that of one layer. The exact reach of a whole model on a given grid, this case
        included, is `Variant.reach`.

        On a circular clip of T frames no two frames are further apart than T // 2, either way
        round.
        """
        check_whole(0, layers=layers)
        check_switch(shift_back=shift_back)
        low, high = self.offsets[0], self.offsets[-1]
        return layers * (high - low if shift_back else max(abs(low), abs(high)))

    def source_frames(self, frames: int, height: int, width: int, border: Border = "circular") -> np.ndarray:
        """From which frame every patch of every mixed frame comes.

        Returns:
            int array (T, H, W); -1 marks a patch filled with zeros (border "zero").
        """
        check_border(border)
        self.check_fits(frames)
        source = np.arange(frames)[:, None, None] - self.offsets_on(height, width)
        if border == "circular":
            return source % frames
        if border == "edge":
            return source.clip(0, frames - 1)
        return np.where((source >= 0) & (source < frames), source, -1)

    def check_fits(self, frames: int) -> None:
        """Raise `InputError` if an offset is as long as a clip of `frames` frames, or longer."""
        check_whole(frames=frames)
        too_long = [k for k in self.offsets if abs(k) >= frames]
        if too_long:
            raise InputError(
                f"pattern {self} has offset {too_long[0]:+d}, which a clip of {counted(frames, 'frame')} cannot hold "
                f"(at most {frames - 1} either way); tile: {self.text}"
            )

    def __repr__(self) -> str:
        return f"ShiftPattern({self.text!r}, name={self.name!r})"


def check_border(border: Any) -> None:
    """Refuse what is none of `BORDERS`."""
    if not isinstance(border, str) or border not in BORDERS:
        raise unknown("border", str(border), BORDERS)


def check_switch(**switches: Any) -> None:
    """Refuse switches that are neither True nor False: "no" would count as True."""
    for name, given in switches.items():
        if not isinstance(given, (bool, np.bool_)):
            raise InputError(f"{name} must be True or False, got {shortened(repr(given))}")


def check_whole(low: int = 1, **numbers: Any) -> None:
    """Refuse what is no whole number from `low`."""
    for name, given in numbers.items():
        if not _is_whole(given):
            raise InputError(f"{name} must be a whole number, got {shortened(repr(given))}")
        if given < low:
            raise InputError(f"{name} must be {low} or more, got {shortened(str(given))}")


def _is_whole(given: Any) -> bool:
    """A bool is an int to Python, but True is no number of anything; NumPy integers are welcome."""
    return isinstance(given, (int, np.integer)) and not isinstance(given, bool)


def _integer(word: str, text: str) -> int:
    try:
        # as in the studio, also with a minus sign as papers print it; thousands of digits are an error of Python's own
        if not re.fullmatch("[-+\N{MINUS SIGN}]?[0-9]{1,40}", word):
            raise ValueError
        return int(word.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        named = f", nor a pattern's name ({', '.join(gallery)})" if "/" not in text else ""
        raise InputError(f"'{shortened(word)}' is not an integer offset{named}; tile: {shortened(text)!r}") from None


def _checked_tile(tile: Any) -> tuple[tuple[int, ...], ...]:
    try:
        rows = [list(row) for row in tile]
    except TypeError:
        raise InputError(f"a tile is a list of rows of integers, got {tile!r}") from None
    if not rows or not rows[0]:
        raise InputError(f"empty tile; expected rows of integers like '0 1 / -1 0', got {tile!r}")
    if max(len(rows), *(len(row) for row in rows)) > _LARGEST_TILE:
        size = f"{len(rows)}×{max(map(len, rows))}"
        raise InputError(f"a tile has at most {_LARGEST_TILE}×{_LARGEST_TILE} entries, this one has {size}")
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        drawn = " / ".join(" ".join(map(str, row)) for row in rows)
        raise InputError(f"ragged tile, its rows have {', '.join(map(str, lengths))} entries; tile: {shortened(drawn)}")
    for row in rows:
        for k in row:
            if not _is_whole(k):
                raise InputError(f"{k!r} is not an integer offset; tile: {shortened(repr(rows))}")
            if abs(int(k)) > _LARGEST_OFFSET:
                raise InputError(f"an offset is at most {_LARGEST_OFFSET:,} frames, got {shortened(str(k))}")
    return tuple(tuple(int(k) for k in row) for row in rows)


class _Gallery(dict[str, ShiftPattern]):
    """Named patterns by name, upper or lower case; a wrong name gets the nearest one."""

    def __missing__(self, name: str) -> ShiftPattern:
        if not isinstance(name, str):  # None is no pattern "none"
            raise InputError(f"a pattern's name is text such as 'C', got {shortened(repr(name))}")
        folded = {known.casefold(): known for known in self} | _ALIASES
        key = name.casefold()
        if key in folded:
            return self[folded[key]]
        raise unknown("pattern", name, self)


gallery: _Gallery = _Gallery()
_ADDED_BY: dict[str, str] = {}  # name → the module that added it


def add(name: str, tile: str | Sequence[Sequence[int]], note: str = "") -> ShiftPattern:
    """A pattern of your own by a name, in the gallery of this process from now on; a plugin's line is one for good.

    Args:
        name: begins with a letter; no blanks, commas or slashes.
        tile: as `ShiftPattern.parse` takes it.
        note: one phrase about it.

    Raises:
        InputError: the name stands for another tile already, or is none; or the tile is wrong.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][^/,\s]*", name):
        given = shortened(repr(name))
        raise InputError(f"a pattern's name begins with a letter and has no blank, comma or slash, got {given}")
    pattern = ShiftPattern(ShiftPattern.parse(tile).tile, name, note)
    folded = {known.casefold(): known for known in gallery} | _ALIASES
    if (known := folded.get(name.casefold())) and gallery[known] != pattern:
        by = f" of {place(_ADDED_BY[known])}" if known in _ADDED_BY else ""
        raise InputError(f"the name '{name}' already stands for the tile {gallery[known].text}{by}: choose another")
    gallery[name] = pattern
    _ADDED_BY.setdefault(name, sys._getframe(1).f_globals["__name__"])
    return pattern


for _name, (_note, _tile) in _GALLERY.items():
    add(_name, _tile.strip(), _note)


class _SubscriptableModule(types.ModuleType):
    """Lets people write `tps_lab.patterns["C"]` and loop over `tps_lab.patterns`."""

    def __getitem__(self, name: str) -> ShiftPattern:
        return gallery[name]

    def __iter__(self) -> Iterator[str]:
        return iter(gallery)


sys.modules[__name__].__class__ = _SubscriptableModule
