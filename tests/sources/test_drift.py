from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import IntegrityError, MissingArtifact
from packshot.layout import Layout
from packshot.records import ImageSpec, Live, ServiceCard
from packshot.sources.drift import (
    Profile,
    champion_profile,
    chance_index,
    count_bins,
    describe_catalog,
    describe_column,
    keep_profile,
    stability_index,
)

CHANCE = np.random.default_rng(0)
CATALOG = "c" * 64
counts = st.lists(st.integers(0, 1000), min_size=5, max_size=5).map(lambda found: np.array(found, dtype=np.int64))


def index(before: pd.Series, now: pd.Series, kind: str = "number") -> float:
    one = describe_column("x", before, kind)  # type: ignore[arg-type]
    return stability_index(count_bins(now, one.edges, one.values), np.array(one.counts))


def test_equal_shares_have_no_distance() -> None:
    column = pd.Series(CHANCE.normal(size=2000))
    assert index(column, column) == 0.0


def test_the_index_of_a_shifted_normal_is_its_closed_form() -> None:
    """The symmetric divergence of N(0, 1) and N(d, 1) is d squared; deciles lose a little of it."""
    column = pd.Series(CHANCE.normal(size=200_000))
    for shift in (0.2, 0.5):
        assert index(column, pd.Series(CHANCE.normal(size=200_000)) + shift) == pytest.approx(shift**2, rel=0.12)


def test_the_index_of_words_is_the_sum_by_hand() -> None:
    before = pd.Series(["a"] * 6000 + ["b"] * 4000)
    now = pd.Series(["a"] * 3000 + ["b"] * 7000)
    expected = (0.3 - 0.6) * math.log(0.3 / 0.6) + (0.7 - 0.4) * math.log(0.7 / 0.4)
    assert index(before, now, "label") == pytest.approx(expected, rel=0.001)


@given(counts, counts)
def test_the_index_is_symmetric_and_never_negative(now: np.ndarray, before: np.ndarray) -> None:
    found = stability_index(now, before)
    assert found >= 0
    assert found == pytest.approx(stability_index(before, now))


def test_a_column_that_had_one_value_moves_either_way() -> None:
    before = pd.Series([1.0] * 500)
    for now in (0.5, 1.5):
        assert index(before, pd.Series([now] * 500)) > 5
    assert index(before, before) == 0.0


def test_what_is_not_known_and_new_words_are_bins_of_their_own() -> None:
    before = pd.Series(["a", "b"] * 100, dtype=object)
    assert index(before, pd.Series([None] * 100 + ["a", "b"] * 50, dtype=object), "label") > 1
    assert index(before, pd.Series(["c", "a"] * 100, dtype=object), "label") > 1
    nothing = pd.Series([None] * 200, dtype=object)
    assert index(nothing, before, "label") > 1
    assert index(nothing, nothing, "label") == 0.0
    numbers = pd.Series(CHANCE.normal(size=200))
    assert index(numbers, numbers.where(np.arange(200) % 2 == 0)) > 1


def test_words_beyond_the_commonest_share_a_bin() -> None:
    column = pd.Series([f"w{number}" for number in range(80) for _ in range(1 + number)])
    found = describe_column("x", column, "label")
    assert len(found.values) == 50
    assert len(found.counts) == 52
    assert sum(found.counts) == len(column)


def test_nothing_is_infinitely_far_and_leaves_nothing_to_chance() -> None:
    empty, some = np.zeros(3, dtype=np.int64), np.array([1, 2, 3])
    assert stability_index(empty, some) == stability_index(some, empty) == math.inf
    assert chance_index(empty, some) == 0.0
    assert describe_column("x", pd.Series([], dtype=np.float64), "number").counts == (0, 0)


def test_chance_exceeds_its_bound_about_once_in_a_hundred_times() -> None:
    before = pd.Series(CHANCE.normal(size=400))
    one = describe_column("x", before, "number")
    trials = [count_bins(pd.Series(CHANCE.normal(size=300)), one.edges, ()) for _ in range(400)]
    # The deciles fit the first sample, so this is a touch stricter than two fresh samples.
    beyond = [stability_index(now, np.array(one.counts)) > chance_index(now, np.array(one.counts)) for now in trials]
    assert np.mean(beyond) < 0.05


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"fill": CHANCE.random(50), "colour": ["red", None] * 25})
    profile = describe_catalog(CATALOG, frame, {"fill": "number", "colour": "label"})
    profile.write(tmp_path / "profile.json")
    assert Profile.read(tmp_path / "profile.json") == profile
    assert profile.photos == 50
    assert profile.distribution("colour") is not None
    assert profile.distribution("weight") is None


def crown(layout: Layout, catalog: str) -> None:
    """Make a model that learnt from `catalog` the champion, as far as records tell."""
    card = layout.var / "shelf" / "card.json"
    digest = "a" * 64
    ServiceCard(
        model="m",
        version=1,
        sha256=digest,
        family="vae",
        image=ImageSpec(size=16),
        categories=("hat",),
        dataset=digest,
        catalog=catalog,
        data_version="",
        git_commit="",
        run="vae",
        scores=(),
    ).write(card)
    Live(epoch=1, model="m", version=1, sha256=digest, weights="w", card=str(card)).write(layout.live)


def test_the_champions_profile_is_the_one_kept_of_its_catalogue(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert champion_profile(layout) is None
    profile = describe_catalog(CATALOG, pd.DataFrame({"fill": CHANCE.random(50)}), {"fill": "number"})
    profile.write(tmp_path / "bundle" / "profile.json")
    keep_profile(layout, tmp_path / "bundle" / "profile.json")
    assert champion_profile(layout) is None
    crown(layout, CATALOG)
    assert champion_profile(layout) == profile
    crown(layout, "d" * 64)
    assert champion_profile(layout) is None
    crown(layout, "")
    assert champion_profile(layout) is None


def test_a_champion_that_cannot_be_read_is_no_absent_one(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.live.parent.mkdir()
    layout.live.write_text("{}")
    with pytest.raises(IntegrityError):
        champion_profile(layout)
    crown(layout, CATALOG)
    (layout.var / "shelf" / "card.json").unlink()
    with pytest.raises(MissingArtifact):
        champion_profile(layout)
