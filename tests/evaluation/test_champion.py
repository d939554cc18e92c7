"""The gate beside a champion: rules of a policy, held against differences that a test makes up."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from pydantic import ValidationError

from packshot.evaluation.comparison import COMPARISONS, UNASKED, UNPAIRED
from packshot.evaluation.gate import judge
from packshot.evaluation.policy import Bound, ChampionRules, GateParams, NotWorse
from packshot.evaluation.rules import at_level
from packshot.records import Condition, Estimate, EvaluationReport, Score, Scorecard, Slice, Standing
from tests.evaluation.reports import card, estimate, report

CHAMPION = Standing(model="packshot", version=3, sha256="c" * 64, family="vae")
RULES = ChampionRules.model_validate_json(
    """{"alpha": 0.025, "superior": true,
        "not_worse": [{"metric": "psnr", "by": 0.2}, {"metric": "recall", "by": {"of": "recall_real", "times": 0.05}}],
        "slices": {"fewest": 20, "not_worse": [{"metric": "psnr", "by": 0.5}, {"metric": "coverage", "by": 0.15}]}}"""
)
BETTER = {"kid": estimate(-0.02, 0.01), "psnr": estimate(0.0, 0.1), "recall": estimate(0.0, 0.03)}
REFERENCES = {"recall_real": 0.9}


def policy(rules: ChampionRules | None = RULES) -> GateParams:
    bound = Bound(metric="kid", at_most=0.1, proof="measured")
    return GateParams(primary="kid", second="coverage", bounds=(bound,), champion=rules)


def challenge(name: str = "a@1", slices: tuple[Slice, ...] = (), **differences: Estimate) -> Scorecard:
    told = tuple(Score(metric=metric, estimate=found) for metric, found in {**BETTER, **differences}.items())
    return card(name, {"kid": 0.05}).model_copy(update={"over_champion": told, "slices": slices})


def beside(*cards: Scorecard, champion: Standing | None = CHAMPION) -> EvaluationReport:
    return report(*cards, references=REFERENCES).model_copy(update={"champion": champion})


def test_a_challenger_that_is_better_and_nowhere_worse_passes():
    verdict = judge(beside(challenge()), policy())
    assert verdict.passed, verdict.reason
    assert verdict.compared
    assert verdict.champion == CHAMPION
    words = [finding.bound for finding in verdict.judgements[0].findings if finding.kind == "champion"]
    assert words == [
        "psnr less the champion's >= -0.2",
        "recall less the champion's >= -(0.05 x recall_real = 0.045)",
        "kid less the champion's < 0",
    ]


@pytest.mark.parametrize(
    ("differences", "state", "why"),
    [
        ({"kid": estimate(-0.02, 0.03)}, "inconclusive", "kid less the champion's < 0"),
        ({"kid": estimate(0.02, 0.01)}, "reject", "kid less the champion's < 0"),
        ({"kid": estimate(0.0, 0.0)}, "reject", "kid less the champion's < 0"),
        ({"psnr": estimate(-0.15, 0.1)}, "inconclusive", "psnr less the champion's >= -0.2"),
        ({"psnr": estimate(-0.4, 0.1)}, "reject", "psnr less the champion's >= -0.2"),
        ({"recall": estimate(-0.1, 0.02)}, "reject", "recall less the champion's"),
        ({"psnr": Estimate(value=None, note="too few photos")}, "reject", "psnr less the champion's >= -0.2"),
    ],
)
def test_what_is_not_shown_does_not_pass(differences, state, why):
    verdict = judge(beside(challenge(**differences)), policy())
    assert not verdict.passed
    (failing,) = [finding for finding in verdict.judgements[0].findings if not finding.passed]
    assert failing.state == state
    assert failing.bound.startswith(why)
    assert failing.would_pass
    assert why in verdict.reason


def test_a_difference_that_was_never_measured_is_refused():
    verdict = judge(beside(card("a@1", {"kid": 0.05})), policy())
    assert not verdict.passed
    assert "was not measured: evaluate again" in verdict.reason


def test_without_a_champion_the_bounds_decide_and_nothing_was_compared():
    verdict = judge(beside(challenge(), champion=None), policy())
    assert verdict.passed
    assert not verdict.compared


def test_the_champion_itself_need_not_beat_itself():
    own = challenge(kid=estimate(0.0, 0.0))
    same = CHAMPION.model_copy(update={"sha256": own.checkpoint.sha256})
    verdict = judge(beside(own, champion=same), policy())
    assert verdict.passed
    assert verdict.compared


def test_a_challenger_that_draws_what_the_champion_cannot_need_only_not_be_worse():
    lacking = CHAMPION.model_copy(update={"lacks": ("hat",)})
    assert judge(beside(challenge(kid=estimate(0.0, 0.03)), champion=lacking), policy()).passed
    assert not judge(beside(challenge(psnr=estimate(-0.4, 0.1)), champion=lacking), policy()).passed


def test_what_cannot_be_compared_passes_by_its_bounds_and_says_so():
    other = CHAMPION.model_copy(update={"comparable": False, "reason": "it draws pictures of 64 pixels"})
    verdict = judge(beside(card("a@1", {"kid": 0.05}), champion=other), policy())
    assert verdict.passed
    assert not verdict.compared
    one_searches = challenge(psnr=Estimate(value=None, note=UNPAIRED))
    verdict = judge(beside(one_searches), policy())
    assert verdict.passed, "the other comparisons hold"
    assert not verdict.compared, "so that people have to look"


def test_a_policy_that_compares_nothing_says_so():
    verdict = judge(beside(challenge(psnr=estimate(-5, 0.1))), policy(None))
    assert verdict.passed
    assert not verdict.compared


def test_the_level_is_shared_out_among_the_challengers():
    """What one challenger shows at its level, one of eight does not show at an eighth of it."""
    just = {"kid": estimate(-0.02, 0.0195)}
    assert judge(beside(challenge(**just)), policy()).passed
    crowd = [challenge(f"{letter}@1", **just) for letter in "abcdefgh"]
    verdict = judge(beside(*crowd), policy())
    assert not verdict.passed
    ends = [finding.high for finding in verdict.judgements[0].findings if finding.metric == "kid" and finding.kind == "champion"]
    assert ends == [pytest.approx(-0.02 + 0.0195 * 2.734 / 1.96, abs=1e-4)]  # z of 1 - .025 / 8


def test_an_interval_is_stretched_side_by_side():
    found = at_level(Estimate(value=1.0, low=0.5, high=2.0, n=9), 0.025)
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(2.0))
    wider = at_level(Estimate(value=1.0, low=0.5, high=2.0, n=9), 0.001)
    assert (2.0 - wider.high) / (wider.low - 0.5) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("lost", "n", "vetoed"),
    [
        (estimate(-0.8, 0.2, n=40), 40, True),
        (estimate(-0.8, 0.9, n=40), 40, False),  # chance explains it
        (estimate(-0.4, 0.1, n=40), 40, False),  # it is less than may be lost
        (estimate(-0.3, 0.29, n=40), 40, False),  # so is this, though the interval reaches farther
        (estimate(-0.8, 0.2, n=19), 19, False),  # too few to say anything
        (estimate(0.8, 0.2, n=40), 40, False),
    ],
)
def test_a_slice_that_lost_too_much_has_a_veto(lost, n, vetoed):
    shoes = Slice(name="category shoe", scores=(), over_champion=(Score(metric="psnr", estimate=lost),))
    verdict = judge(beside(challenge(slices=(shoes,))), policy())
    assert verdict.passed is not vetoed
    if vetoed:
        (finding,) = [finding for finding in verdict.judgements[0].findings if finding.kind == "slice"]
        assert finding.bound == "psnr of category shoe less the champion's >= -0.5"
        assert "category shoe" in verdict.reason


def test_of_equal_models_hardly_one_meets_a_veto_however_many_slices_there_are():
    """Two dozen slices, each at 95 % by itself, would see some loss by chance in most comparisons."""
    random, vetoed, touched = np.random.default_rng(0), 0, 0
    for _ in range(400):
        slices = []
        for number in range(24):
            half = 1.96 * 0.5
            slices.append(_lost(f"category {number}", estimate(random.normal(0, 0.5), half, n=40)))
        touched += any(one.over_champion[0].estimate.high < 0 for one in slices)
        vetoed += not judge(beside(challenge(slices=tuple(slices))), policy()).passed
    assert touched > 120
    assert vetoed <= 16, "alpha is .025: of 400 no more than 10, and what chance adds"


def _lost(name: str, found: Estimate) -> Slice:
    return Slice(name=name, scores=(), over_champion=(Score(metric="psnr", estimate=found),))


def test_a_verdict_whose_slices_could_not_be_compared_did_not_compare_all():
    rules = RULES.model_copy(update={"not_worse": RULES.not_worse[1:]})
    unpaired = challenge(psnr=Estimate(value=None, note=UNPAIRED))
    assert not judge(beside(unpaired), policy(rules)).compared, "the slices ask for psnr"
    assert judge(beside(unpaired), policy(rules.model_copy(update={"slices": None}))).compared


def test_what_the_champion_cannot_be_asked_for_blocks_nobody_and_is_not_called_compared():
    rules = ChampionRules(superior=True, not_worse=(NotWorse(metric="attribute_consistency", by=0.05),))
    labelled = {"conditions": (Condition(name="colour", kind="label", values=("red", "blue")),)}
    unasked = beside(challenge(attribute_consistency=Estimate(value=None, note=UNASKED))).model_copy(update=labelled)
    verdict = judge(unasked, policy(rules))
    assert verdict.passed
    assert not verdict.compared
    worse = beside(challenge(attribute_consistency=estimate(-0.2, 0.02))).model_copy(update=labelled)
    assert not judge(worse, policy(rules)).passed
    assert judge(beside(challenge()), policy(rules)).passed, "where no model is told a label there is no occasion"


def test_who_was_shown_to_be_better_goes_on_though_the_champion_is_within_its_interval():
    champion = card("b@1", {"kid": estimate(0.06, 0.03), "coverage": 0.80})
    better = challenge()
    better = better.model_copy(update={"scores": (*card("a@1", {"kid": estimate(0.05, 0.03), "coverage": 0.79}).scores,)})
    stands = CHAMPION.model_copy(update={"sha256": champion.checkpoint.sha256})
    verdict = judge(beside(champion, better, champion=stands), policy())
    assert verdict.candidate == better.checkpoint
    alone = judge(beside(champion, challenge(kid=estimate(0.02, 0.01)), champion=stands), policy())
    assert alone.candidate == champion.checkpoint, "nobody beat it: it stays"


def test_the_order_of_checkpoints_changes_nothing():
    cards = [challenge("a@1"), challenge("b@1", kid=estimate(-0.04, 0.005)), challenge("c@1", psnr=estimate(-1.0, 0.1))]
    told = {judge(beside(*order), policy()).candidate.name for order in itertools.permutations(cards)}
    assert len(told) == 1


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"superior": False, "not_worse": [{"metric": "copying_z", "by": 1.0}]}, "two models cannot be compared by copying_z"),
        ({"superior": False, "not_worse": [{"metric": "psnr", "by": 0.0}]}, "greater than 0"),
        ({"superior": False, "slices": {"not_worse": [{"metric": "kid", "by": 0.1}]}}, "not measured slice by slice"),
        ({"superior": False, "alpha": 0.5}, "less than or equal to 0.2"),
        ({}, "superior"),
    ],
)
def test_rules_that_make_no_sense_are_refused(section, complaint):
    with pytest.raises(ValidationError, match=complaint):
        ChampionRules.model_validate_json(json.dumps(section))


def test_superior_needs_a_primary_metric_that_two_models_can_be_compared_by():
    assert "authenticity" not in COMPARISONS
    with pytest.raises(ValidationError, match="cannot be compared by authenticity"):
        GateParams(
            primary="authenticity",
            second="kid",
            bounds=(Bound(metric="kid", at_most=1.0),),
            champion=ChampionRules(superior=True),
        )


def test_a_control_that_nobody_knows_is_refused():
    with pytest.raises(ValidationError, match="no control is called fraud"):
        GateParams(primary="kid", second="kid", bounds=(Bound(metric="kid", at_most=1.0),), controls=("fraud",))
