import numpy as np
import pytest
from scipy.spatial.distance import cdist

from packshot.evaluation.neighbours import meet_neighbours


def _by_hand(real: np.ndarray, drawn: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Naeem et al. 2020, equations 1 to 8, with sorted distances."""
    real_reach = np.sort(cdist(real, real), axis=1)[:, k]
    drawn_reach = np.sort(cdist(drawn, drawn), axis=1)[:, k]
    apart = cdist(real, drawn)
    precision = np.mean([np.any(apart[:, j] < real_reach) for j in range(len(drawn))])
    recall = np.mean([np.any(apart[i] < drawn_reach) for i in range(len(real))])
    density = np.mean([np.sum(apart[:, j] < real_reach) / k for j in range(len(drawn))])
    coverage = np.mean([np.min(apart[i]) < real_reach[i] for i in range(len(real))])
    return float(precision), float(recall), float(density), float(coverage)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_four_are_those_of_an_independent_count(k: int):
    random = np.random.default_rng(k)
    real, drawn = random.normal(0, 1, (150, 4)), random.normal(0.5, 0.8, (150, 4))
    met = meet_neighbours(real, drawn, k)
    ours = (met.precise.mean(), met.recalled.mean(), met.density.mean(), met.covered.mean())
    assert ours == pytest.approx(_by_hand(real, drawn, k), abs=1e-12)


def test_pictures_of_one_kind_are_precise_and_recall_little():
    random = np.random.default_rng(0)
    real = np.concatenate([random.normal(0, 1, (150, 4)), random.normal(20, 1, (150, 4))])
    drawn = random.normal(0, 1, (300, 4))
    met = meet_neighbours(real, drawn, 5)
    assert met.precise.mean() > 0.9
    assert met.recalled[150:].mean() == 0
    assert met.covered.mean() < 0.6


def test_equal_distributions_cover_as_theory_says():
    random = np.random.default_rng(0)
    met = meet_neighbours(random.normal(0, 1, (1000, 6)), random.normal(0, 1, (1000, 6)), 5)
    assert met.covered.mean() == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al. 2020, equation 11, for equal large n
    assert met.density.mean() == pytest.approx(1, abs=0.1)


def test_unequal_sets_and_too_small_ones_are_refused():
    x = np.zeros((6, 2))
    with pytest.raises(ValueError, match="equal n"):
        meet_neighbours(x, x[:5], 1)
    with pytest.raises(ValueError, match="no 6 neighbours"):
        meet_neighbours(x, x, 6)
