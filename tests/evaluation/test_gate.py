import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from packshot.evaluation.gate import judge
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.policy import Against, Bound, GateParams
from packshot.evaluation.rules import images_to_settle, read_bound
from packshot.records import Condition, Control, Estimate, Extractor, Finding, Score
from tests.evaluation.reports import card, estimate, report


def hold(bound: Bound, found: Estimate | None, references: dict[str, Estimate]) -> Finding:
    return read_bound(bound, references).hold(found)


def _params(*bounds: Bound, primary: str = "kid", second: str = "coverage") -> GateParams:
    return GateParams(primary=primary, second=second, bounds=bounds)


def test_a_bound_on_attributes_is_due_only_where_models_know_of_labels():
    bound = Bound(metric="attribute_consistency", at_least={"of": "attribute_consistency_real", "plus": -0.1}, when="conditioned")
    policy = _params(bound, Bound(metric="kid", at_most=1.0), primary="kid")
    colour = Condition(name="colour", kind="label", values=("blue", "red"))
    plain = report(card("a@1", {"kid": 0.1}))
    assert judge(plain, policy).passed
    number = plain.model_copy(update={"conditions": (Condition(name="price", kind="number"),)})
    assert judge(number, policy).passed
    asked = plain.model_copy(update={"conditions": (colour,)})
    assert not judge(asked, policy).passed, "due, and not measured"
    references = {"attribute_consistency_real": 0.9}
    for value, passed in ((0.85, True), (0.75, False)):
        told = report(card("a@1", {"kid": 0.1, "attribute_consistency": value}), references=references)
        assert judge(told.model_copy(update={"conditions": (colour,)}), policy).passed is passed


LOW_KID = Bound(metric="kid", at_most=0.1, proof="measured")


@pytest.mark.parametrize(
    ("value", "half", "proof", "state"),
    [
        (24.0, 0.5, "shown", "pass"),
        (23.5, 0.5, "shown", "pass"),  # the end of the interval lies on the limit
        (23.4, 0.5, "shown", "inconclusive"),
        (22.6, 0.5, "shown", "inconclusive"),
        (22.4, 0.5, "shown", "reject"),
        (23.0, 0.5, "measured", "pass"),
        (22.999, 0.5, "measured", "reject"),
        (22.6, 0.5, "not_refuted", "pass"),
        (22.4, 0.5, "not_refuted", "reject"),
    ],
)
def test_which_end_of_the_interval_decides(value, half, proof, state):
    finding = hold(Bound(metric="psnr", at_least=23.0, proof=proof), estimate(value, half), {})
    assert finding.state == state
    assert finding.passed == (finding.margin >= 0)
    assert bool(finding.would_pass) != finding.passed


@given(
    value=st.floats(-5, 5),
    half=st.floats(0, 2),
    limit=st.floats(-5, 5),
    proof=st.sampled_from(["shown", "measured", "not_refuted"]),
)
def test_at_most_is_at_least_in_the_mirror(value, half, limit, proof):
    up = hold(Bound(metric="psnr", at_least=limit, proof=proof), estimate(value, half), {})
    down = hold(Bound(metric="kid", at_most=-limit, proof=proof), estimate(-value, half), {})
    assert up.state == down.state
    assert up.margin == pytest.approx(down.margin)


@given(value=st.floats(-5, 5), half=st.floats(0, 2), limit=st.floats(-5, 5))
def test_what_is_shown_is_measured_and_what_is_measured_is_not_refuted(value, half, limit):
    shown, measured, not_refuted = (
        hold(Bound(metric="psnr", at_least=limit, proof=proof), estimate(value, half), {}).passed
        for proof in ("shown", "measured", "not_refuted")
    )
    assert shown <= measured <= not_refuted


def test_a_limit_is_resolved_against_what_was_measured_in_the_same_run():
    bound = Bound(metric="kid", at_most=Against(of="kid_blur_1px", times=2.0, plus=0.01), proof="measured")
    finding = hold(bound, estimate(0.15), {"kid_blur_1px": estimate(0.08)})
    assert finding.limit == pytest.approx(0.17)
    assert finding.bound == "kid <= 2 x kid_blur_1px + 0.01 = 0.17"
    assert finding.passed


@pytest.mark.parametrize("references", [{}, {"kid_blur_1px": Estimate(value=None, note="needs 50 pictures")}])
def test_a_reference_that_was_not_measured_rejects(references):
    finding = hold(Bound(metric="kid", at_most=Against(of="kid_blur_1px")), estimate(0.0), references)
    assert finding.state == "reject"
    assert "kid_blur_1px' was not measured" in finding.would_pass


