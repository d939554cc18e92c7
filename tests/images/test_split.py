from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from packshot.errors import DataRejected
from packshot.images.fingerprint import fingerprint
from packshot.images.manifest import Row
from packshot.images.split import PrepareParams, assign_groups, assign_splits, check_splits
from packshot.records import ImageSpec
from tests.images.files import product


def params(val_share: float = 0.1, test_share: float = 0.1, salt: str = "") -> PrepareParams:
    return PrepareParams(
        image=ImageSpec(size=16), val_share=val_share, test_share=test_share, duplicate_radius=10, min_photos=1, salt=salt
    )


def names(count: int, start: int = 0) -> list[str]:
    return [hashlib.sha256(str(index).encode()).hexdigest() for index in range(start, start + count)]


def row(name: str, phash: int, *, sku: str = "", layout: bytes = bytes(192)) -> Row:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Row(
        sha256=digest, pixels=digest, path=name, sku=sku, category="c", format="PNG", width=1, height=1, file_bytes=1,
        phash=phash, phash_mirrored=phash ^ (2**64 - 1), layout=layout, sharpness=1.0, brightness=1.0, contrast=1.0,
        whiteness=1.0, fill=1.0, colour=None, pattern=None, caption=None, shard="s", row=0,
    )  # fmt: skip


def far_apart(count: int) -> list[int]:
    """Hashes that share no group: of hashes drawn at random, 64 bits differ in 32 on average."""
    return [int(hashlib.sha256(f"far {index}".encode()).hexdigest()[:16], 16) for index in range(count)]


def test_shares_are_met() -> None:
    splits = assign_splits(names(20_000), params(0.1, 0.2))
    assert abs(splits.count("val") / 20_000 - 0.1) < 0.01
    assert abs(splits.count("test") / 20_000 - 0.2) < 0.01


@given(st.integers(1, 200), st.integers(1, 200))
def test_new_photos_move_no_old_one(old: int, new: int) -> None:
    before, after = assign_splits(names(old), params()), assign_splits(names(old + new), params())
    assert after[:old] == before


def test_a_larger_test_share_takes_no_photo_out_of_test() -> None:
    some, more = (assign_splits(names(2000), params(test_share=share)) for share in (0.1, 0.2))
    assert all(after == "test" for before, after in zip(some, more, strict=True) if before == "test")


def test_another_salt_is_another_split() -> None:
    assert assign_splits(names(200), params(salt="a")) != assign_splits(names(200), params(salt="b"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_near_duplicate_and_no_product_stands_in_two_splits(data: st.DataObject) -> None:
    bases = far_apart(8)
    picks = data.draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 40)), min_size=2, max_size=60))
    rows = []
    for number, (base, flips, sku) in enumerate(picks):
        phash = bases[base]
        for bit in range(flips):
            phash ^= 1 << (number * 7 + bit * 11) % 64
        rows.append(row(f"{number}", phash, sku=f"sku{sku}" if sku < 5 else ""))
    groups = assign_groups(rows, 10)
    splits = assign_splits(groups, params(0.3, 0.3))
    together: dict[object, set[str]] = defaultdict(set)
    for (base, _, sku), split in zip(picks, splits, strict=True):
        together["base", base].add(split)
        if sku < 5:
            together["sku", sku].add(split)
    assert all(len(found) == 1 for found in together.values())


def test_the_order_of_photos_decides_nothing() -> None:
    rows = [
        row(str(number), base ^ extra) for number, (base, extra) in enumerate([(b, e) for b in far_apart(30) for e in (0, 1, 2)])
    ]
    one = dict(zip([r.path for r in rows], assign_groups(rows, 10), strict=True))
    other = dict(zip([r.path for r in reversed(rows)], assign_groups(rows[::-1], 10), strict=True))
    assert one == other


def test_a_group_that_grows_seldom_moves() -> None:
    bases = far_apart(300)
    old = [row(f"old {number} {copy}", base ^ copy) for number, base in enumerate(bases) for copy in range(3)]
    new = [row(f"new {number}", base ^ 8) for number, base in enumerate(bases)]
    before = assign_splits(assign_groups(old, 10), params())
    after = assign_splits(assign_groups([*old, *new], 10), params())[: len(old)]
    moved = sum(a != b for a, b in zip(before, after, strict=True)) / len(old)
    assert moved < 0.15  # one in four groups takes a new name, and a third of the new names lead elsewhere


def test_a_mirrored_copy_stands_in_its_originals_group() -> None:
    pixels = product(3, 80, 80)
    one, other = fingerprint(pixels), fingerprint(pixels[:, ::-1].copy())
    rows = [row("a", one.phash, layout=one.layout), row("b", other.phash, layout=other.layout)]
    rows = [
        Row(**{**{name: getattr(r, name) for name in Row.__slots__}, "phash_mirrored": p.phash_mirrored})
        for r, p in zip(rows, (one, other), strict=True)
    ]
    assert len(set(assign_groups(rows, 10))) == 1


def test_a_category_that_is_too_small_is_named_with_its_counts() -> None:
    categories = ["hat"] * 3 + ["shoe"] * 3
    splits = ("train", "val", "test", "train", "train", "val")
    check_splits(categories[:3], splits[:3], 1)
    with pytest.raises(DataRejected, match="'shoe' has 0 in test; 1 are needed") as caught:
        check_splits(categories, splits, 1)
    assert "hat" not in str(caught.value)


@pytest.mark.parametrize("shares", [(0.45, 0.46), (0.0, 0.1), (0.1, 0.5)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        params(*shares)
