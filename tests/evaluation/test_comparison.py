from __future__ import annotations

import numpy as np
import pytest

from packshot.evaluation.comparison import COMPARISONS, UNPAIRED, compare, make_comparable, pair_photos
from packshot.evaluation.evidence import Evidence
from packshot.evaluation.gate import judge
from packshot.evaluation.kept import Kept
from packshot.evaluation.kid import kernel_distance, kernel_distance_difference
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.neighbours import MEANS, compare_neighbours, meet_neighbours
from packshot.evaluation.policy import Bound, ChampionRules, GateParams, NotWorse
from packshot.records import Score, Standing
from tests.evaluation.reports import card, report
from tests.evaluation.stand_ins import make_evidence, make_real

CHAMPION = Standing(model="packshot", version=1, sha256="c" * 64, family="vae")
POLICY = GateParams(
    primary="kid",
    second="psnr",
    bounds=(Bound(metric="kid", at_most=1e9, proof="measured"),),
    champion=ChampionRules(
        superior=True,
        not_worse=(NotWorse(metric="psnr", by=0.2), NotWorse(metric="ssim", by=0.01), NotWorse(metric="kid", by=0.05)),
    ),
)


def passes(challenger: Evidence, champion: Evidence, names: tuple[str, ...], params: GateParams = POLICY) -> bool:
    """What the gate says of a challenger, by differences measured on the pictures."""
    told = tuple(Score(metric=name, estimate=COMPARISONS[name](challenger, champion)) for name in names)
    one = card("a@1", {"kid": 0.05}).model_copy(update={"over_champion": told})
    return judge(report(one).model_copy(update={"champion": CHAMPION}), params).passed


def test_of_two_equal_models_one_is_called_better_in_at_most_5_percent_of_200_comparisons():
    promoted = 0
    for seed in range(200):
        real = make_real(100, seed)
        one, other = (make_evidence(real, 2 * seed + side, count=100) for side in (0, 1))
        promoted += passes(one, other, ("psnr", "ssim", "kid"))
    assert promoted <= 10


@pytest.mark.parametrize(
    "worse", [{"noise": 11.0}, {"shift": 12.0}], ids=["photos drawn again less sharply", "brighter pictures"]
)
def test_a_notch_worse_than_the_margin_is_refused_in_at_least_95_percent(worse):
    """Each is better in the other respect, so that only the margin can refuse it."""
    params = POLICY.model_copy(update={"champion": POLICY.champion.model_copy(update={"superior": False})})
    refused = 0
    for seed in range(100):
        real = make_real(100, seed)
        champion = make_evidence(real, 2 * seed, count=100)
        refused += not passes(make_evidence(real, 2 * seed + 1, count=100, **worse), champion, ("psnr", "ssim", "kid"), params)
    assert refused >= 95


def test_a_better_model_is_shown_to_be_better():
    real = make_real(160)
    champion, challenger = make_evidence(real, 1, noise=14.0, shift=12.0), make_evidence(real, 2, noise=10.0)
    found = {score.metric: score.estimate for score in compare(challenger, champion)}
    for name, estimate in found.items():
        if estimate.value is not None and name in {"psnr", "ssim", "kid", "kid_pixels"}:
            assert (estimate.value > 0) == METRICS[name].higher_is_better, name
            assert not estimate.low <= 0 <= estimate.high, name
    assert passes(challenger, champion, ("psnr", "ssim", "kid"))


def test_a_difference_is_that_of_the_two_models_own_scores():
    real = make_real(160)
    one, other = make_evidence(real, 1), make_evidence(real, 2, noise=14.0, shift=6.0)
    for name, estimate in ((score.metric, score.estimate) for score in compare(one, other)):
        own = [METRICS[name].measure(evidence).value for evidence in (one, other)]
        if estimate.value is not None:
            assert estimate.value == pytest.approx(own[0] - own[1], abs=1e-9), name


def test_a_model_against_itself_differs_by_nothing():
    real = make_real(160)
    one = make_evidence(real, 1)
    for score in compare(one, one):
        if score.estimate.value is not None:
            assert score.estimate.value == pytest.approx(0, abs=1e-12), score.metric
            assert score.metric == "intra_class_ssim" or score.estimate.high == pytest.approx(0, abs=1e-9), score.metric