@pytest.mark.parametrize(
    "broken",
    [
        None,
        Estimate(value=None, note="needs 50 pictures"),
        Estimate.model_construct(value=math.nan, low=math.nan, high=math.nan, n=9, note=""),
        Estimate.model_construct(value=math.inf, low=0.0, high=math.inf, n=9, note=""),
        Estimate.model_construct(value=-math.inf, low=-math.inf, high=0.0, n=9, note=""),
    ],
)
@pytest.mark.parametrize("metric", ["psnr", "kid"])
def test_what_is_missing_withheld_or_no_number_rejects(broken, metric):
    bound = Bound(metric=metric, at_least=-1e9) if metric == "psnr" else Bound(metric=metric, at_most=1e9)
    for proof in ("shown", "measured", "not_refuted"):
        finding = hold(bound.model_copy(update={"proof": proof}), broken, {})
        assert finding.state == "reject"
        assert finding.value is None


def test_a_value_without_an_interval_shows_nothing():
    assert hold(Bound(metric="psnr", at_least=20.0), Estimate(value=25.0, n=9), {}).state == "reject"
    assert hold(Bound(metric="psnr", at_least=20.0, proof="measured"), Estimate(value=25.0, n=9), {}).passed


def test_the_best_that_passes_goes_on_in_whatever_order_they_come():
    cards = [
        card("a@1", {"kid": 0.05, "coverage": 0.8}),
        card("b@1", {"kid": 0.03, "coverage": 0.7}),
        card("c@1", {"kid": 0.01}),
        card("d@1", {"kid": Estimate(value=None, note="withheld")}),
        card("e@1", {}),
    ]
    params = _params(LOW_KID, Bound(metric="coverage", at_least=0.5, proof="measured"))
    for order in itertools.permutations(cards):
        verdict = judge(report(*order), params)
        assert verdict.passed
        assert verdict.candidate.name == "b@1"
        assert sum(said.passed for said in verdict.judgements) == 2


def test_the_second_metric_decides_between_near_ties():
    near = [
        card("a@1", {"kid": estimate(0.03, 0.02), "coverage": 0.7}),
        card("b@1", {"kid": estimate(0.04, 0.02), "coverage": 0.8}),
    ]
    far = card("c@1", {"kid": estimate(0.09, 0.001), "coverage": 0.99})
    for order in itertools.permutations([*near, far]):
        verdict = judge(report(*order), _params(LOW_KID))
        assert verdict.candidate.name == "b@1"
        assert "within the leader's interval" in verdict.reason


def test_equals_are_told_apart_by_name_so_that_a_verdict_is_repeatable():
    cards = [card("b@1", {"kid": 0.03, "coverage": 0.7}), card("a@1", {"kid": 0.03, "coverage": 0.7})]
    assert {judge(report(*order), _params(LOW_KID)).candidate.name for order in itertools.permutations(cards)} == {"a@1"}


def test_nothing_passes_and_the_reason_says_who_came_closest_and_what_broke():
    verdict = judge(
        report(card("a@1", {"kid": 0.5, "coverage": 0.1}), card("b@1", {"kid": 0.2, "coverage": 0.9})),
        _params(LOW_KID, Bound(metric="coverage", at_least=0.5, proof="measured")),
    )
    assert not verdict.passed
    assert verdict.candidate is None
    assert verdict.reason == (
        "None of 2 checkpoints passes; the closest, b@1 breaks 1 of 2 rules; "
        "first, kid is 0.2 [0.2, 0.2] where kid <= 0.1 is asked."
    )
    assert "0.1 lower" in verdict.judgements[1].findings[0].would_pass


def test_an_inconclusive_verdict_says_how_many_pictures_would_settle_it():
    verdict = judge(
        report(card("a@1", {"psnr": estimate(23.2, 0.5, n=200)})), _params(Bound(metric="psnr", at_least=23.0), primary="psnr")
    )
    assert not verdict.passed
    finding = verdict.judgements[0].findings[0]
    assert finding.state == "inconclusive"
    settled = images_to_settle(estimate(23.2, 0.5, n=200), 23.0)
    assert settled == pytest.approx(200 * (0.5 / 0.2) ** 2, abs=2)
    assert f"about {settled} pictures instead of 200" in finding.would_pass
    assert images_to_settle(estimate(23.001, 0.5, n=200), 23.0) is None


@pytest.mark.parametrize("scores", [{"psnr": 100.0}, {"psnr": 99.0}, {"ssim": 1.0}])
def test_a_flawless_reconstruction_is_a_leak(scores):
    verdict = judge(report(card("a@1", {"kid": 0.0, **scores})), _params(LOW_KID))
    assert not verdict.passed
    assert "leaked" in verdict.reason


def test_a_bound_for_encoders_is_not_held_against_a_model_that_searches():
    bounds = (LOW_KID, Bound(metric="psnr_over_pca", at_least=-0.3, when="encoded"))
    searched = card("gan@1", {"kid": 0.05, "psnr_over_pca": -3.0}, how="searched")
    encoded = card("vae@1", {"kid": 0.05, "psnr_over_pca": -3.0})
    verdict = judge(report(searched, encoded), _params(*bounds))
    assert [said.passed for said in verdict.judgements] == [True, False]
    assert verdict.candidate.name == "gan@1"


