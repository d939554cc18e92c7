import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from packshot.errors import IntegrityError, MissingArtifact
from packshot.evaluation.gate import Bound, GateParams, judge
from packshot.evaluation.review import PhotoScores, ReleaseParams, compare_scores, read_photo_scores, review_policy
from tests.evaluation.reports import card, report

AUTO, MANUAL = ReleaseParams(review="auto"), ReleaseParams(review="manual", approvals=2)
PASSING = judge(
    report(card("a@1", {"kid": 0.05})),
    GateParams(primary="kid", second="coverage", bounds=(Bound(metric="kid", at_most=0.1, proof="measured"),)),
)
AT_HAND = {"weights": PASSING.candidate.sha256, "dataset": "d" * 64, "evidence": "e" * 64}


def _scores(seed: int, shift: float = 0.0, *, deviation: float = 0.5, n: int = 200, **other: object) -> PhotoScores:
    photos, random = np.random.default_rng(0), np.random.default_rng(seed)
    psnr = photos.normal(23, 4, n) + random.normal(shift, deviation, n)
    ssim = np.clip(photos.normal(0.7, 0.1, n) + random.normal(shift / 25, deviation / 25, n), 0, 0.99)
    ids = tuple(str(row) for row in range(n))
    fields = {"evidence": "e" * 64, "reconstruction": "encoded", "ids": ids, "groups": ids, "psnr": psnr, "ssim": ssim}
    return PhotoScores(**{**fields, **other})


def test_without_a_champion_the_gate_alone_decides():
    comparison = compare_scores(_scores(1), None, AUTO)
    assert comparison.state == "first"
    decision = review_policy(PASSING, AUTO, **AT_HAND, comparison=comparison)
    assert decision.allowed
    assert decision.approvals == 0


def test_a_champion_against_itself_is_the_same_and_not_superior():
    assert compare_scores(_scores(1), _scores(1), AUTO).state == "same"


def test_two_equal_models_are_called_superior_in_at_most_5_percent():
    states = [compare_scores(_scores(2 * seed), _scores(2 * seed + 1), AUTO).state for seed in range(1, 61)]
    assert states.count("superior") <= 6  # two metrics, each at 2.5 % a side; 200 comparisons are simulated in the controls
    assert states.count("inferior") == 0


def test_a_notch_more_than_the_margin_is_refused():
    for seed in range(1, 31):
        comparison = compare_scores(_scores(2 * seed, shift=-0.5), _scores(2 * seed + 1), AUTO)
        assert comparison.state in {"inferior", "inconclusive"}
        decision = review_policy(PASSING, AUTO, **AT_HAND, comparison=comparison)
        assert not decision.allowed or decision.approvals


def test_a_better_model_is_superior_and_needs_nobody_under_auto():
    comparison = compare_scores(_scores(1, shift=0.5), _scores(2), AUTO)
    assert comparison.state == "superior"
    assert "psnr +0." in comparison.reason
    assert review_policy(PASSING, AUTO, **AT_HAND, comparison=comparison).approvals == 0


def test_manual_review_always_asks_people():
    decision = review_policy(PASSING, MANUAL, **AT_HAND, comparison=compare_scores(_scores(1), None, MANUAL))
    assert decision.allowed
    assert decision.approvals == 2
    assert "2 people must approve" in decision.reason


@pytest.mark.parametrize(
    ("champion", "why"),
    [
        ({"evidence": "f" * 64}, "other evidence"),
        ({"ids": tuple(str(row + 1) for row in range(200))}, "other photos"),
        ({"reconstruction": "searched"}, "searched"),
    ],
)
def test_what_cannot_be_compared_says_why_and_asks_a_person(champion, why):
    comparison = compare_scores(_scores(1), _scores(2, **champion), AUTO)
    assert comparison.state == "not_comparable"
    assert why in comparison.reason
    assert review_policy(PASSING, AUTO, **AT_HAND, comparison=comparison).approvals == 1


def test_a_score_that_is_no_number_is_refused():
    broken = _scores(1)
    broken.psnr[3] = np.nan
    comparison = compare_scores(broken, _scores(2), AUTO)
    assert not review_policy(PASSING, AUTO, **AT_HAND, comparison=comparison).allowed


@pytest.mark.parametrize(("changed", "why"), [("weights", "weights"), ("dataset", "dataset"), ("evidence", "evidence")])
def test_another_digest_than_the_one_judged_is_refused(changed, why):
    decision = review_policy(PASSING, AUTO, **{**AT_HAND, changed: "0" * 64}, comparison=compare_scores(_scores(1), None, AUTO))
    assert not decision.allowed
    assert why in decision.reason


def test_a_rejected_verdict_is_refused_whoever_approves():
    rejected = PASSING.model_copy(update={"passed": False, "candidate": None, "reason": "kid is 0.5."})
    for params in (AUTO, MANUAL):
        decision = review_policy(rejected, params, **AT_HAND, comparison=compare_scores(_scores(1), None, params))
        assert not decision.allowed
        assert "kid is 0.5" in decision.reason


def test_scores_by_photo_are_read_back(tmp_path):
    path = tmp_path / "photos.parquet"
    rows = [
        {"checkpoint": name, "id": str(row), "group": str(row), "reconstruction": "encoded", "psnr": 20.0 + row, "ssim": 0.5}
        for name in ("a@1", "b@2")
        for row in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = read_photo_scores(path, "b@2", "e" * 64)
    assert found.ids == ("0", "1", "2")
    assert found.psnr.tolist() == [20.0, 21.0, 22.0]
    with pytest.raises(IntegrityError, match="c@3"):
        read_photo_scores(path, "c@3", "e" * 64)
    with pytest.raises(MissingArtifact):
        read_photo_scores(tmp_path / "none.parquet", "a@1", "e" * 64)
