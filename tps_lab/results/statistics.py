"""Comparing two variants honestly: paired by seed and by test clip.

Every seed trains both variants on the same clips in the same order, and all are tested on the same
clips. So what is looked at is, per seed s and test clip c, the difference of two rights or wrongs,

    d[s, c] = right_A[s, c] - right_B[s, c] = difference + seed[s] + clip[c] + rest[s, c],

and two things are random: which seeds, and which clips. The 95 % interval of the mean difference adds
their shares as half-widths, each with its own Student's t (Howe, JASA 69, 1974):

    mean ± √(t(S-1)² · V_seeds + t(N-1)² · V_clips),
    V_seeds = var(seed means) / S,   V_clips = var(clip means) / N - rest / (S·N),

where V_seeds holds the share of `rest` already and is at least var(d) / (S·N), so that seeds which agree
by luck do not make an interval without width. Fewer than three seeds settle nothing. Clips that come in
whole scenes (`Clips.clips_per_scene`) count as one, because their answers hang together.

Why not a bootstrap over seeds and clips, or one t with Satterthwaite's degrees of freedom? With two
to five seeds both are too sure of themselves. Simulated, A against A, 200 clips, seeds that matter
much, how often the interval holds the true difference (2,000 studies)::

    seeds                       2       3       5       10
    hierarchical bootstrap    89.7 %  92.9 %  95.3 %  96.5 %
    t, Satterthwaite          88.3 %  92.5 %  95.0 %  95.1 %
    this interval             95.6 %  95.7 %  96.3 %  95.5 %

Tests make the first and the last line, with fewer studies. All agree once there are many seeds.

Where each variant chose a setting first, such as its learning rate, by trials of few seeds, the choice may not be its
best: two copies of one variant that choose apart then differ by more than seeds and clips tell. `choice_cost` estimates
from the trials what that may cost, and its square stands among the shares (t(S-1), as it rests on the spread of seeds).

The p value that a claim rests on belongs to the same interval, but is never below 2^(1 - N): with N test
clips, or scenes, that all differ alike, a coin for each would say as much. So fewer than six of
them settle nothing. Beside it stands the exact paired
permutation test over seeds (SciPy): it assumes next to nothing, but with S seeds its p cannot be
less than 2^(1 - S), so that with five seeds it never can say "below 5 %"; `permutation_floor` tells.
Both are corrected for the number of comparisons by Holm's method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tps_lab.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ALPHA = 0.05
FEWEST_SEEDS = 3  # two seeds that happen to agree say nothing about a third


@dataclass(frozen=True)
class Comparison:
    """A minus B, in points of accuracy.

    Args:
        difference: the mean over seeds and clips.
        low, high: its 95 % interval, over seeds and clips; with one seed over clips alone.
        p: the level at which the interval would just touch zero; NaN with one seed.
        permutation_p: of the exact paired permutation test over seeds; NaN with one seed.
        permutation_floor: the least that the latter can be with so many seeds, corrected as it is.
        p_holm, permutation_p_holm: both, corrected for all comparisons made together.
        effect: Hedges' g of the seeds' differences (their mean in standard deviations); NaN if they
            do not differ, or with two seeds, where its correction leaves nothing.
        seeds, clips: how many there were; the clips of a scene count as one.
    """

    difference: float
    low: float
    high: float
    p: float
    permutation_p: float
    permutation_floor: float
    effect: float
    seeds: int
    clips: int
    p_holm: float = float("nan")
    permutation_p_holm: float = float("nan")

    @property
    def settled(self) -> bool:
        """Whether one may be called better: with three seeds or more, after Holm's correction."""
        return self.seeds >= FEWEST_SEEDS and self.p_holm < ALPHA

    def __neg__(self) -> Comparison:
        """B minus A."""
        # 0 - x, not -x: what does not differ does not differ by "-0.0" the other way round
        return replace(
            self, difference=0 - self.difference, low=0 - self.high, high=0 - self.low, effect=0 - self.effect
        )

    @property
    def signed(self) -> str:
        """As text with true minus signs: "−0.7 (−2.1 to +0.8)"."""
        return str(self).replace("-", "−")

    def __str__(self) -> str:
        return f"{self.difference:+z.1f} ({self.low:+z.1f} to {self.high:+z.1f})"


