import numpy as np
import pytest

from packshot.evaluation.memorisation import estimate_copy_rate, nearest_training
from packshot.evaluation.outliers import estimate_outlier_rate


def _clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (500, 6)), random.normal(0, 1, (300, 6)), random.normal(0, 1, (400, 6))


def _judge(drawn: np.ndarray, reference: np.ndarray, unseen: np.ndarray):
    distances, limits = nearest_training(drawn, reference)[0], nearest_training(unseen, reference)[0]
    return estimate_outlier_rate(distances, limits, resamples=1000, seed=1)


def test_the_interval_covers_1_percent_where_both_are_alike():
    covered, values = 0, []
    for seed in range(200):
        random = np.random.default_rng(seed)
        found = estimate_outlier_rate(random.gamma(4, 1, 1000), random.gamma(4, 1, 400), resamples=300, seed=seed)
        covered += found.low <= 0.01 <= found.high
        values.append(found.value)
    assert covered >= 200 * 0.93
    assert np.mean(values) == pytest.approx(0.01 + 1 / 400, abs=0.001)


def test_new_pictures_like_the_real_ones_are_not_called_broken():
    reference, unseen, drawn = _clouds()
    found = _judge(drawn, reference, unseen)
    assert found.low <= 0.01 <= found.high
    assert found.high < 0.06


def test_pictures_far_from_all_real_ones_are_all_outliers():
    reference, unseen, drawn = _clouds()
    found = _judge(drawn + 20, reference, unseen)
    assert (found.low, found.value, found.high) == (1, 1, 1)
    assert found.n == 400


def test_a_few_broken_pictures_among_good_ones_raise_the_rate():
    reference, unseen, drawn = _clouds()
    found = _judge(np.concatenate([drawn[:360], drawn[360:] + 20]), reference, unseen)
    assert found.value >= 0.1
    assert found.low > 0.05


def test_copies_of_real_pictures_are_no_outliers():
    reference, unseen, _ = _clouds()
    assert _judge(reference[:200], reference, unseen).value == 0


def test_the_rate_is_the_share_beyond_the_99th_percentile():
    random = np.random.default_rng(3)
    drawn, unseen = random.gamma(4, 1.3, 700), random.gamma(4, 1, 350)
    expected = np.mean(drawn > np.quantile(unseen, 0.99))
    assert estimate_outlier_rate(drawn, unseen, resamples=100, seed=0).value == pytest.approx(expected)


def test_the_rate_mirrors_that_of_copies():
    random = np.random.default_rng(4)
    drawn, unseen = random.normal(0, 1.2, 500), random.normal(0, 1, 300)
    mirrored = estimate_copy_rate(-drawn, -unseen, resamples=500, seed=2)
    assert estimate_outlier_rate(drawn, unseen, resamples=500, seed=2) == mirrored


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_too_few_pictures_and_distances_that_are_no_numbers_are_withheld(broken: float):
    many, few = np.linspace(0, 1, 200), np.linspace(0, 1, 99)
    odd = np.append(many, broken)
    for drawn, unseen in ((few, many), (many, few), (odd, many), (many, odd)):
        assert estimate_outlier_rate(drawn, unseen, resamples=100, seed=0).value is None
    assert "needs 100" in estimate_outlier_rate(few, many, resamples=100, seed=0).note
