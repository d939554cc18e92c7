import pytest

from packshot.evaluation.gate import judge
from packshot.evaluation.policy import Bound, ChampionRules, GateParams
from packshot.evaluation.review import ReleaseParams, is_stale, review_policy
from packshot.records import Score, Standing, Verdict
from tests.evaluation.reports import card, estimate, report

AUTO, MANUAL = ReleaseParams(review="auto"), ReleaseParams(review="manual", approvals=2)
CHAMPION = Standing(model="packshot", version=3, sha256="c" * 64, family="vae")


def _judge(champion: Standing | None = None) -> Verdict:
    rules = ChampionRules(superior=True)
    bound = Bound(metric="kid", at_most=0.1, proof="measured")
    better = (Score(metric="kid", estimate=estimate(-0.02, 0.01)),)
    base = report(card("a@1", {"kid": 0.05}).model_copy(update={"over_champion": better}))
    params = GateParams(primary="kid", second="coverage", bounds=(bound,), champion=rules)
    return judge(base.model_copy(update={"champion": champion}), params)


ALONE, BESIDE = _judge(), _judge(CHAMPION)
AT_HAND = {"weights": ALONE.candidate.sha256, "dataset": "d" * 64, "evidence": "e" * 64}


def test_without_a_champion_the_gate_alone_decides():
    decision = review_policy(ALONE, AUTO, **AT_HAND, champion=None)
    assert decision.allowed
    assert decision.approvals == 0
    assert "no champion yet" in decision.reason


def test_what_the_gate_compared_needs_nobody_under_auto():
    decision = review_policy(BESIDE, AUTO, **AT_HAND, champion=CHAMPION.sha256)
    assert decision.allowed
    assert decision.approvals == 0
    assert decision.reason == "on the same photos and seeds as version 3: kid -0.02 [-0.03, -0.01]"


def test_manual_review_always_asks_people():
    for verdict, champion in ((ALONE, None), (BESIDE, CHAMPION.sha256)):
        decision = review_policy(verdict, MANUAL, **AT_HAND, champion=champion)
        assert decision.allowed
        assert decision.approvals == 2
        assert "2 people must approve" in decision.reason


def test_what_cannot_be_compared_says_why_and_asks_a_person():
    other = CHAMPION.model_copy(update={"comparable": False, "reason": "it draws pictures of 64 pixels"})
    decision = review_policy(_judge(other), AUTO, **AT_HAND, champion=CHAMPION.sha256)
    assert decision.allowed
    assert decision.approvals == 1
    assert "64 pixels" in decision.reason


@pytest.mark.parametrize(("verdict", "champion"), [(ALONE, "c" * 64), (BESIDE, None), (BESIDE, "b" * 64)])
def test_a_verdict_beside_another_champion_is_stale_whoever_approves(verdict, champion):
    assert is_stale(verdict, champion)
    for params in (AUTO, MANUAL):
        decision = review_policy(verdict, params, **AT_HAND, champion=champion)
        assert not decision.allowed
        assert "is not champion now" in decision.reason


def test_its_own_promotion_makes_a_verdict_no_staler():
    assert not is_stale(ALONE, ALONE.candidate.sha256)
    assert review_policy(BESIDE, AUTO, **AT_HAND, champion=BESIDE.candidate.sha256).allowed


@pytest.mark.parametrize(("changed", "why"), [("weights", "weights"), ("dataset", "dataset"), ("evidence", "evidence")])
def test_another_digest_than_the_one_judged_is_refused(changed, why):
    decision = review_policy(ALONE, AUTO, **{**AT_HAND, changed: "0" * 64}, champion=None)
    assert not decision.allowed
    assert why in decision.reason


def test_a_rejected_verdict_is_refused_whoever_approves():
    rejected = ALONE.model_copy(update={"passed": False, "candidate": None, "reason": "kid is 0.5."})
    for params in (AUTO, MANUAL):
        decision = review_policy(rejected, params, **AT_HAND, champion=None)
        assert not decision.allowed
        assert "kid is 0.5" in decision.reason
