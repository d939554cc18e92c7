import numpy as np
import pytest

from packshot.evaluation.consistency import estimate_consistency, estimate_worst_shortfall


def test_a_small_category_does_not_hide_a_large_one_that_is_broken():
    asked = np.repeat([0, 1], [1900, 40])
    seen = asked.copy()
    seen[:950] = 1  # half of the large one
    seen[1900:1924] = 0  # three fifths of the small one, of which far less is certain
    found = estimate_worst_shortfall(asked, seen, np.repeat([0, 1], 400), np.repeat([0, 1], 400), ("shoe", "hat"))
    assert found.note == "worst: hat"
    assert found.value == pytest.approx(-0.6)
    alone = estimate_worst_shortfall(asked[:1900], seen[:1900], np.zeros(400, int), np.zeros(400, int), ("shoe", "hat"))
    small = estimate_worst_shortfall(asked[1900:], seen[1900:], np.ones(400, int), np.ones(400, int), ("shoe", "hat"))
    assert found.low == pytest.approx(small.low)
    assert small.high > found.high > alone.high, "the joint one, a little wider than alone"
    assert found.high < -0.45


def test_the_share_of_recognised_pictures():
    asked = np.arange(100) % 4
    seen = np.where(np.arange(100) < 20, 3 - asked, asked)
    assert estimate_consistency(asked, seen).value == pytest.approx(0.8)


def test_a_category_that_is_drawn_as_another_is_named():
    real = np.arange(200) % 4
    asked = np.arange(400) % 4
    drawn_as = np.where(asked == 2, 1, asked)
    found = estimate_worst_shortfall(asked, drawn_as, real, real, ("a", "b", "c", "d"))
    assert found.value == -1
    assert found.high < -0.8
    assert found.note == "worst: c"


def test_small_categories_are_left_out():
    asked = np.array([0] * 19 + [1] * 30)
    found = estimate_worst_shortfall(asked, 1 - asked, np.repeat([0, 1], 50), np.repeat([0, 1], 50), ("a", "b"))
    assert found.note == "worst: b"
    assert estimate_worst_shortfall(asked[:10], asked[:10], asked, asked, ("a", "b")).value is None
