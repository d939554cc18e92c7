from __future__ import annotations

import numpy as np
import pytest

from packshot.evaluation.comparison import make_comparable
from packshot.evaluation.evidence import Evidence
from packshot.evaluation.slices import SLICED, measure_slices
from packshot.records import Condition, Slice, find_estimate
from tests.evaluation.stand_ins import KINDS, make_evidence, make_real

SHADE = Condition(name="shade", kind="label", values=("cold", "warm"))


def named(slices: tuple[Slice, ...]) -> dict[str, Slice]:
    return {one.name: one for one in slices}


def test_every_category_is_measured_by_itself():
    real = make_real(160)
    one = make_evidence(real, 1)
    told = named(measure_slices(one))
    assert list(told) == [f"category {kind}" for kind in KINDS]
    for number, kind in enumerate(KINDS):
        mine = told[f"category {kind}"]
        assert [score.metric for score in mine.scores] == list(SLICED)
        rows = real.held_out.categories == number
        assert find_estimate(mine.scores, "psnr").value == pytest.approx(one.redrawn.scores.psnr[rows].mean())
        hits = (one.recognised == one.asked)[one.asked == number]
        assert find_estimate(mine.scores, "class_consistency").value == pytest.approx(hits.mean())
        covered = one.neighbours.covered[real.reference.categories == number]
        assert find_estimate(mine.scores, "coverage").value == pytest.approx(covered.mean())
        assert mine.over_champion == ()


def test_a_category_that_lost_is_seen_though_the_mean_is_better():
    real = make_real(160)
    champion = make_evidence(real, 1, noise=12.0)
    challenger = make_evidence(real, 2, noise=6.0)
    worse = np.clip(champion.redrawn.pictures.astype(int) + 25, 0, 255).astype(np.uint8)
    hats = challenger.redrawn.photos.categories == 1
    challenger.redrawn.pictures[hats] = worse[hats]
    told = named(measure_slices(challenger, make_comparable(challenger, champion)))
    lost = find_estimate(told["category hat"].over_champion, "psnr")
    assert lost.high < -1
    assert lost.n == 80
    assert find_estimate(told["category cup"].over_champion, "psnr").low > 1


def test_values_of_an_attribute_are_slices_where_models_know_of_them():
    told = np.zeros((160, 2), dtype=np.float32)
    told[np.arange(160), np.arange(160) % 2] = 1
    told[:10] = 0  # not known
    real = make_real(160, conditions=(SHADE,))
    for split in (real.reference, real.held_out, real.unseen):
        object.__setattr__(split, "conditions", told)
    base = make_evidence(real, 1)
    one = Evidence(real, base.drawn, base.asked, base.redrawn, told)
    slices = named(measure_slices(one))
    assert list(slices) == ["category cup", "category hat", "shade cold", "shade warm"]
    for metric in SLICED:
        assert find_estimate(slices["shade cold"].scores, metric).n == 75, metric
    without = named(measure_slices(base))
    assert find_estimate(without["shade cold"].scores, "class_consistency").value is None, "nothing was asked for by shade"
    assert find_estimate(without["shade cold"].scores, "psnr").n == 75


def test_values_of_an_attribute_that_no_model_is_told_of_are_slices_of_photos():
    bare = make_real(160)
    ids = (*bare.held_out.ids, *bare.reference.ids)
    seasons = {photo: ("summer", "winter", "spring")[row % 160 % 2 if row % 160 < 154 else 2] for row, photo in enumerate(ids)}
    for photo in bare.held_out.ids[:20]:
        del seasons[photo]
    real = make_real(160, labels={"season": seasons})
    one, other = make_evidence(real, 1, noise=20.0), make_evidence(real, 2, noise=6.0)
    told = named(measure_slices(one, make_comparable(one, other)))
    assert list(told) == ["category cup", "category hat", "season summer", "season winter"], "of spring there are six"
    summer = told["season summer"]
    held = np.array([seasons.get(photo) == "summer" for photo in real.held_out.ids])
    assert find_estimate(summer.scores, "psnr").value == pytest.approx(one.redrawn.scores.psnr[held].mean())
    assert find_estimate(summer.scores, "psnr").n == 67
    covered = one.neighbours.covered[np.array([seasons[photo] == "summer" for photo in real.reference.ids])]
    assert find_estimate(summer.scores, "coverage").value == pytest.approx(covered.mean())
    assert find_estimate(summer.scores, "class_consistency").value is None, "no picture was asked for by season"
    assert find_estimate(summer.over_champion, "psnr").high < 0


def test_a_slice_of_few_photos_is_withheld():
    real = make_real(160)
    one = make_evidence(real, 1)
    few = Evidence(real, one.drawn, one.asked, one.redrawn.keep(np.arange(12)))
    told = named(measure_slices(few))
    assert find_estimate(told["category cup"].scores, "psnr").value is None
    assert find_estimate(told["category cup"].scores, "psnr").n == 6
