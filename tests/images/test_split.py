from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from packshot.errors import DataRejected
from packshot.images.shards import SPLITS
from packshot.images.split import LEFT_OUT, Assignment, PrepareParams, assign_splits, check_splits
from packshot.records import ImageSpec

NONE = np.zeros((0, 2), dtype=np.int64)
TRAIN, VAL, TEST = range(3)


def params(val_share: float = 0.1, test_share: float = 0.1, salt: str = "") -> PrepareParams:
    return PrepareParams(image=ImageSpec(size=16), val_share=val_share, test_share=test_share, min_photos=1, salt=salt)


def names(count: int, start: int = 0) -> list[str]:
    return [hashlib.sha256(str(index).encode()).hexdigest() for index in range(start, start + count)]


def alone(ids: list[str], section: PrepareParams) -> list[int]:
    """Splits of photos that have nothing to do with each other."""
    return assign_splits(ids, [""] * len(ids), np.zeros(len(ids), np.int64), NONE, section).splits.tolist()


def test_shares_are_met() -> None:
    splits = Counter(alone(names(20_000), params(0.1, 0.2)))
    assert abs(splits[VAL] / 20_000 - 0.1) < 0.01
    assert abs(splits[TEST] / 20_000 - 0.2) < 0.01


def test_a_larger_test_share_takes_no_photo_out_of_test() -> None:
    some, more = (alone(names(2000), params(test_share=share)) for share in (0.1, 0.2))
    assert all(after == TEST for before, after in zip(some, more, strict=True) if before == TEST)


def test_another_salt_is_another_split() -> None:
    assert alone(names(200), params(salt="a")) != alone(names(200), params(salt="b"))


Growing = tuple[list[str], list[int], np.ndarray]
"""Skus, generations and pairs of copies of a catalogue's photos."""


@st.composite
def growing(draw: st.DrawFn) -> Growing:
    """A catalogue that comes in up to five deliveries, with products and pairs of copies within and across them."""
    count = draw(st.integers(2, 60))
    skus = [
        f"sku{number}" if number < 12 else "" for number in draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    ]
    generations = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    ends = st.integers(0, count - 1)
    pairs = {(min(pair), max(pair)) for pair in draw(st.lists(st.tuples(ends, ends), max_size=50)) if pair[0] != pair[1]}
    return skus, generations, np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def place(catalogue: Growing, upto: int, section: PrepareParams) -> dict[str, tuple[int, str]]:
    """Each photo's split and anchor in the catalogue as it was with delivery `upto`."""
    skus, generations, pairs = catalogue
    ids = names(len(skus))
    there = [row for row in range(len(skus)) if generations[row] <= upto]
    row_of = {row: place for place, row in enumerate(there)}
    kept = [(row_of[i], row_of[j]) for i, j in pairs.tolist() if i in row_of and j in row_of]
    given_ids = [ids[row] for row in there]
    placed = assign_splits(
        given_ids,
        [skus[row] for row in there],
        np.array([generations[row] for row in there], dtype=np.int64),
        np.array(kept, dtype=np.int64).reshape(-1, 2),
        section,
    )
    return {
        name: (split, given_ids[anchor])
        for name, split, anchor in zip(given_ids, placed.splits.tolist(), placed.anchors.tolist(), strict=True)
    }


def neighbours(catalogue: Growing) -> dict[str, set[str]]:
    """The photos that each one must stand with."""
    skus, _, pairs = catalogue
    ids = names(len(skus))
    around: dict[str, set[str]] = {name: set() for name in ids}
    for one, other in pairs.tolist():
        around[ids[one]].add(ids[other])
        around[ids[other]].add(ids[one])
    for one, sku in enumerate(skus):
        around[ids[one]] |= {ids[other] for other, same in enumerate(skus) if sku and same == sku and other != one}
    return around


