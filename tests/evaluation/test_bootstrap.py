import numpy as np
import pytest
from scipy import stats

from packshot.evaluation.bootstrap import estimate_mean, estimate_share, jackknife_deviation


def test_the_interval_is_near_student_s_for_normal_values():
    values = np.random.default_rng(0).normal(20, 4, 300)
    found = estimate_mean(values)
    low, high = stats.t.interval(0.95, 299, values.mean(), stats.sem(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_95_percent_intervals_cover_93_to_97_percent(method: str):
    covered = 0
    for seed in range(1000):
        values = np.random.default_rng(seed).normal(1, 1, 80)
        found = estimate_mean(values, method=method, resamples=1000, seed=seed)
        covered += found.low <= 1 <= found.high
    assert 930 <= covered <= 970


def test_bca_covers_skewed_values_better_than_percentiles_do():
    misses = {"percentile": 0, "bca": 0}
    for seed in range(600):
        values = np.random.default_rng(seed).exponential(1, 50)
        for method in misses:
            found = estimate_mean(values, method=method, resamples=1000, seed=seed)
            misses[method] += not found.low <= 1 <= found.high
    assert misses["bca"] <= misses["percentile"]
    assert misses["bca"] <= 600 * 0.08


def test_near_duplicates_widen_the_interval():
    covered = {True: 0, False: 0}
    for seed in range(300):
        random = np.random.default_rng(seed)
        values = np.repeat(random.normal(0, 1, 60), 4) + random.normal(0, 0.1, 240)
        groups = [str(row // 4) for row in range(240)]
        for grouped in covered:
            found = estimate_mean(values, groups if grouped else None, resamples=1000, seed=seed)
            covered[grouped] += found.low <= 0 <= found.high
    assert covered[True] >= 300 * 0.92
    assert covered[False] <= 300 * 0.75


def test_pairing_sees_what_two_means_do_not():
    random = np.random.default_rng(0)
    photos = random.normal(20, 4, 200)
    one, other = photos + random.normal(0, 0.3, 200), photos + random.normal(-0.2, 0.3, 200)
    assert estimate_mean(one - other).low > 0
    assert estimate_mean(one).low < estimate_mean(other).high


def test_the_same_seed_gives_the_same_interval_and_equal_values_a_point():
    values = np.random.default_rng(0).normal(0, 1, 50)
    assert estimate_mean(values, seed=3) == estimate_mean(values, seed=3)
    flat = estimate_mean(np.zeros(20))
    assert (flat.low, flat.value, flat.high) == (0, 0, 0)


def test_too_few_groups_or_a_value_that_is_no_number_are_withheld():
    assert estimate_mean(np.ones(100), ["one"] * 100).value is None
    assert "needs 8" in estimate_mean(np.ones(7)).note
    assert estimate_mean(np.array([1.0] * 20 + [np.nan])).value is None
    assert estimate_mean(np.array([1.0] * 20 + [np.inf])).value is None
    assert estimate_mean(np.empty(0)).value is None


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (12, 40), (40, 40), (190, 200)])
def test_the_interval_of_a_share_is_wilson_s(hits: int, n: int):
    found = estimate_share(np.arange(n) < hits)
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_the_jackknife_of_a_difference_of_means_is_its_standard_error():
    random = np.random.default_rng(0)
    x, y = random.normal(0, 1, 400), random.normal(0, 2, 600)
    found = jackknife_deviation(lambda a, b: float(x[a].mean() - y[b].mean()), 400, 600)
    assert found == pytest.approx(np.sqrt(x.var() / 400 + y.var() / 600), rel=0.3)
