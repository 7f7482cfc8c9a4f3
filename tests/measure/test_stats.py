"""Statistics against numbers worked by hand, brute force, scipy and statsmodels."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from fthall.measure import stats


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 6, 2 / 64), (4, 1, 12 / 32), (3, 3, 1.0)],
)
def test_mcnemar_by_hand(lost: int, gained: int, p: float) -> None:
    assert stats.mcnemar(lost, gained) == pytest.approx(p, abs=1e-12)


def test_mcnemar_is_that_of_statsmodels_and_scipy() -> None:
    lost, gained = np.meshgrid(np.arange(0, 60, 7), np.arange(0, 40, 3))
    ours = stats.mcnemar(lost, gained)
    for b, c, p in zip(lost.ravel(), gained.ravel(), ours.ravel(), strict=True):
        assert p == pytest.approx(statsmodels_mcnemar([[0, b], [c, 0]], exact=True).pvalue, abs=1e-9)
        if b + c:
            assert p == pytest.approx(scipy_stats.binomtest(int(b), int(b + c)).pvalue, abs=1e-9)


def test_discordance_by_hand() -> None:
    right = np.array([[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    assert stats.discordance(right).tolist() == [[0, 2, 3], [1, 0, 2], [0, 0, 0]]


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_sign_flip_is_the_count_of_all_sign_patterns(differences: list[int]) -> None:
    observed = abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in _signs(len(differences))]
    assert stats.sign_flip(differences) == pytest.approx(np.mean([s >= observed for s in sums]), abs=1e-12)


def _signs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=n))


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 9))
def test_sign_flip_with_one_question_a_subject_is_mcnemar(lost: int, gained: int, same: int) -> None:
    assert stats.sign_flip([1] * lost + [-1] * gained + [0] * same) == pytest.approx(
        float(stats.mcnemar(lost, gained)), abs=1e-9
    )


def test_sign_flip_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        stats.sign_flip([0.5])


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1, and never falling
    assert stats.holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([]).size == 0


@given(st.lists(st.sampled_from([0.0, 1e-300, 0.001, 0.01, 0.02, 0.3, 1.0]), min_size=1, max_size=30))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert stats.holm(p_values).tolist() == multipletests(p_values, method="holm")[1].tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 17, 856])
def test_coins_are_right_to_the_last_bit(count: int) -> None:
    exact = [Fraction(math.comb(count, heads), 2**count) for heads in range(count + 1)]
    assert stats.coins(count).tolist() == [float(chance) for chance in exact]
    assert stats.coins(count) == pytest.approx(scipy_stats.binom.pmf(range(count + 1), count, 0.5), rel=1e-12)


def test_the_bootstrap_is_scipys_where_items_are_subjects_of_one_relation() -> None:
    values = np.random.default_rng(3).random(57) < 0.8
    drawn = stats.resample(list(range(57)), ["r"] * 57, count=500, seed=7)
    means = drawn.means(values, extremes=(0, 1))
    low, high = drawn.interval(values, extremes=(0, 1))
    wide = math.sqrt(57 / 56) * scipy_stats.t.ppf(0.025, 56)  # the expanded percentile
    with_pseudo_subjects = np.array([*values, 0.0, 1.0])
    theirs = scipy_stats.bootstrap(
        (with_pseudo_subjects,),
        np.mean,
        n_resamples=500,
        method="percentile",
        confidence_level=1 - 2 * scipy_stats.norm.cdf(wide),
        rng=np.random.default_rng(7),
    )
    assert sorted(means) == pytest.approx(sorted(theirs.bootstrap_distribution), abs=1e-9)
    assert (low, high) == pytest.approx(theirs.confidence_interval, abs=1e-9)


def test_a_subject_brings_all_its_items_and_strata_keep_their_size() -> None:
    subjects = [*(f"a{i // 2}" for i in range(24)), *(f"b{i}" for i in range(11)), "c0", "c1"]
    strata = ["a"] * 24 + ["b"] * 11 + ["c"] * 2
    drawn = stats.resample(subjects, strata, count=40, seed=1)
    weights = drawn.weights
    assert weights.shape == (40, 37 + 2)
    assert drawn.subjects == 12 + 11 + 2
    assert np.array_equal(weights[:, 0:24:2], weights[:, 1:24:2])
    assert (weights[:, 24:35].sum(1) == 11).all()
    part = drawn.part(np.array(strata) == "a")
    assert part.subjects == 12
    assert np.array_equal(part.weights, weights[:, [*range(24), 37, 38]])
    assert drawn.totals(np.arange(37))[:2].tolist() == [0 + 1, 2 + 3]
    assert (weights[:, 35:37].sum(1) == 2).all()  # too few for a stratum of their own, and nobody to be pooled with
    assert (weights[:, 0:24:2].sum(1) + weights[:, 37:].sum(1) == 12 + 2).all()  # the pseudo-subjects join the largest


def test_means_of_whole_numbers_do_not_hang_on_what_else_is_asked_for() -> None:
    rng = np.random.default_rng(5)
    drawn = stats.resample([i // 2 for i in range(301)], [f"r{i % 3}" for i in range(301)], count=200)
    sums = rng.integers(-3, 4, (40, 301))
    together = drawn.means(sums, extremes=(-3, 3))
    alone = [drawn.means(row, extremes=(-3, 3)) for row in sums]
    assert np.array_equal(together, np.stack(alone, axis=1))
    exact = drawn.weights[:, :-2].astype(np.int64) @ sums.T + 3 * (drawn.weights[:, [-1]] - drawn.weights[:, [-2]])
    assert np.array_equal(together, exact / drawn.weights.astype(np.int64).sum(1)[:, None])


def test_intervals_of_parts_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(6)
    drawn = stats.resample([i // 2 for i in range(120)], [f"r{i % 3}" for i in range(120)])
    values = rng.integers(-2, 3, 120)
    chosen = np.stack([np.arange(120) < 1, np.arange(120) % 3 == 0, rng.random(120) < 0.4, np.ones(120, dtype=bool)])
    low, high = stats.Parted(drawn, chosen).intervals(values, extremes=(-2, 2))
    for row, part in enumerate(chosen):
        alone = drawn.part(part).interval(values[part], extremes=(-2, 2))
        assert (low[row], high[row]) == tuple(map(float, alone))
    assert np.isnan(drawn.part(chosen[0]).means(values[:1], extremes=(-2, 2))).any()  # and they did not count


def alone(items: int) -> stats.Resamples:
    return stats.resample(list(range(items)), ["r"] * items)


def test_intervals_do_not_pretend_to_certainty() -> None:
    low, high = alone(380).interval(np.zeros(380), extremes=(-1, 1))
    assert -0.02 < low < 0 < high < 0.02
    low, high = alone(100).interval(np.ones(100), extremes=(0, 1))
    assert 0.9 < low < 1
    assert high == 1


def test_clusters_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).random(60) < 0.5, 5)
    low, high = alone(300).interval(values, extremes=(0, 1))
    wider = stats.resample([i // 5 for i in range(300)], ["r"] * 300).interval(values, extremes=(0, 1))
    assert wider[1] - wider[0] > 1.9 * (high - low)  # √5 in theory


def test_nothing_to_resample() -> None:
    with pytest.raises(ValueError, match="needs items"):
        stats.resample([], [])
    with pytest.raises(ValueError, match="a stratum for each"):
        stats.resample(["a"], [])


@given(st.integers(5, 5000), st.floats(0.01, 0.5))
def test_the_detectable_effect_solves_its_equation(items: int, discordant: float) -> None:
    effect = stats.minimum_detectable_effect(items, discordant) / 100
    if effect < discordant:
        a, b = scipy_stats.norm.isf([0.025, 0.2])
        right_side = (a * math.sqrt(discordant) + b * math.sqrt(discordant - effect**2)) ** 2
        assert items * effect**2 == pytest.approx(right_side, rel=1e-6)


def test_the_detectable_effect_is_detected() -> None:
    items, discordant = 400, 0.1
    effect = stats.minimum_detectable_effect(items, discordant) / 100
    assert effect * 100 == pytest.approx(4.417, abs=0.001)  # (√ψn z + b √(ψ(n + b²) - ψz²)) / (n + b²), by hand
    rng = np.random.default_rng(0)
    draws = rng.multinomial(items, [(discordant + effect) / 2, (discordant - effect) / 2, 1 - discordant], size=4000)
    assert np.mean(stats.mcnemar(draws[:, 0], draws[:, 1]) < 0.05) == pytest.approx(0.8, abs=0.05)  # exact: a bit less
    with pytest.raises(ValueError, match="needs items"):
        stats.minimum_detectable_effect(0, 0.1)


def test_items_and_seeds_add_up() -> None:
    replicates = np.random.default_rng(1).normal([80, 70], [3, 4], size=(20000, 2))
    # spreads over seeds: variances 4 and 1, pooled 2.5 with four degrees of freedom; two thirds of it are the seeds'
    # part, 5/3, as is the pair's own (4 + 1) / 3; the items' is 9 + 16
    found = stats.compare_all(np.array([[80.0, 82.0, 78.0], [70.0, 69.0, 71.0]]), replicates, 201)
    total = 25 + 5 / 3
    freedom = total**2 / (25**2 / 200 + (5 / 3) ** 2 / 4)
    assert found.difference.tolist() == [[0, 10], [-10, 0]]
    assert found.error[0, 1] == pytest.approx(math.sqrt(total), rel=0.02)
    assert found.freedom[0, 1] == pytest.approx(freedom, rel=0.05)
    assert (
        found.p[0, 1] == found.p[1, 0] == pytest.approx(2 * scipy_stats.t.sf(10 / math.sqrt(total), freedom), rel=0.1)
    )
    assert found.p[0, 0] == 1
    low, high = found.interval()
    assert (low[0, 1], high[0, 1]) == pytest.approx(
        (10 - 1.97 * math.sqrt(total), 10 + 1.97 * math.sqrt(total)), rel=0.1
    )


def test_a_pairs_own_spread_counts_where_it_is_larger_and_one_seed_borrows() -> None:
    replicates = np.random.default_rng(1).normal(80, 1e-6, size=(2000, 3))
    seeds = np.array([[80.0, 80.0, 80.0], [70.0, 76.0, 82.0], [60.0, np.nan, np.nan]])
    found = stats.compare_all(seeds, replicates, 100)
    pooled = 72 / 4  # squares 0 + 72 + 0 over 2 + 2 + 0 degrees of freedom
    assert found.error[0, 1] == pytest.approx(math.sqrt(36 / 3))  # its own: as large as the pooled, 18 * 2 / 3
    assert found.error[0, 2] == pytest.approx(math.sqrt(pooled * (1 / 3 + 1)))
    alone = stats.compare_all(np.array([[80.0], [70.0]]), replicates[:, :2] + [0.0, 1.0], 100)
    assert alone.error[0, 1] < 1e-5  # no second seed anywhere: the items alone


def test_ranks_tie_what_cannot_be_told_apart() -> None:
    scores = np.array([50.0, 90.0, 89.0])
    p = np.array([[1, 0.001, 0.02], [0.001, 1, 0.6], [0.02, 0.6, 1]])
    ranks, adjusted = stats.ranks(scores, p)
    assert ranks.tolist() == [3, 1, 1]
    assert adjusted[0, 2] == adjusted[2, 0] == pytest.approx(0.04)


def test_rank_correlation_is_spearmans_and_its_interval_counts_subjects() -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(size=200)
    mark = (one + rng.normal(size=200) > 0).astype(float)
    drawn = stats.resample(list(range(200)), ["r"] * 200)
    rho, low, high = drawn.correlation(one, mark)
    assert rho == pytest.approx(scipy_stats.spearmanr(one, mark).statistic)
    assert low < rho < high
    # The same items four times over, as four seeds of the same facts, say no more than once.
    again = stats.resample([*range(200)] * 4, ["r"] * 800)
    rho4, low4, high4 = again.correlation(np.tile(one, 4), np.tile(mark, 4))
    assert rho4 == pytest.approx(rho)
    assert high4 - low4 == pytest.approx(high - low, rel=0.1)
    assert np.isnan(drawn.correlation(one, np.zeros(200))).all()
