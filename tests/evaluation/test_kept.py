from __future__ import annotations

import os

import numpy as np
import pytest

from packshot.evaluation.kept import MOST, Kept, compute_now
from packshot.records import Estimate, Score


class Once:
    """Computes an array, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> np.ndarray:
        self.times += 1
        return np.arange(6.0).reshape(2, 3)


@pytest.fixture
def kept(tmp_path) -> Kept:
    return Kept.open(tmp_path, "a" * 64)


def test_an_array_is_computed_once_and_the_same_afterwards(kept, tmp_path):
    once = Once()
    for again in (kept, kept, Kept.open(tmp_path, "a" * 64)):
        np.testing.assert_array_equal(again("gaps", once), np.arange(6.0).reshape(2, 3))
    assert once.times == 1
    Kept.open(tmp_path, "b" * 64)("gaps", once)
    assert once.times == 2, "other evidence, other arrays"


def test_names_that_begin_alike_are_told_apart(kept):
    kept("pca", lambda: np.zeros(2))
    np.testing.assert_array_equal(kept("pca_8", lambda: np.ones(3)), np.ones(3))
    np.testing.assert_array_equal(kept("pca", Once()), np.zeros(2))


def test_a_damaged_array_is_computed_again(kept, caplog):
    caplog.set_level("WARNING")
    once = Once()
    kept("gaps", once)
    (path,) = kept.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(kept("gaps", once), np.arange(6.0).reshape(2, 3))
    assert once.times == 2
    assert "damaged" in caplog.text
    kept("gaps", once)
    assert once.times == 2


def test_a_record_is_kept_too(kept):
    told = [Score(metric="kid", estimate=Estimate(value=0.1, n=3)), Score(metric="kid", estimate=Estimate(value=0.2, n=3))]
    first = kept.record("real", Score, told.pop)
    assert kept.record("real", Score, told.pop) == first
    assert len(told) == 1


def test_what_was_not_used_for_longest_goes(tmp_path):
    for number in range(MOST + 3):
        kept = Kept.open(tmp_path, f"{number}" * 64)
        os.utime(kept.folder, ns=(number, number))
        kept("gaps", Once())
        os.utime(kept.folder, ns=(number, number))
    latest = Kept.open(tmp_path, "0" * 64)
    assert latest.folder.is_dir()
    assert len(list(latest.folder.parent.iterdir())) == MOST


def test_where_nothing_is_kept_all_is_computed():
    once = Once()
    compute_now("gaps", once)
    compute_now("gaps", once)
    assert once.times == 2
