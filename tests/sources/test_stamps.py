from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packshot.sources.base import Stamp
from packshot.sources.stamps import SETTLED_NS, Stamps

STAMPS = st.builds(Stamp, st.integers(0, 2**40), st.integers(0, 2**60), st.integers(0, 2**60), st.integers(0, 2**63))


def sha(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(), STAMPS, max_size=30), st.lists(st.text(), max_size=10))
def test_what_was_learnt_is_found_again_and_nothing_else(tmp_path: Path, known: dict[str, Stamp], others: list[str]) -> None:
    (tmp_path / "stamps").unlink(missing_ok=True)
    index = Stamps(tmp_path / "stamps")
    for name, stamp in known.items():
        index.learn(name, stamp, sha(name))
    index.save()
    index = Stamps(tmp_path / "stamps")
    assert index.find(list(known), list(known.values())) == [sha(name) for name in known]
    strangers = [name for name in others if name not in known]
    assert index.find(strangers, [Stamp(1, 1, 1, 1)] * len(strangers)) == [""] * len(strangers)
    index.save()
    again = Stamps(tmp_path / "stamps")
    assert again.find(list(known), list(known.values())) == [sha(name) for name in known]


@pytest.mark.parametrize(
    "change", [Stamp(2, 1, 1, 1), Stamp(1, 2, 1, 1), Stamp(1, 1, 2, 1), Stamp(1, 1, 1, 2), Stamp(1, 1, 1, 1, offset=2)]
)
def test_any_difference_makes_a_file_unknown(tmp_path: Path, change: Stamp) -> None:
    index = Stamps(tmp_path / "stamps")
    index.learn("a.jpg", Stamp(1, 1, 1, 1), sha("a"))
    index.save()
    index = Stamps(tmp_path / "stamps")
    assert index.find(["a.jpg", "a.jpg", "b.jpg"], [Stamp(1, 1, 1, 1), change, Stamp(1, 1, 1, 1)]) == [sha("a"), "", ""]


@pytest.mark.parametrize(
    ("age_ns", "kept"), [(0, False), (SETTLED_NS // 2, False), (SETTLED_NS * 30, True), (-SETTLED_NS, False)]
)
def test_a_file_that_was_just_touched_is_not_remembered(tmp_path: Path, age_ns: int, kept: bool) -> None:
    touched = time.time_ns() - age_ns
    for stamp in (Stamp(1, touched, 1, 1), Stamp(1, 1, touched, 1)):
        index = Stamps(tmp_path / "stamps")
        index.learn("a.jpg", stamp, sha("a"))
        index.save()
        assert Stamps(tmp_path / "stamps").find(["a.jpg"], [stamp]) == ([sha("a")] if kept else [""])
