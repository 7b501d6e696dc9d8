"""Who may meet under each variant, by hand: `MEETS`, rules for two tokens. No code of the package is used in them.

A new variant needs a line here, and one in `naive_blocks.NAIVE`.
"""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from tps_lab.attention import Grid, parse

GRID = Grid(5, 2, 3)  # five frames, because pattern C holds ±4
CHANNELS, HEADS = 16, 2  # an eighth of a head's eight channels is one
A = [[0, 1], [-1, 0]]
C = [[-4, 1, 2], [-1, 0, 3], [-2, -3, 4]]
quick = settings(deadline=None, max_examples=40)

short_tiles = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-4, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)
BORDERS = st.sampled_from(["circular", "zero", "edge"])


# ---------------------------------------------------------------------- who meets whom, by hand


def offset(tile, token):
    """The tile's entry at a token; a class token of a frame is never shifted."""
    _, h, w = token
    return 0 if h is None else tile[h % len(tile)][w % len(tile[0])]


def shifted(tile, border="circular", shift_back=True):
    """May output a (frame, h, w) see input b, in a clip of this grid?"""

    def meet(a, b, grid):
        T = grid.frames

        def held(frame):  # is b's content what stands at b's place in mixed frame `frame`?
            source = frame - offset(tile, b)
            if border == "circular":
                return (source - b[0]) % T == 0
            return (min(max(source, 0), T - 1) if border == "edge" else source) == b[0]

        mixed = a[0] + (offset(tile, a) if shift_back else 0)
        if border == "circular":
            return held(mixed % T)
        if border == "edge":
            return held(min(max(mixed, 0), T - 1))
        return 0 <= mixed < T and held(mixed)

    return meet


def same_frame(a, b, grid):
    return a[0] == b[0]


def neighbour_frames(a, b, grid):
    return abs(a[0] - b[0]) <= 1


def same_place(a, b, grid):
    return a[1:] == b[1:]


def same_place_or_frame(a, b, grid):
    return same_place(a, b, grid) or same_frame(a, b, grid)


def anyone(a, b, grid):
    return True


def patches_only(a, b, grid):
    return True


def own_or_neighbouring_class_token(a, b, grid):
    return a == b or (a[1:] == b[1:] == (None, 0) and abs(a[0] - b[0]) == 1)


def windows(frames, side, moved=False):
    """Between the same cuts on every axis; a moved axis is cut half a window later, if it is cut at all."""

    def meet(a, b, grid):
        for x, y, window, length in zip(
            a, b, (frames, side, side), (grid.frames, grid.height, grid.width), strict=True
        ):
            first = window // 2 if moved and window < length else 0
            cuts = range(first, length, window)
            if any(min(x, y) < cut <= max(x, y) for cut in cuts):
                return False
        return True

    return meet


def same_quarter(a, b, grid):
    return all((2 * x < n) == (2 * y < n) for x, y, n in zip(a[1:], b[1:], (grid.height, grid.width), strict=True))


def even_steps_apart(a, b, grid):
    return all((x - y) % 2 == 0 for x, y in zip(a, b, strict=True))


def axes(grid):
    return grid.frames, grid.height, grid.width