def choice_cost(validation: Sequence[float], spread: float) -> float:
    """By how much the chosen setting may fall short of the best one that was tried: root mean square, as `spread`.

    The highest validation accuracy is the choice. The true means are taken to lie around what each trial found as
    accuracies of single seeds lie around theirs, normally with standard deviation `spread`, and nothing else is
    assumed of them.

    Args:
        validation: what the trials found, one for each setting.
        spread: standard deviation of what a trial finds.

    >>> choice_cost([90.0, 50.0], 1.0)
    0.0
    >>> round(choice_cost([50.0, 50.0], 1.0), 1)
    1.0
    """
    found = np.asarray(validation, float)
    if len(found) < 2 or spread <= 0:
        return 0.0
    true = np.random.default_rng(0).normal(found, spread, (20_000, len(found)))
    return float(np.sqrt(np.mean((true.max(1) - true[:, found.argmax()]) ** 2)))


def compare(
    right_a: ArrayLike, right_b: ArrayLike, clips_per_scene: int = 1, over_clips: bool = True, choices: float = 0.0
) -> Comparison:
    """Compare two variants on the same seeds and the same test clips.

    Args:
        right_a, right_b: (S, N), 1 where seed s got clip c right; rows and columns in the same order.
        clips_per_scene: so many clips in a row belong together (`Clips.clips_per_scene`).
        over_clips: False says that columns are no clips but accuracies on them, so that nothing can be
            said about other clips; the interval is over seeds alone.
        choices: what choosing settings beforehand may have cost, as a variance of the difference: the sum of both
            variants' squared `choice_cost`, accuracies from 0 to 1.

    Raises:
        InputError: the shapes differ, there are no clips, or something is no number from 0 to 1.

    >>> str(compare([[1, 1, 1, 0]] * 3, [[1, 1, 1, 0]] * 3))
    '+0.0 (+0.0 to +0.0)'
    """
    d = _differences(right_a, right_b, clips_per_scene)
    (seeds, clips), mean = d.shape, float(d.mean())
    shares = _shares(d) + ([(choices, max(seeds - 1, 1))] if choices else [])
    half = _half(shares, ALPHA)
    floor_of_clips = _floor(clips) if over_clips else 0.0
    if floor_of_clips > ALPHA:
        half = 1.0 + abs(mean) if clips == 1 else max(half, abs(mean))
    p = floor = permutation = effect = float("nan")
    if seeds > 1:
        by_seed = d.mean(1)
        p = max(_level(abs(mean), shares), floor_of_clips)
        permutation, floor = _permutation(by_seed), 2.0 ** (1 - seeds)
        spread = float(by_seed.std(ddof=1))
        effect = mean / spread * (1 - 3 / (4 * (seeds - 1) - 1)) if spread > 1e-12 and seeds > 2 else float("nan")
    return Comparison(
        difference=100 * mean,
        low=100 * max(mean - half, -1.0),
        high=100 * min(mean + half, 1.0),
        p=p,
        permutation_p=permutation,
        permutation_floor=floor,
        effect=effect,
        seeds=seeds,
        clips=clips,
        p_holm=p,
        permutation_p_holm=permutation,
    )


def compare_all(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]],
    clips_per_scene: int | Sequence[int] = 1,
    of: int | None = None,
    over_clips: bool = True,
    choices: Sequence[float] = (),
) -> list[Comparison]:
    """`compare` for each pair, the p values corrected for making all of these comparisons (Holm).

    Args:
        clips_per_scene: see `compare`; one number, or one for each pair.
        of: how many comparisons could have been made, if these were chosen by looking at more.
        over_clips: see `compare`.
        choices: of each pair, see `compare`; none were made where empty.
    """
    costs = choices or [0.0] * len(pairs)
    scenes = [clips_per_scene] * len(pairs) if isinstance(clips_per_scene, int) else clips_per_scene
    found = [compare(a, b, scene, over_clips, cost) for (a, b), scene, cost in zip(pairs, scenes, costs, strict=True)]
    for index, value in zip(*holm([one.p for one in found], of), strict=True):
        found[index] = replace(found[index], p_holm=value)
    for index, value in zip(*holm([one.permutation_p for one in found], of), strict=True):
        found[index] = replace(found[index], permutation_p_holm=value)
    tested = max(of or 0, sum(one.p == one.p for one in found))
    return [replace(one, permutation_floor=min(1.0, one.permutation_floor * tested)) for one in found]


# ---------------------------------------------------------------------- parts


def _differences(right_a: ArrayLike, right_b: ArrayLike, clips_per_scene: int) -> np.ndarray:
    a, b = map(_rights, (right_a, right_b))
    if a.shape != b.shape or a.size == 0:
        raise InputError(f"both variants need the same seeds and clips, got {a.shape} and {b.shape} rights and wrongs")
    if clips_per_scene < 1 or a.shape[1] % clips_per_scene:
        raise InputError(f"{a.shape[1]} clips cannot be divided into scenes of {clips_per_scene}")
    return (a - b).reshape(len(a), -1, clips_per_scene).mean(2)