def test_a_model_that_no_bound_holds_does_not_pass():
    searched = card("gan@1", {"kid": 0.05}, how="searched")
    verdict = judge(report(searched), _params(Bound(metric="psnr", at_least=1.0, when="encoded")))
    assert not verdict.passed
    assert "no bound at all" in verdict.reason


def test_no_checkpoints_pass_no_gate():
    verdict = judge(report(), _params(LOW_KID))
    assert not verdict.passed
    assert verdict.reason == "There is no checkpoint to judge."


def test_who_lacks_the_primary_metric_is_never_the_best():
    verdict = judge(report(card("a@1", {"coverage": 0.9})), _params(Bound(metric="coverage", at_least=0.5, proof="measured")))
    assert not verdict.passed
    assert "was not measured" in verdict.reason


def test_the_policy_s_digest_changes_with_the_policy_alone():
    base = report(card("a@1", {"kid": 0.05}))
    one, same = judge(base, _params(LOW_KID)), judge(base, _params(LOW_KID))
    other = judge(base, _params(Bound(metric="kid", at_most=0.2, proof="measured")))
    assert one == same
    assert one.policy != other.policy
    assert (one.dataset, one.evidence) == (base.dataset, base.evidence)


@pytest.mark.parametrize(
    ("bound", "complaint"),
    [
        ({"metric": "lpips", "at_most": 10}, "no metric is called lpips"),
        ({"metric": "kid"}, "needs one of"),
        ({"metric": "kid", "at_most": 1, "at_least": 0}, "needs one of"),
        ({"metric": "kid", "at_most": {"of": "kid_blur_9px"}}, "no reference is called kid_blur_9px"),
        ({"metric": "kid", "at_most": {"of": "kid_real", "times": 0}}, "greater than 0"),
        ({"metric": "kid", "at_most": float("nan")}, "finite"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(bound, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Bound.model_validate(bound)


def test_every_metric_can_be_bounded_both_ways():
    for name in METRICS:
        for side in ("at_least", "at_most"):
            assert hold(Bound.model_validate({"metric": name, side: 0.0, "proof": "measured"}), estimate(0.0), {}).passed


def _control(name: str, must: str, kid: float) -> Control:
    return Control(name=name, must=must, scores=(Score(metric="kid", estimate=estimate(kid)),))


def test_where_a_control_fares_as_it_must_not_no_checkpoint_passes():
    params = _params(LOW_KID, Bound(metric="psnr", at_least=20.0)).model_copy(update={"controls": ("real", "mean_photo")})
    base = report(card("a@1", {"kid": 0.05, "psnr": 24.0}))
    sound = base.model_copy(update={"controls": (_control("real", "pass", 0.01), _control("mean_photo", "fail", 0.9))})
    verdict = judge(sound, params)
    assert verdict.passed
    assert [control.behaves for control in verdict.controls] == [True, True]
    for controls, why in (
        (
            (_control("real", "pass", 0.3), _control("mean_photo", "fail", 0.9)),
            "the control 'real' must pass, and does not; kid is 0.3",
        ),
        (
            (_control("real", "pass", 0.01), _control("mean_photo", "fail", 0.05)),
            "the control 'mean_photo' must be refused, and it keeps",
        ),
        ((), "the control 'real' must pass, and does not; it was not measured"),
    ):
        verdict = judge(base.model_copy(update={"controls": controls}), params)
        assert not verdict.passed
        assert verdict.candidate is None
        assert why in verdict.reason
        assert verdict.judgements[0].passed, "the checkpoint's own rules are told all the same"


def test_what_was_not_measured_of_a_fraud_does_not_refuse_it():
    attribute = Bound(metric="attribute_consistency", at_least=0.5)
    params = _params(Bound(metric="kid", at_most=1e9), attribute).model_copy(update={"controls": ("mean_photo",)})
    base = report(card("a@1", {"kid": 0.05, "attribute_consistency": 0.9}))
    verdict = judge(base.model_copy(update={"controls": (_control("mean_photo", "fail", 0.9),)}), params)
    assert not verdict.passed
    assert "the control 'mean_photo' must be refused, and it keeps" in verdict.reason


def test_a_bound_on_inception_is_due_only_where_its_weights_are_at_hand():
    params = _params(LOW_KID, Bound(metric="fid", at_most=30.0, proof="measured", when="inception"))
    plain = report(card("a@1", {"kid": 0.05}))
    assert judge(plain, params).passed
    seen = plain.model_copy(update={"extractors": (Extractor(name="inception", sha256="1" * 64),)})
    assert not judge(seen, params).passed, "due, and not measured"
    assert judge(seen, params).extractors == seen.extractors
