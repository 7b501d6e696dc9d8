"""Paired statistics: known values, honest intervals, and few false claims where there is nothing to find."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from tps_lab import InputError
from tps_lab.results import statistics as statistics_of
from tps_lab.results.groups import group_runs, with_trials
from tps_lab.results.paired import compare_groups
from tps_lab.results.statistics import choice_cost, compare, compare_all, simulate


class RunOf(SimpleNamespace):
    """A run of which a comparison reads the row and the answers."""

    def __init__(self, row, **more):
        super().__init__(**{"row": row, "environment": {}, "config": {}, "path": None} | more)


def bootstrap(right_a, right_b, draws=1000, seed=0):
    """The percentile interval of a bootstrap over seeds and clips: (low, high) in points."""
    d = np.asarray(right_a, float) - np.asarray(right_b, float)
    rng = np.random.default_rng(seed)
    # how often each seed and each clip is drawn; the mean over both is then one product
    by_seed = rng.multinomial(d.shape[0], np.full(d.shape[0], 1 / d.shape[0]), draws) / d.shape[0]
    by_clip = rng.multinomial(d.shape[1], np.full(d.shape[1], 1 / d.shape[1]), draws) / d.shape[1]
    means = np.einsum("rs,rs->r", by_seed, by_clip @ d.T)
    return tuple(100 * np.quantile(means, [0.025, 0.975]))


def coverage(seeds, studies=2000, clips=200):
    """How often nothing is found where nothing is (A against A), by the bootstrap and by `compare`."""
    rng = np.random.default_rng(seeds)
    inside = {"bootstrap": 0, "compare": 0}
    for study in range(studies):
        a, b = simulate(rng, seeds, clips)
        low, high = bootstrap(a, b, draws=400, seed=study)
        inside["bootstrap"] += low <= 0 <= high
        found = compare(a, b)
        inside["compare"] += found.low <= 0 <= found.high
    return {name: count / studies for name, count in inside.items()}


def test_with_clips_that_do_not_vary_it_is_the_paired_t_test():
    # seed s gets so many of 1,000 clips right; the difference of a clip is the same in distribution
    rng = np.random.default_rng(0)
    a, b = (np.array([rng.permutation(1000) < n for n in counts]) for counts in ([800, 860, 830], [700, 790, 690]))
    found = compare(a, b)
    expected = stats.ttest_rel([80, 86, 83], [70, 79, 69])
    low, high = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(10.3333, abs=1e-3)
    # clips' share is what little they add
    assert found.low == pytest.approx(low, abs=0.5)
    assert found.high == pytest.approx(high, abs=0.5)
    assert found.p == pytest.approx(expected.pvalue, rel=0.2)
    assert found.permutation_p == 0.25 == found.permutation_floor


def test_the_p_value_and_the_interval_agree():
    for seed in range(20):
        found = compare(*simulate(np.random.default_rng(seed), 4, 100, gap=0.6))
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        assert found.low < found.difference < found.high


def test_turned_round_it_is_the_comparison_of_b_with_a():
    a, b = simulate(np.random.default_rng(1), 4, 100, gap=0.6)
    turned, other = -compare(a, b), compare(b, a)
    for key, value in vars(other).items():
        assert getattr(turned, key) == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6)), key


def test_permutation_test_is_exact():
    a = np.zeros((6, 10))
    a[:, :3] = 1  # A is right three times more in every seed
    found = compare(a, np.zeros((6, 10)))
    assert found.permutation_p == 2 / 2**6


def test_one_seed_says_nothing_about_others():
    found = compare([[1, 1, 1, 0] * 50], [[0, 1, 0, 0] * 50])
    assert math.isnan(found.p)
    assert not found.settled
    assert found.low < 50 < found.high


def test_equal_variants_do_not_differ():
    rights = np.random.default_rng(0).random((3, 50)) < 0.5
    found = compare(rights, rights)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.settled


def test_twins_count_as_one_clip():
    # a counterpart that is right whenever the other is wrong: their mean never varies
    a = np.tile([1, 0, 0, 1], (3, 20))
    b = np.tile([0, 1, 1, 0], (3, 20))
    found = compare(a, b, clips_per_scene=2)
    assert (found.low, found.high, found.clips) == (0, 0, 40)
    assert compare(a, b).high > 5


def test_holm_multiplies_the_least_p_by_the_number_of_comparisons():
    pairs = [simulate(np.random.default_rng(seed), 4, 300, gap) for seed, gap in enumerate((1.5, 0.0, 0.3))]
    found = compare_all(pairs)
    assert found[0].p == min(one.p for one in found)
    assert found[0].p_holm == pytest.approx(3 * found[0].p)
    assert all(one.p_holm >= one.p for one in found)


@pytest.mark.parametrize("unseen", [0, 3])
def test_holm_is_that_of_another_library(unseen):
    from statsmodels.stats.multitest import multipletests

    given = np.random.default_rng(1).random(9) ** 3
    there, corrected = statistics_of.holm([*given[:4], float("nan"), *given[4:]], 10 + unseen if unseen else None)
    assert there == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert corrected == pytest.approx(multipletests([*given, *[1.0] * unseen], method="holm")[1][:9])


def test_two_seeds_that_agree_by_luck_settle_nothing():
    """17 wins against 14 of 200 clips in both seeds: the seeds' means do not differ at all."""
    a, b = np.zeros((2, 200)), np.zeros((2, 200))
    for s in range(2):
        a[s, 40 * s : 40 * s + 17] = 1
        b[s, 100 + 40 * s : 100 + 40 * s + 14] = 1
    found = compare(a, b)
    assert not found.settled
    assert found.low < 0 < found.high