def _rights(given: ArrayLike) -> np.ndarray:
    try:
        found = np.atleast_2d(np.asarray(given))
    except ValueError:  # NumPy's own message tells of inhomogeneous shapes
        raise InputError("rights and wrongs are a table of seeds and clips, got rows of different lengths") from None
    if found.ndim != 2 or found.dtype.kind not in "biuf":
        raise InputError(f"rights and wrongs are a table of numbers, got {found.dtype} {found.shape}")
    bad = found[~((found >= 0) & (found <= 1))]  # NaN is neither
    if bad.size:
        raise InputError(f"rights and wrongs are from 0 to 1, got {bad[0]}")
    return found.astype(float)


Share = tuple[float, int]  # a variance of the mean, and its degrees of freedom


def _shares(d: np.ndarray) -> list[Share]:
    """What seeds and what clips contribute to the variance of the mean of d (S, N); only those that vary."""
    seeds, clips = d.shape
    shares: list[Share] = []
    if seeds > 1:
        # Seeds whose means agree by luck would leave no spread: they differ at least as clips drawn anew would.
        floor = float(d.var(ddof=1)) / clips
        shares.append((max(float(d.mean(1).var(ddof=1)), floor) / seeds, seeds - 1))
    if clips > 1:
        from_clips = float(d.mean(0).var(ddof=1)) / clips
        if seeds > 1:  # what varies by seed and clip at once stands in both shares and is taken out of one
            rest = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
            from_clips -= float((rest**2).sum()) / ((seeds - 1) * (clips - 1)) / (seeds * clips)
        shares.append((max(from_clips, 0.0), clips - 1))
    return shares


def _half(shares: Sequence[Share], level: float) -> float:
    """Half the width of the interval that errs with probability `level`."""
    from scipy.special import stdtrit  # Student's t by its lower tail: levels near 0 stay exact

    return float(sum(float(stdtrit(freedom, level / 2)) ** 2 * part for part, freedom in shares)) ** 0.5


def _level(away: float, shares: Sequence[Share]) -> float:
    """The level whose interval is just as wide as `away`: 1 if the mean is 0, 0 if nothing varies."""
    from scipy import optimize

    if away == 0:
        return 1.0
    tiny = 1e-12
    if _half(shares, tiny) <= away:
        return tiny if any(part for part, _ in shares) else 0.0
    root = optimize.brentq(lambda log: _half(shares, float(np.exp(log))) - away, np.log(tiny), 0.0)
    return float(np.exp(root))


def _permutation(by_seed: np.ndarray) -> float:
    from scipy import stats

    # SciPy's "samples" swaps A and B within a seed, in all 2^S ways while they are few
    done = stats.permutation_test(
        (by_seed, np.zeros_like(by_seed)),
        lambda a, b, axis: np.mean(a - b, axis=axis).round(12),  # thirds that cancel leave no 1e-17 to be ranked
        permutation_type="samples",
        vectorized=True,
        n_resamples=5000,
        rng=np.random.default_rng(0),
    )
    return float(done.pvalue)


def holm(values: Sequence[float], of: int | None = None) -> tuple[list[int], list[float]]:
    """Places of the values that are there, and these values corrected; those not looked at count as 1."""
    there = [i for i, value in enumerate(values) if value == value]
    if not there:
        return [], []
    given = [values[i] for i in there]
    unseen = [1.0] * ((of or 0) - len(values))
    every = np.array([*given, *unseen])
    order = np.argsort(every)
    corrected = np.empty(len(every))
    corrected[order] = np.minimum(np.maximum.accumulate(every[order] * np.arange(len(every), 0, -1)), 1.0)
    return there, corrected[: len(given)].tolist()


def _floor(clips: int) -> float:
    """The least p that so many clips can give: a coin that falls the same way for each of them, twice for both ways.

    The interval by itself takes clips that all differ alike for clips that can do no other, were there
    one or two of them.
    """
    return 2.0 ** (1 - clips)


def simulate(
    rng: np.random.Generator, seeds: int, clips: int, gap: float = 0.0, seed_spread: float = 0.3, base: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    """Rights and wrongs (S, N) of two made-up variants whose logits differ by `gap`.

    Clips have difficulties that both variants share in part, and every seed of every variant has its
    own luck.
    """
    hard = rng.normal(0, 1.5, clips)

    def rights(logit: float) -> np.ndarray:
        chances = logit + hard + rng.normal(0, 0.7, clips) + rng.normal(0, seed_spread, (seeds, 1))
        return rng.random((seeds, clips)) < 1 / (1 + np.exp(-chances))

    return rights(base + gap), rights(base)
