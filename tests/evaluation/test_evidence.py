import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.evaluation.evidence import apportion, fold, join, pick, spread
from packshot.images.shards import Split
from tests.evaluation.shapes import draw_shapes


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(1, 500))
def test_categories_are_apportioned_to_within_one(categories: list[int], count: int):
    asked = apportion(np.array(categories), 5, count)
    assert len(asked) == count
    exact = np.bincount(categories, minlength=5) * count / len(categories)
    assert (np.abs(np.bincount(asked, minlength=5) - exact) < 1).all()


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=120))
def test_every_beginning_of_a_spread_order_is_in_proportion(categories: list[int]):
    labels = np.array(categories)
    order = spread(labels)
    assert sorted(order) == list(range(len(labels)))
    shares = np.bincount(labels, minlength=4) / len(labels)
    for n in range(1, len(labels) + 1):
        assert (np.abs(np.bincount(labels[order[:n]], minlength=4) - n * shares) <= 2).all()


def _grouped(count: int, of: int) -> Split:
    shop = draw_shapes(count, side=16)
    return Split(shop.images, shop.categories, shop.ids, tuple(f"group {row // of}" for row in range(count)))


def test_halves_share_no_group_and_hold_each_category_alike():
    shop = _grouped(240, of=3)
    one, other = fold(shop)
    assert not {shop.groups[row] for row in one} & {shop.groups[row] for row in other}
    assert sorted([*one, *other]) == list(range(240))
    for category in range(4):
        assert abs(int((shop.categories[one] == category).sum()) - int((shop.categories[other] == category).sum())) <= 6


def test_halves_do_not_depend_on_the_photos_order():
    shop = _grouped(120, of=2)
    shuffled = np.random.default_rng(0).permutation(120)
    one, _ = fold(shop)
    moved = pick(shop, shuffled)
    other, _ = fold(moved)
    assert {shop.ids[row] for row in one} == {moved.ids[row] for row in other}


def test_splits_are_joined_and_picked():
    one, other = draw_shapes(5, side=16, seed=0), draw_shapes(7, side=16, seed=1)
    both = join(one, other)
    assert len(both) == 12
    picked = pick(both, np.array([11, 0]))
    assert picked.ids == (other.ids[6], one.ids[0])
    np.testing.assert_array_equal(picked.images[1], one.images[0])


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_splits_fold(count: int):
    one, other = fold(pick(draw_shapes(4, side=16), np.arange(count)))
    assert len(one) + len(other) == count