def test_three_seeds_that_agree_by_luck_leave_an_interval_with_width():
    a, b = np.zeros((3, 200)), np.zeros((3, 200))
    for s in range(3):
        a[s, 30 * s : 30 * s + 17] = 1
        b[s, 100 + 30 * s : 100 + 30 * s + 14] = 1
    assert not compare(a, b).settled


def test_the_least_permutation_p_is_corrected_as_the_p_beside_it():
    pairs = [simulate(np.random.default_rng(seed), 5, 100, 3.0) for seed in range(4)]
    for found in compare_all(pairs):
        assert found.permutation_floor == 4 / 2**4
        assert found.permutation_p_holm >= found.permutation_floor


@pytest.mark.parametrize("curve", [(0.8, 1.6, 1.6, 0.7), (0.8, 1.4, 1.6, 1.1), (1.3, 1.5, 1.6, 1.4)], ids=str)
@pytest.mark.parametrize("luck", [0.1, pytest.param(0.3, marks=pytest.mark.slow), 0.8])
def test_copies_of_one_variant_tuned_apart_are_rarely_told_apart(curve, luck, monkeypatch):
    """A/A through the tuning: each copy takes the learning rate that validates best, by a seed of its own, and
    is then compared by fresh seeds, which both have. The curve over the rate is the same for both, and steep enough
    to matter.
    """
    monkeypatch.setattr(statistics_of, "_permutation", lambda by_seed: 1.0)  # claims do not rest on it
    studies, seeds, clips = 200, 5, 150
    rng = np.random.default_rng(5)
    needed = luck == 0.8 and curve[0] == 0.8  # where one study in six and more claims a difference without the cost
    claims = {"as chosen": 0, "with the choice's cost": 0}
    for _ in range(studies):
        hard = rng.normal(0, 1.5, clips)
        of_seed = rng.normal(0, luck, seeds)  # what is easy for a seed is so for both copies
        copies, costs = [], []
        for _ in range(2):
            found = [100 * np.mean(1 / (1 + np.exp(-(logit + hard + rng.normal(0, luck))))) for logit in curve]
            logit = curve[int(np.argmax(found))]
            own = (0.9 * of_seed + 0.4 * rng.normal(0, luck, seeds))[:, None]
            rights = rng.random((seeds, clips)) < 1 / (1 + np.exp(-(logit + hard + own)))
            copies.append(rights)
            costs.append((choice_cost(found, float(100 * rights.mean(1).std(ddof=1))) / 100) ** 2)
        claims["as chosen"] += needed and compare(*copies).settled
        claims["with the choice's cost"] += compare(*copies, choices=sum(costs)).settled
    assert claims["as chosen"] > 30 or not needed
    assert claims["with the choice's cost"] <= stats.binom.ppf(0.999, studies, 0.05)


