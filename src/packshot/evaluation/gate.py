"""The gate: a report held against its bounds. Pure: it reads no file and asks no registry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from packshot.evaluation.ladder import REFERENCE_NAMES
from packshot.evaluation.metrics import METRICS
from packshot.records import Estimate, EvaluationReport, Finding, Judgement, Record, Scorecard, Verdict

PERFECT: Mapping[str, float] = {"psnr": 99.0, "ssim": 1 - 1e-6}
"""From here on a score is an alarm: a photo that comes back without a flaw was not drawn again, it leaked."""


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"no metric is called {name}; there are {', '.join(METRICS)}")
    return name


def _known_reference(name: str) -> str:
    if name not in REFERENCE_NAMES:
        raise ValueError(f"no reference is called {name}; there are {', '.join(REFERENCE_NAMES)}")
    return name


MetricName = Annotated[str, AfterValidator(_known_metric)]


class Against(Record):
    """A limit that is measured in the same run: `times` the reference `of`, and `plus`."""

    of: Annotated[str, AfterValidator(_known_reference)]
    times: float = Field(1.0, gt=0)
    plus: float = 0.0


class Bound(Record):
    """What one metric must keep to, and how surely."""

    metric: MetricName
    at_least: float | Against | None = None
    at_most: float | Against | None = None
    proof: Literal["shown", "measured", "not_refuted"] = "shown"
    """`shown`: the whole 95 % interval keeps to it; where the limit lies inside, the answer is inconclusive.
    `measured`: the value keeps to it. `not_refuted`: it fails only where the whole interval breaks it."""
    when: Literal["always", "encoded", "searched", "conditioned"] = "always"
    """Held against every model, or only against those that draw a photo again by encoding it, or by searching for it; or only
    where models are conditioned on label attributes."""

    @model_validator(mode="after")
    def _one_limit(self) -> Bound:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the bound on {self.metric} needs one of at_least and at_most")
        return self

    @property
    def limit(self) -> float | Against:
        return self.at_least if self.at_least is not None else self.at_most  # type: ignore[return-value]  # one is given


class GateParams(Record):
    """The section `gate`: what "best" means, and what every checkpoint must keep to."""

    primary: MetricName
    """The checkpoint with the best value of this metric goes on, among those that pass."""
    second: MetricName
    """It decides between checkpoints whose primary value lies within the leader's interval."""
    bounds: tuple[Bound, ...] = Field(min_length=1)


def judge(report: EvaluationReport, params: GateParams) -> Verdict:
    """Hold every checkpoint of `report` against every bound, and pick the best of those that pass.

    Whatever is missing, withheld or not a finite number fails. A flawless reconstruction fails too: it is a leak.
    """
    references = {score.metric: score.estimate for score in report.references}
    labelled = any(condition.kind == "label" for condition in report.conditions)
    judgements = tuple(_judge_one(card, references, params, labelled=labelled) for card in report.scorecards)
    passing = [card for card, said in zip(report.scorecards, judgements, strict=True) if said.passed]
    best = _pick(passing, params)
    return Verdict(
        passed=best is not None,
        reason=_reason(judgements, passing, best, params),
        primary=params.primary,
        candidate=best.checkpoint if best else None,
        judgements=judgements,
        dataset=report.dataset,
        evidence=report.evidence,
        policy=params.content_digest(),
    )


def hold(bound: Bound, estimate: Estimate | None, references: Mapping[str, Estimate]) -> Finding:
    """Hold one estimate against one bound."""
    limit, words = _resolve(bound, references)
    if limit is None or not math.isfinite(limit):
        return _failed(bound, words, None, estimate, f"the reference {words} was not measured")
    if estimate is None:
        return _failed(bound, words, limit, None, f"{bound.metric} was not measured: evaluate again")
    value = estimate.value
    if value is None or not math.isfinite(value):
        return _failed(bound, words, limit, estimate, f"{bound.metric} is withheld: {estimate.note or 'no reason given'}")
    low, high = estimate.low, estimate.high
    if bound.proof != "measured" and (low is None or high is None or not (math.isfinite(low) and math.isfinite(high))):
        return _failed(bound, words, limit, estimate, f"{bound.metric} has no interval: evaluate more pictures")
    margin, state = _decide(bound, limit, value, value if low is None else low, value if high is None else high)
    return Finding(
        metric=bound.metric,
        bound=words,
        limit=limit,
        value=value,
        low=low,
        high=high,
        n=estimate.n,
        state=state,
        margin=margin,
        would_pass="" if state == "pass" else _would_pass(bound, limit, estimate, state),
    )


