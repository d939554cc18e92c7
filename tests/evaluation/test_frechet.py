import numpy as np
import pytest
import scipy.linalg

from packshot.evaluation.frechet import Gaussian, estimate_frechet, frechet_distance


def _clouds(dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    turn = random.normal(0, 1, (dims, dims))
    return random.normal(0, 1, (400, dims)), random.normal(0.2, 1.1, (400, dims)) @ turn


@pytest.mark.parametrize("dims", [2, 16, 96])
def test_the_distance_is_that_by_scipy_s_matrix_root(dims: int):
    x, y = _clouds(dims)
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    theirs = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-9)


def test_gaussians_with_diagonal_covariances_have_the_closed_form():
    a = Gaussian(np.array([0.0, 1.0]), np.diag([4.0, 9.0]))
    b = Gaussian(np.array([3.0, 1.0]), np.diag([1.0, 16.0]))
    assert frechet_distance(a, b) == pytest.approx(9 + (2 - 1) ** 2 + (3 - 4) ** 2)


@pytest.mark.parametrize("least", [0.0, 1e-20, 1e-9])
def test_flat_and_nearly_flat_clouds_have_the_closed_form_too(least: float):
    a, b = (Gaussian(np.zeros(3), np.diag([*wide, least])) for wide in ([4.0, 9.0], [1.0, 16.0]))
    assert frechet_distance(a, b) == pytest.approx((2 - 1) ** 2 + (3 - 4) ** 2, rel=1e-12)


def test_the_distance_is_symmetric_and_0_for_the_same_cloud():
    x, y = _clouds(8)
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_singular_covariance_is_no_obstacle():
    x, y = _clouds(6)
    x[:, 3] = x[:, 2]
    assert np.isfinite(frechet_distance(Gaussian.fit(x), Gaussian.fit(y)))


def test_too_few_pictures_for_the_features_are_withheld():
    x, y = _clouds(96)
    assert estimate_frechet(x[:191], y).value is None
    found = estimate_frechet(x[:200], y)
    assert found.n == 200
    assert found.low < found.value < found.high
