import numpy as np
import pytest
from scipy.spatial.distance import cdist

from packshot.evaluation.memorisation import (
    estimate_authenticity,
    estimate_copy_rate,
    estimate_copying_z,
    nearest_training,
    training_gaps,
)


def _space(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (600, 6)), random.normal(0, 1, (300, 6)), random.normal(0, 1, (400, 6))


def _judge(drawn: np.ndarray, training: np.ndarray, unseen: np.ndarray):
    mirrored = training + 50
    both = np.concatenate([training, mirrored])
    distances, nearest = nearest_training(drawn, both)
    unseen_distances, _ = nearest_training(unseen, both)
    gaps = np.tile(training_gaps(training, mirrored), 2)
    return (
        estimate_copy_rate(distances, unseen_distances, resamples=1000, seed=1),
        estimate_authenticity(distances, nearest, gaps),
        estimate_copying_z(distances, unseen_distances),
    )


def test_distances_are_those_of_scipy():
    training, unseen, _ = _space()
    distances, nearest = nearest_training(unseen, training, block=77)
    apart = cdist(unseen, training)
    np.testing.assert_allclose(distances, apart.min(axis=1), atol=1e-9)
    np.testing.assert_array_equal(nearest, apart.argmin(axis=1))


def test_a_photo_s_own_mirror_image_is_no_neighbour_of_it():
    training, _, _ = _space()
    mirrored = training + 1e-3
    apart = cdist(training, np.concatenate([training, mirrored]))
    rows = np.arange(len(training))
    apart[rows, rows] = apart[rows, rows + len(training)] = np.inf
    np.testing.assert_allclose(training_gaps(training, mirrored, block=100), apart.min(axis=1), atol=1e-6)


def test_new_pictures_are_not_called_copies():
    training, unseen, drawn = _space()
    copies, authentic, z = _judge(drawn, training, unseen)
    assert copies.low <= 0.01 <= copies.high
    assert 0.3 < authentic.value < 0.7
    assert abs(z.value) < 4


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_copies_are_seen_by_all_three(noise: float):
    training, unseen, _ = _space()
    random = np.random.default_rng(5)
    copied = training[random.integers(0, 600, 400)] + random.normal(0, noise, (400, 6)) if noise else training[:400]
    copies, authentic, z = _judge(copied, training, unseen)
    assert copies.low > 0.9
    assert authentic.high < 0.05
    assert z.high < -15


def test_a_few_copies_among_new_pictures_raise_the_rate():
    training, unseen, drawn = _space()
    copies, _, _ = _judge(np.concatenate([drawn[:360], training[:40]]), training, unseen)
    assert copies.value >= 0.1
    assert copies.low > 0.05


def test_copying_z_is_the_rank_sum_s():
    random = np.random.default_rng(0)
    drawn, unseen = random.random(120), random.random(150) + 0.1
    larger = sum((d > u) + 0.5 * (d == u) for d in drawn for u in unseen)
    expected = (larger - 120 * 150 / 2) / np.sqrt(120 * 150 * 271 / 12)
    assert estimate_copying_z(drawn, unseen).value == pytest.approx(expected)


def test_too_few_pictures_are_withheld():
    few, many = np.ones(99), np.ones(200)
    assert estimate_copy_rate(few, many, resamples=1000, seed=0).value is None
    assert estimate_copying_z(many, few).value is None