def images_to_settle(estimate: Estimate, limit: float) -> int | None:
    """How many pictures would shrink the interval until `limit` lies outside; None where more than 100 times as many."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    gap = abs(estimate.value - limit)
    half = max(estimate.high - estimate.value, estimate.value - estimate.low)
    if gap * 10 <= half:
        return None
    return math.ceil(estimate.n * (half / gap) ** 2) + 1


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is a better value of `metric` than `other`."""
    return one > other if METRICS[metric].higher_is_better else one < other


def _judge_one(card: Scorecard, references: Mapping[str, Estimate], params: GateParams, *, labelled: bool) -> Judgement:
    occasions = {"always", card.reconstruction, *(["conditioned"] if labelled else [])}
    due = [bound for bound in params.bounds if bound.when in occasions]
    findings = (*_leak_alarms(card), *(hold(bound, card.estimate(bound.metric), references) for bound in due))
    failing = [finding for finding in findings if finding.state != "pass"]
    rejected = [finding for finding in failing if finding.state == "reject"]
    name = card.checkpoint.name
    if not due:
        reason = f"{name} meets no bound at all"
    elif not failing:
        reason = f"{name} keeps to all {len(findings)} bounds"
    else:
        verb = "breaks" if rejected else "does not show that it keeps to"
        reason = f"{name} {verb} {len(rejected or failing)} of {len(findings)} bounds; first, {_tell((rejected or failing)[0])}"
    return Judgement(checkpoint=card.checkpoint, findings=findings, passed=bool(due) and not failing, reason=reason)


def _leak_alarms(card: Scorecard) -> list[Finding]:
    alarms = []
    for metric, limit in PERFECT.items():
        estimate = card.estimate(metric)
        if estimate is not None and estimate.value is not None and estimate.value >= limit:
            alarms.append(
                Finding(
                    metric=metric,
                    bound=f"{metric} < {_number(limit)}, or the photos have leaked into the model",
                    limit=limit,
                    value=estimate.value,
                    low=estimate.low,
                    high=estimate.high,
                    n=estimate.n,
                    state="reject",
                    margin=limit - estimate.value,
                    would_pass="photos that the model has never seen: nothing draws a new photo again without a flaw",  # noqa: S106
                )
            )
    return alarms


def _resolve(bound: Bound, references: Mapping[str, Estimate]) -> tuple[float | None, str]:
    """The limit as a number, and the bound in words."""
    sign = ">=" if bound.at_least is not None else "<="
    limit = bound.limit
    if not isinstance(limit, Against):
        return limit, f"{bound.metric} {sign} {_number(limit)}"
    reference = references.get(limit.of)
    measured = reference.value if reference else None
    formula = "".join(
        (
            f"{limit.times:g} x " if limit.times != 1 else "",
            limit.of,
            f" {'+' if limit.plus > 0 else '-'} {abs(limit.plus):g}" if limit.plus else "",
        )
    )
    if measured is None:
        return None, f"{bound.metric} {sign} {formula}"
    number = limit.times * measured + limit.plus
    return number, f"{bound.metric} {sign} {formula} = {_number(number)}"


def _decide(
    bound: Bound, limit: float, value: float, low: float, high: float
) -> tuple[float, Literal["pass", "reject", "inconclusive"]]:
    """The margin at the end of the interval that decides, and the state."""
    if bound.at_most is not None:
        limit, value, low, high = -limit, -value, -high, -low
    match bound.proof:
        case "measured":
            return value - limit, "pass" if value >= limit else "reject"
        case "not_refuted":
            return high - limit, "pass" if high >= limit else "reject"
        case "shown":
            state: Literal["pass", "reject", "inconclusive"] = (
                "pass" if low >= limit else "reject" if high < limit else "inconclusive"
            )
            return low - limit, state


