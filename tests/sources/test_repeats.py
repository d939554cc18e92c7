from __future__ import annotations

import hashlib
from itertools import groupby

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.sources.repeats import find_repeats

PHOTO = st.tuples(st.integers(0, 4), st.sampled_from(["hat", "shoe"]), st.integers(0, 2))


def table_of(photos: list[tuple[int, str, int]]) -> pa.Table:
    return pa.table(
        {
            "pixels": pa.array([hashlib.sha256(bytes([picture])).hexdigest() for picture, _, _ in photos], pa.string()),
            "path": pa.array([f"{category}/{at:03d}" for at, (_, category, _) in enumerate(photos)], pa.string()),
            "category": pa.array([category for _, category, _ in photos], pa.string()),
            "generation": pa.array([generation for _, _, generation in photos], pa.int32()),
            "sha256": pa.array([f"{at:064x}" for at in range(len(photos))], pa.string()),
        }
    )


@settings(deadline=None)
@given(st.lists(PHOTO, max_size=25))
def test_of_equal_pictures_the_first_stays_unless_they_disagree_on_the_category(photos: list[tuple[int, str, int]]) -> None:
    """Against the rule, spelt out picture by picture."""
    expected, reasons = set(), {}
    ordered = sorted(
        (picture, generation, f"{category}/{at:03d}", category) for at, (picture, category, generation) in enumerate(photos)
    )
    for _, same in groupby(ordered, key=lambda photo: photo[0]):
        (_, _, first, category), *others = same
        reasons |= {path: "DUPLICATE" if other == category else "CONFLICT" for _, _, path, other in others}
        if {other for *_, other in others} <= {category}:
            expected.add(first)
        else:
            reasons[first] = "CONFLICT"
    table = table_of(photos)
    kept, refused = find_repeats(table)
    assert {path for path, stays in zip(table["path"].to_pylist(), kept, strict=True) if stays} == expected
    assert {bad.path: bad.reason for bad in refused} == reasons
    assert {bad.path: bad.sha256 for bad in refused} == {
        path: name
        for path, name, stays in zip(table["path"].to_pylist(), table["sha256"].to_pylist(), kept, strict=True)
        if not stays
    }


@settings(deadline=None)
@given(st.lists(PHOTO, max_size=15), st.randoms())
def test_the_order_of_the_photos_decides_nothing(photos: list[tuple[int, str, int]], chances) -> None:
    table = table_of(photos)
    order = list(range(len(photos)))
    chances.shuffle(order)
    kept, refused = find_repeats(table)
    again, refused_again = find_repeats(table.take(pa.array(order, pa.int64())))
    assert [bool(kept[at]) for at in order] == again.tolist()
    assert sorted(refused, key=lambda bad: bad.path) == sorted(refused_again, key=lambda bad: bad.path)


def test_a_repeat_says_of_what() -> None:
    _, refused = find_repeats(table_of([(0, "hat", 1), (0, "hat", 0), (1, "hat", 0), (1, "shoe", 0)]))
    assert {bad.path: bad.detail for bad in refused} == {
        "hat/000": "the same picture as hat/001",
        "hat/002": "the same picture stands in another category too; decide where it belongs",
        "shoe/003": "the same picture as hat/002 of 'hat'",
    }