def test_false_claims_are_rare_where_there_is_nothing_to_find(monkeypatch):
    """A/A: four variants that are all the same, three compared with the first, as a report does."""
    monkeypatch.setattr(statistics_of, "_permutation", lambda by_seed: 1.0)  # claims do not rest on it
    studies, seeds, clips = 250, 3, 120
    rng = np.random.default_rng(11)
    claims = 0
    for _ in range(studies):
        hard = rng.normal(0, 1.5, clips)  # the same clips for all
        variants = [
            rng.random((seeds, clips)) < 1 / (1 + np.exp(-(0.8 + hard + rng.normal(0, 0.4, (seeds, 1)))))
            for _ in range(4)
        ]
        claims += any(one.settled for one in compare_all([(variants[0], other) for other in variants[1:]]))
    # 5 % and what chance adds to it in so many studies, 99.9 % of the time
    assert claims <= stats.binom.ppf(0.999, studies, 0.05)


def test_coverage_is_what_the_text_says(monkeypatch):
    monkeypatch.setattr(statistics_of, "_permutation", lambda by_seed: 1.0)
    found = coverage(seeds=3, studies=300)
    assert found["compare"] >= stats.binom.ppf(0.001, 300, 0.95) / 300
    assert found["bootstrap"] < found["compare"]  # too sure of itself


def test_bootstrap_agrees_with_the_interval_when_there_are_many_seeds():
    a, b = simulate(np.random.default_rng(5), 40, 400, gap=0.4)
    found, (low, high) = compare(a, b), bootstrap(a, b)
    assert found.low == pytest.approx(low, abs=0.6)
    assert found.high == pytest.approx(high, abs=0.6)


@pytest.mark.parametrize(
    ("a", "b", "clips_per_scene", "says"),
    [
        ([[1, 0]], [[1, 0, 1]], 1, "same seeds and clips"),
        ([[1, 0, 1]], [[1, 0, 1]], 2, "cannot be divided into scenes of 2"),
        (np.zeros((0, 4)), np.zeros((0, 4)), 1, "same seeds and clips"),
    ],
)
def test_what_does_not_match_is_refused(a, b, clips_per_scene, says):
    with pytest.raises(InputError, match=says):
        compare(a, b, clips_per_scene)


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize(("clips", "clips_per_scene"), [(1, 1), (2, 2), (2, 1), (4, 1), (5, 1), (10, 2)])
def test_a_handful_of_clips_settles_nothing(seeds, clips, clips_per_scene):
    found = compare([[1] * clips] * seeds, [[0] * clips] * seeds, clips_per_scene)
    assert not found.settled
    assert found.low <= 0
    assert not (-found).settled


def test_one_clip_or_set_of_twins_says_nothing_of_others():
    for found in (
        compare([[1]] * 3, [[0]] * 3),
        compare([[1, 1]] * 3, [[1, 0]] * 3, clips_per_scene=2),
        compare([[1]], [[0]]),
    ):
        assert (found.low, found.high) == (-100.0, 100.0)
        assert not found.settled


def test_many_clips_that_all_differ_do_settle():
    found = compare([[1] * 12] * 3, [[0] * 12] * 3)
    assert found.settled
    assert found.p == 2.0**-11


def test_no_difference_is_no_negative_zero():
    same = compare([[1, 1, 1, 0]] * 3, [[1, 1, 1, 0]] * 3)
    assert str(-same) == str(same) == "+0.0 (+0.0 to +0.0)"
    tiny = compare([[1] * 999 + [0]] * 3, [[1] * 999 + [1]] * 3)
    assert "-0.0" not in str(compare(np.full((3, 4), 0.5), np.full((3, 4), 0.5002))), tiny