def _would_pass(bound: Bound, limit: float, estimate: Estimate, state: str) -> str:
    if estimate.value is None:
        return ""
    more = "at least" if bound.at_least is not None else "at most"
    end = {"measured": "a value", "not_refuted": "an interval that reaches", "shown": "an interval that is wholly"}[bound.proof]
    needed = f"{end} {more} {_number(limit)}"
    if state == "inconclusive":
        count = images_to_settle(estimate, limit)
        holds = estimate.value >= limit if bound.at_least is not None else estimate.value <= limit
        likely = "pass" if holds else "fail"
        if count is None:
            return f"{needed}; the value is so near to the limit that no sensible number of pictures would settle it"
        return f"{needed}; about {count} pictures instead of {estimate.n} would settle it, by the value as a {likely}"
    lacking = abs(estimate.value - limit)
    return f"{needed}: {_number(lacking)} {'higher' if bound.at_least is not None else 'lower'}" if lacking else needed


def _failed(bound: Bound, words: str, limit: float | None, estimate: Estimate | None, advice: str) -> Finding:
    return Finding(
        metric=bound.metric,
        bound=words,
        limit=limit,
        value=None,
        n=estimate.n if estimate else 0,
        state="reject",
        would_pass=advice,
    )


def _pick(passing: Sequence[Scorecard], params: GateParams) -> Scorecard | None:
    """The best by the primary metric; within the leader's interval the best by the second, then by name."""
    ranked = sorted(
        (card for card in passing if _value(card, params.primary) is not None), key=lambda card: _rank(card, params.primary)
    )
    if not ranked:
        return None
    leader = ranked[0].estimate(params.primary)
    if leader is None or leader.low is None or leader.high is None:
        return ranked[0]
    near = [card for card in ranked if leader.low <= (_value(card, params.primary) or 0.0) <= leader.high]
    return min(near or ranked[:1], key=lambda card: (*_rank(card, params.second)[:2], *_rank(card, params.primary)))


def _value(card: Scorecard, metric: str) -> float | None:
    estimate = card.estimate(metric)
    return None if estimate is None or estimate.value is None or not math.isfinite(estimate.value) else estimate.value


def _rank(card: Scorecard, metric: str) -> tuple[bool, float, str]:
    """Smaller is better; what was not measured comes last."""
    value = _value(card, metric)
    if value is None:
        return True, 0.0, card.checkpoint.name
    return False, -value if METRICS[metric].higher_is_better else value, card.checkpoint.name


def _reason(judgements: Sequence[Judgement], passing: Sequence[Scorecard], best: Scorecard | None, params: GateParams) -> str:
    if not judgements:
        return "There is no checkpoint to judge."
    if best is not None:
        value = _value(best, params.primary) or 0.0
        how = f"has {params.primary} {_number(value)}"
        if len(passing) == 1:
            rest = "and is the only one that passes" if len(judgements) > 1 else "and is the only one there is"
        elif any(better(params.primary, _value(card, params.primary) or 0.0, value) for card in passing):
            rest = f"within the leader's interval, and the best {params.second} of those"
        else:
            rest = f"the best of the {len(passing)} that pass"
        bounds = next(len(said.findings) for said in judgements if said.checkpoint == best.checkpoint)
        return f"{best.checkpoint.name} keeps to all {bounds} bounds, {how}, {rest}."
    if passing:
        return f"Some checkpoint keeps to its bounds, but {params.primary}, which says what best means, was not measured."
    closest = min(
        judgements,
        key=lambda said: (
            sum(finding.state == "reject" for finding in said.findings),
            sum(not finding.passed for finding in said.findings),
        ),
    )
    if len(judgements) == 1:
        return f"{closest.reason}."
    return f"None of {len(judgements)} checkpoints passes; the closest, {closest.reason}."


def _tell(finding: Finding) -> str:
    """One finding as a clause of a sentence."""
    if finding.value is None:
        return f"{finding.bound}: {finding.would_pass}"
    measured = f"{finding.metric} is {_number(finding.value)}"
    if finding.low is not None and finding.high is not None:
        measured += f" [{_number(finding.low)}, {_number(finding.high)}]"
    return f"{measured} where {finding.bound} is asked"


def _number(value: float) -> str:
    return f"{value:.4g}"