def window_around(sizes=None, steps=(1, 1, 1)):
    """On every axis the nearest places of the query's own residue; sizes None: half of them, 3 at least."""

    def meet(a, b, grid):
        for x, y, n, step, axis in zip(a, b, axes(grid), steps, range(3), strict=True):
            half = 2 * (n // step // 4) + 1
            size = sizes[axis] if sizes else n // step if n // step < 3 else max(3, half)
            residue = sorted((z for z in range(n) if (z - x) % step == 0), key=lambda z: abs(z - x))
            if y not in residue[:size]:
                return False
        return True

    return meet


def window_of_tiles(tile, sizes=None):
    def meet(a, b, grid):
        tiles = [len(range(0, n, side)) for n, side in zip(axes(grid), tile, strict=True)]
        a, b = (tuple(x // side for x, side in zip(token, tile, strict=True)) for token in (a, b))
        return window_around(sizes)(a, b, Grid(*tiles))

    return meet


def radially(sink):
    def meet(a, b, grid):
        if sink and b[0] == 0:
            return True
        apart, n = abs(a[0] - b[0]), grid.height * grid.width
        distance = abs((a[1] * grid.width + a[2]) - (b[1] * grid.width + b[2]))
        if apart <= 1:
            return True
        width = n / 2  # at a distance of 2 and 3; then half of it up to 7, and so on
        while apart >= 4:
            apart //= 2
            width /= 2
        every = max(1, int(2 / width))  # a band narrower than a patch thins out the frames
        return distance <= width / 2 and abs(a[0] - b[0]) % every == 0

    return meet


def band_of_frames(a, b, grid):
    number = [(token[0] * grid.height + token[1]) * grid.width + token[2] for token in (a, b)]
    return abs(number[0] - number[1]) < 2 * grid.height * grid.width


def band_of_places(a, b, grid):
    distance = abs((a[1] - b[1]) * grid.width + a[2] - b[2])
    return distance == 0 or distance < 2 * grid.height * grid.width // grid.frames


def either_band(a, b, grid):
    return band_of_frames(a, b, grid) or band_of_places(a, b, grid)


def not_later(a, b, grid):
    return b[0] <= a[0]


def own_previous_or_first(a, b, grid):
    return b[0] in (a[0], a[0] - 1, 0)


def same_area(a, b, grid):
    return all((2 * x < n) == (2 * y < n) for x, y, n in zip(a, b, axes(grid), strict=True))


def frames_within(far):
    return lambda a, b, grid: abs(a[0] - b[0]) <= far


def partner(t, frames, distance):
    """Frames taken one after the other, each with the one at a distance, unless that is over the end."""
    pairs, taken = {}, set()
    for first in range(frames):
        if first not in taken:
            pairs[first] = first + distance
            pairs[first + distance] = first
            taken |= {first, first + distance}
    return pairs[t]


def pairs_and_neighbours(level):
    def meet(a, b, grid):
        """A frame and its neighbours at the same place bring what they saw: themselves and their partners."""
        distance = -(-grid.frames // 2 ** (level + 1))
        beside = [t for t in (a[0] - 1, a[0], a[0] + 1) if 0 <= t < grid.frames]
        return any(b[0] in (t, partner(t, grid.frames, distance)) for t in beside)

    return meet


def beside_at_its_place(a, b, grid):
    return a == b or (a[1] is not None and a[1:] == b[1:] and abs(a[0] - b[0]) == 1)


# variant: what each mixer of its first block (@ 1: of its second) lets meet, extra steps first
MEETS = {
    "spatial": [same_frame],
    "tps(every=1)": [shifted(C)],
    "tps(every=2)": [same_frame],
    "tps(every=1, pattern=A)": [shifted(A)],
    "tps(every=1, pattern=none)": [same_frame],
    "tps(every=1, border=zero)": [shifted(C, "zero")],
    "tps(every=1, border=edge)": [shifted(C, "edge")],
    "tps(every=1, shift_back=False)": [shifted(C, shift_back=False)],
    "tps(every=1, border=zero, shift_back=False)": [shifted(C, "zero", shift_back=False)],
    "tps(every=1, border=edge, shift_back=False)": [shifted(C, "edge", shift_back=False)],
    "tcs": [neighbour_frames],
    "tcs(fraction=4)": [neighbour_frames],
    "tsm": [neighbour_frames],
    "tsm(fraction=3)": [neighbour_frames],
    "tps+tcs": [shifted(C)],
    "tps+tcs(order=tcs-tps)": [neighbour_frames],
    "joint": [anyone],
    "divided": [same_place, same_frame],
    "joint(rotary=True)": [anyone],
    "divided(rotary=True)": [same_place, same_frame],
    "divided(class_token=both)": [same_place, same_frame],
    "axial": [
        same_place,
        lambda a, b, grid: a[:2] == b[:2],
        lambda a, b, grid: (a[0], a[2]) == (b[0], b[2]),
    ],
    "local": [anyone],  # as large as the clip
    "local(window_frames=2, window=2)": [windows(2, 2)],
    "local(window_frames=2, window=2) @ 1": [windows(2, 2, moved=True)],
    "local(window_frames=3, window=1) @ 1": [windows(3, 1, moved=True)],
    "local(window_frames=2, window=2, moved=False) @ 1": [windows(2, 2)],
    "local(window_frames=2, window=2, every=2) @ 1": [windows(2, 2)],
    "l+g": [same_quarter, even_steps_apart],
    "factorised-encoder": [same_frame],
    "factorised-self": [same_place, same_frame],
    "factorised-self(order=time-space)": [same_place, same_frame],
    "factorised-dot": [same_place_or_frame],
    "trajectory": [patches_only],
    "trajectory(values=plain)": [patches_only],
    "xvit": [neighbour_frames],
    "xvit(channels=all)": [neighbour_frames],
    "tokshift": [own_or_neighbouring_class_token, own_or_neighbouring_class_token, same_frame],
    "aim": [same_place, same_frame],
    "st-adapter": [beside_at_its_place, same_frame],
    "areas": [same_area],
    "areas @ 3": [anyone],
    "mem": [not_later],
    "mem @ 2": [not_later],
    "zeroi2v": [neighbour_frames],
    "zeroi2v(far=2)": [frames_within(2)],
    "leap": [pairs_and_neighbours(0)],
    "leap @ 1": [pairs_and_neighbours(1)],
    "natten": [window_around()],
    "natten(window_frames=3, window=1)": [window_around((3, 1, 1))],
    "natten(dilation_frames=2)": [window_around(steps=(2, 1, 1))],
    "sliding-tile": [window_of_tiles((2, 2, 2))],
    "sliding-tile(tile_frames=1, tile=3)": [window_of_tiles((1, 3, 3))],
    "radial": [radially(sink=True)],
    "radial(sink=False)": [radially(sink=False)],
    "svg": [either_band],
    "causal": [not_later],
    "first-and-previous": [own_previous_or_first],
}
RELATIONS = [
    text for text in MEETS if parse(text.partition(" @ ")[0]).block(0, 1)[-1].__class__.__name__ == "RelationMixer"
]
PREFIXES = [(text, prefix) for text in MEETS for prefix in (0, 2) if prefix or not text.startswith("tokshift")]


def block_of(text):
    """The variant, its mixers and the index of the block that a line of the tables is about."""
    name, _, index = text.partition(" @ ")
    variant, index = parse(name), int(index or 0)
    return variant, variant.block(index, index + 1), index


def tokens_of(grid):
    """(t, h, w) token by token; a frame's i-th prefix token is (t, None, i), a clip's is None."""
    found = [None] * grid.prefix if grid.prefix_of == "clip" else []
    for t in range(grid.frames):
        found += [(t, None, i) for i in range(grid.prefix if grid.prefix_of == "frame" else 0)]
        found += [(t, h, w) for h in range(grid.height) for w in range(grid.width)]
    return found


def by_hand(grid, meet):
    tokens = tokens_of(grid)
    shown = meet is not patches_only  # may patches see a clip's prefix?
    return np.array(
        [[a is None or (shown if b is None else meet(a, b, grid)) for b in tokens] for a in tokens],
    )


def on(grid, variant, prefix):
    return Grid(grid.frames, grid.height, grid.width, prefix, variant.prefix_of)