def test_runs_told_of_their_trials_are_compared_with_the_choice_in_mind():
    def run(case, seed, right, **more):
        answers = np.arange(400) % 4
        said = np.where(np.random.default_rng(seed).random(400) < right, answers, (answers + 1) % 4)
        row = {"attention": case, "label": case, "seed": seed, "steps": 150, "status": "done", "test_clips": 400}
        row["top1_pct"] = 100 * float(np.mean(said == answers))
        return RunOf(row | more, predictions=(said, answers))

    rights = {"spatial": (0.5, 0.56, 0.6, 0.53, 0.64), "joint": (0.42, 0.48, 0.52, 0.45, 0.56)}
    runs = [run(case, seed, right) for case, some in rights.items() for seed, right in enumerate(some)]
    trials = [
        RunOf({"attention": case, "steps": 150, "status": "done", "tuned": {"recipe.lr": lr}, "val_top1_pct": found})
        for case, curve in {"spatial": (48.0, 50.0), "joint": (50.0, 48.5)}.items()
        for lr, found in zip((1e-3, 3e-3), curve, strict=True)
    ]
    plain = {group.attention: group for group in group_runs(runs)}
    told = {group.attention: group for group in group_runs(with_trials(runs, trials, lambda row: row["attention"]))}
    assert plain["spatial"].choice_variance == 0
    spread = float(np.std(told["spatial"].values("top1_pct"), ddof=1))
    assert told["spatial"].choice_variance == pytest.approx((choice_cost([48.0, 50.0], spread) / 100) ** 2)
    before, after = (compare_groups([(groups["joint"], groups["spatial"])])[0].found for groups in (plain, told))
    assert before.settled
    assert not after.settled
    assert after.low < before.low < after.difference == before.difference < before.high < after.high
    elsewhere = with_trials(runs, trials, lambda row: (row["attention"], row.get("seed")))  # trials of nobody here
    assert all(group.choice_variance == 0 for group in group_runs(elsewhere))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([[2, 3]] * 2, "from 0 to 1, got 2"),
        ([[0, -0.5]] * 2, "got -0.5"),
        ([[math.nan, 1]] * 2, "got nan"),
        (None, "a table of numbers"),
        ([["a", "b"]] * 2, "a table of numbers"),
        ([[1, None]] * 2, "a table of numbers"),
        ([[[1, 0]]] * 2, "a table of numbers"),
        ([[1, 0], [1]], "different lengths"),
    ],
)
def test_what_is_no_table_of_rights_and_wrongs_is_an_error(given, says):
    for pair in ((given, [[0, 1]] * 2), ([[0, 1]] * 2, given), (given, given)):
        with pytest.raises(InputError, match=says):
            compare(*pair)


def test_runs_of_another_recipe_are_no_further_seeds(tmp_path):
    def run(seed, **recipe):
        row = {"attention": "joint", "label": "Joint", "status": "done", "steps": 6, "seed": seed}
        return RunOf(row, config={"recipe": {"lr": 0.001, "validate_every": seed + 1} | recipe})

    groups = group_runs([run(0), run(1), run(0, lr=0.05), run(1, lr=0.05), run(0, rates={"backbone": 0})])
    assert [(group.label, len(group.runs)) for group in groups] == [
        ("Joint · learning rate 0.001", 2),
        ("Joint · learning rate 0.05", 2),
        ("Joint · learning rate 0.001 · rates backbone 0", 1),
    ]


def test_a_verdict_does_not_hang_on_the_order_of_the_pairs():
    def group(label, tops):
        rng, clips = np.random.default_rng(len(label)), 3000
        runs = []
        for seed, top1 in enumerate(tops):
            right = np.zeros(clips, int)
            said = (rng.permutation(clips) >= clips * top1 / 100).astype(int)
            row = {"attention": "joint", "label": label, "seed": seed, "status": "done", "test_clips": clips}
            runs.append(RunOf(row | {"top1_pct": 100 * float(np.mean(said == right))}, predictions=(said, right)))
        return group_runs(runs)[0]

    a, b = group("A", [95, 95, 95]), group("B", [70, 70, 70])
    c, d = group("C", [50, 75, 75]), group("D", [70, 95, 95])
    for pairs in ([(a, b), (d, b), (c, b)], [(c, b), (a, b), (d, b)], [(d, b), (c, b), (a, b)]):
        found = {pair.group.label: pair for pair in compare_groups(pairs)}
        assert not found["A"].found.settled


def test_every_pair_has_scenes_of_its_own_size():
    rng = np.random.default_rng(0)
    twins = [np.repeat(rng.integers(0, 2, (5, 60)), 2, axis=1) for _ in range(2)]
    single = [rng.integers(0, 2, (5, 60)) for _ in range(2)]
    assert [one.clips for one in compare_all([twins, single], [2, 1])] == [60, 60]


def test_where_nothing_differs_in_the_mean_nothing_can_be_permuted():
    a = [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 1]]
    b = [[0, 1, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]]
    assert compare(a, b).permutation_p == 1


def test_two_seeds_have_no_effect_size():
    assert np.isnan(compare([[1, 1, 0, 1], [1, 1, 1, 1]], [[0, 1, 0, 0], [1, 0, 0, 1]]).effect)
