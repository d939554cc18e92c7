import numpy as np
import pytest

from packshot.evaluation.kid import kernel_distance, unit_scale


def _naive(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    m, n = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_y = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def test_the_distance_is_the_definition_s():
    random = np.random.default_rng(0)
    x, y = random.normal(0, 1, (23, 5)), random.normal(0.3, 1.2, (31, 5))
    assert kernel_distance(x, y, fewest=2).value == pytest.approx(_naive(x, y), abs=1e-9)


def test_the_jackknife_is_that_of_recomputing_without_each_picture():
    random = np.random.default_rng(1)
    x, y = random.normal(0, 1, (20, 3)), random.normal(0.5, 1, (25, 3))
    without_x = [_naive(np.delete(x, i, axis=0), y) for i in range(len(x))]
    without_y = [_naive(x, np.delete(y, i, axis=0)) for i in range(len(y))]
    deviation = np.sqrt(19 * np.var(without_x) + 24 * np.var(without_y))
    found = kernel_distance(x, y, fewest=2)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * deviation, rel=1e-6)


def test_blocks_of_rows_change_nothing():
    random = np.random.default_rng(2)
    x, y = random.normal(0, 1, (1500, 4)), random.normal(0, 1, (1100, 4))
    kernel = lambda a, b: (a @ b.T / 4 + 1) ** 3  # noqa: E731
    full = (
        (kernel(x, x).sum() - np.trace(kernel(x, x))) / (1500 * 1499)
        + (kernel(y, y).sum() - np.trace(kernel(y, y))) / (1100 * 1099)
        - 2 * kernel(x, y).mean()
    )
    assert kernel_distance(x, y).value == pytest.approx(full, abs=1e-9)


def test_equal_distributions_lie_at_0_within_the_interval():
    inside = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        found = kernel_distance(random.normal(0, 1, (150, 8)), random.normal(0, 1, (150, 8)))
        inside += found.low <= 0 <= found.high
    assert inside >= 55


def _expected_kernel(a: float, b: float) -> float:
    """E (x.y / 4 + 1)^3 for x ~ N(a, 1), y ~ N(b, 1) in 4 dimensions, by the moments of a sum of four independent products."""
    m1, m2, m3 = a * b, (1 + a**2) * (1 + b**2), (a**3 + 3 * a) * (b**3 + 3 * b)
    s1, s2, s3 = 4 * m1, 4 * m2 + 12 * m1**2, 4 * m3 + 36 * m2 * m1 + 24 * m1**3
    return s3 / 64 + 3 * s2 / 16 + 3 * s1 / 4 + 1


def test_the_interval_covers_the_closed_form_of_two_gaussians():
    truth = _expected_kernel(0, 0) + _expected_kernel(0.4, 0.4) - 2 * _expected_kernel(0, 0.4)
    covered, values = 0, []
    for seed in range(200):
        random = np.random.default_rng(seed)
        found = kernel_distance(random.normal(0, 1, (150, 4)), random.normal(0.4, 1, (150, 4)))
        covered += found.low <= truth <= found.high
        values.append(found.value)
    assert np.mean(values) == pytest.approx(truth, abs=0.05)
    assert covered >= 180


def test_too_few_pictures_are_withheld_and_so_is_nan():
    x = np.random.default_rng(0).normal(0, 1, (60, 4))
    assert kernel_distance(x[:49], x).value is None
    assert "needs 50" in kernel_distance(x[:49], x).note
    broken = x.copy()
    broken[3, 2] = np.nan
    assert kernel_distance(broken, x).value is None


def test_unit_scale_makes_features_1_in_root_mean_square():
    x = np.random.default_rng(0).normal(3, 7, (100, 4))
    assert np.sqrt(np.mean((x / unit_scale(x)) ** 2)) == pytest.approx(1)