@settings(max_examples=60, deadline=None)
@given(growing())
def test_a_growing_catalogue_leaks_nothing_and_moves_nothing(catalogue: Growing) -> None:
    around = neighbours(catalogue)
    before: dict[str, tuple[int, str]] = {}
    for upto in range(1, 6):
        now = place(catalogue, upto, params(0.3, 0.3))
        for name, (split, anchor) in now.items():
            placed = {now[other][0] for other in around[name] if other in now} - {LEFT_OUT}
            if split == LEFT_OUT:
                assert len(placed) >= 2, "only what would join two splits is left out"
                assert anchor == name
            else:
                assert placed <= {split}, "what belongs together stands together"
                assert split == alone([anchor], params(0.3, 0.3))[0], "a group's split is its anchor's hash"
                assert all(now[other][1] == anchor for other in around[name] if other in now and now[other][0] != LEFT_OUT)
        for name, (split, _) in before.items():
            assert now[name][0] == split, "an old photo never moves, and what was left out stays out"
        before = now


@settings(max_examples=30, deadline=None)
@given(growing(), st.randoms())
def test_the_order_of_photos_decides_nothing(catalogue: Growing, chances: object) -> None:
    skus, generations, pairs = catalogue
    ids, order = names(len(skus)), list(range(len(skus)))
    chances.shuffle(order)  # type: ignore[attr-defined]
    at = {row: place for place, row in enumerate(order)}
    turned = np.array([[at[i], at[j]] for i, j in pairs.tolist()], dtype=np.int64).reshape(-1, 2)
    one = assign_splits(ids, skus, np.array(generations), pairs, params(0.3, 0.3))
    other = assign_splits(
        [ids[row] for row in order], [skus[row] for row in order], np.array(generations)[order], turned, params(0.3, 0.3)
    )
    assert one.splits[order].tolist() == other.splits.tolist()
    assert [ids[anchor] for anchor in one.anchors[order]] == [ids[order[anchor]] for anchor in other.anchors]


def test_within_one_delivery_nothing_is_left_out() -> None:
    pairs = np.array([(row, row + 1) for row in range(499)], dtype=np.int64)
    placed = assign_splits(names(500), [""] * 500, np.ones(500, np.int64), pairs, params())
    assert len(set(placed.splits.tolist())) == len(set(placed.anchors.tolist())) == 1


def test_a_bridge_is_left_out_and_its_product_is_not() -> None:
    ids = names(400)
    splits = alone(ids, params(0.3, 0.3))
    train, test = splits.index(TRAIN), splits.index(TEST)
    newcomers = names(3, start=1000)
    pairs = np.array([(train, 400), (test, 400), (train, 401)], dtype=np.int64)
    placed = assign_splits(
        [*ids, *newcomers], [""] * 400 + ["s"] * 3, np.array([1] * 400 + [2] * 3), pairs, params(0.3, 0.3)
    ).splits.tolist()
    assert placed[:400] == splits
    assert placed[400:] == [LEFT_OUT, TRAIN, TRAIN]


def test_many_photos_are_placed_with_shares_kept() -> None:
    chances = np.random.default_rng(3)
    count = 30_000
    skus = [f"s{number}" for number in chances.integers(0, 9000, count)]
    pairs = np.sort(chances.integers(0, count, (300, 2)), axis=1)
    placed: Assignment = assign_splits(
        names(count), skus, chances.integers(0, 8, count), pairs[pairs[:, 0] < pairs[:, 1]], params()
    )
    shares = np.bincount(placed.splits[placed.splits >= 0], minlength=3) / count
    assert abs(shares[VAL] - 0.1) < 0.02
    assert abs(shares[TEST] - 0.1) < 0.02
    assert (placed.splits == LEFT_OUT).mean() < 0.01


def test_a_category_that_is_too_small_is_named_with_its_counts() -> None:
    numbers, splits = np.array([0, 0, 0, 1, 1, 1]), np.array([TRAIN, VAL, TEST, TRAIN, TRAIN, VAL])
    check_splits(["hat"], numbers[:3], splits[:3], 1)
    with pytest.raises(DataRejected, match="'shoe' has 0 in test; 1 are needed") as caught:
        check_splits(["hat", "shoe"], numbers, splits, 1)
    assert "hat" not in str(caught.value)
    assert SPLITS[TEST] == "test"


@pytest.mark.parametrize("shares", [(0.45, 0.46), (0.0, 0.1), (0.1, 0.5)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        params(*shares)