def test_photos_are_paired_by_name_and_what_cannot_be_paired_is_withheld():
    real = make_real(160)
    one, other = make_evidence(real, 1), make_evidence(real, 2)
    shuffled = np.random.default_rng(0).permutation(160)[:100]
    moved = Evidence(real, other.drawn, other.asked, other.redrawn.keep(shuffled))
    (mine, others), groups = pair_photos(one.redrawn, moved.redrawn)
    assert [one.redrawn.photos.ids[row] for row in mine] == [moved.redrawn.photos.ids[row] for row in others]
    assert len(groups) == 100
    rows = np.sort(shuffled)
    expected = (one.redrawn.scores.psnr[rows] - other.redrawn.scores.psnr[rows]).mean()
    assert COMPARISONS["psnr"](one, moved).value == pytest.approx(expected)
    searched = make_evidence(real, 3, how="searched")
    assert COMPARISONS["psnr"](one, searched).note == UNPAIRED
    nobody = Evidence(real, one.drawn, one.asked, one.redrawn.keep(np.arange(0)))
    assert "no photo that both drew" in COMPARISONS["ssim"](one, nobody).note


def test_only_what_both_models_know_and_neither_has_seen_is_compared():
    real = make_real(160)
    one, other = make_evidence(real, 1), make_evidence(real, 2)
    cups = other.asked == 0
    fewer = Evidence(real, other.drawn[cups], other.asked[cups], other.redrawn)
    seen = frozenset(real.held_out.ids[:10])
    ours, theirs = make_comparable(one, fewer, seen)
    assert set(ours.asked) == set(theirs.asked) == {0}
    np.testing.assert_array_equal(ours.drawn, one.drawn[one.asked == 0])
    assert set(ours.real.reference.categories) == set(ours.real.unseen.categories) == {0}
    assert ours.real is theirs.real
    assert not seen & {*ours.redrawn.photos.ids}
    assert len(ours.redrawn.photos) == 75
    assert make_comparable(one, other) == (one, other)


def test_the_kernel_distance_s_difference_is_that_of_two_distances_and_its_jackknife_the_plain_one():
    random = np.random.default_rng(0)
    real, one, other = random.normal(0, 1, (24, 4)), random.normal(0.3, 1, (30, 4)), random.normal(0, 1.2, (30, 4))

    def difference(real: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
        return kernel_distance(real, one, fewest=2).value - kernel_distance(real, other, fewest=2).value

    found = kernel_distance_difference(real, one, other, fewest=2)
    assert found.value == pytest.approx(difference(real, one, other), abs=1e-12)
    without_real = [difference(np.delete(real, row, axis=0), one, other) for row in range(24)]
    without_pair = [difference(real, np.delete(one, row, axis=0), np.delete(other, row, axis=0)) for row in range(30)]
    deviation = np.sqrt(23 * np.var(without_real) + 29 * np.var(without_pair))
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * deviation, rel=1e-6)


def test_the_interval_of_the_kernel_distance_s_difference_covers_nothing_where_there_is_none():
    covered = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        real, one, other = random.normal(0, 1, (100, 6)), random.normal(0.2, 1, (120, 6)), random.normal(0.2, 1, (120, 6))
        found = kernel_distance_difference(real, one, other)
        covered += found.low <= 0 <= found.high
    assert covered >= 186  # 93 %


def test_the_intervals_of_differences_among_neighbours_are_not_too_narrow():
    covered = dict.fromkeys(MEANS, 0)
    for seed in range(60):
        random = np.random.default_rng(seed)
        real, one, other = random.normal(0, 1, (120, 5)), random.normal(0, 0.9, (120, 5)), random.normal(0, 0.9, (120, 5))
        for name, found in compare_neighbours(real, one, other, 5).items():
            covered[name] += found.low <= 0 <= found.high
    assert min(covered.values()) >= 54


def test_a_difference_among_neighbours_is_that_of_the_two_counts():
    random = np.random.default_rng(0)
    real, one, other = random.normal(0, 1, (130, 5)), random.normal(0.5, 1, (130, 5)), random.normal(0, 0.3, (130, 5))
    ours, theirs = meet_neighbours(real, one, 5), meet_neighbours(real, other, 5)
    expected = {
        "precision": ours.precise.mean() - theirs.precise.mean(),
        "recall": ours.recalled.mean() - theirs.recalled.mean(),
        "density": ours.density.mean() - theirs.density.mean(),
        "coverage": ours.covered.mean() - theirs.covered.mean(),
    }
    found = compare_neighbours(real, one, other, 5)
    assert {name: told.value for name, told in found.items()} == pytest.approx(expected)
    assert {told.value for told in compare_neighbours(real[:50], one, other, 5).values()} == {None}


def test_a_narrowed_real_side_measures_its_own_features_and_none_that_were_kept_of_all(tmp_path):
    real = make_real(160, keep=Kept.open(tmp_path, "a" * 64))
    assert len(real.catalog_features) == 160
    one, other = make_evidence(real, 1), make_evidence(real, 2)
    cups = other.asked == 0
    ours, _ = make_comparable(one, Evidence(real, other.drawn[cups], other.asked[cups], other.redrawn))
    assert len(ours.real.catalog_features) == 80
