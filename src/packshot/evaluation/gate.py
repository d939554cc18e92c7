"""The gate: a report held against a policy. Pure: it reads no file and asks no registry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packshot.evaluation.comparison import UNASKED, UNPAIRED
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.policy import Bound, GateParams, SliceRules
from packshot.evaluation.rules import Rule, at_level, read_bound, read_not_worse, read_superior, tell
from packshot.records import (
    ControlFinding,
    Estimate,
    EvaluationReport,
    Finding,
    Judgement,
    Scorecard,
    Slice,
    Standing,
    Verdict,
    find_estimate,
)

PERFECT: Mapping[str, float] = {"psnr": 99.0, "ssim": 1 - 1e-6}
"""From here on a score is an alarm: a photo that comes back without a flaw was not drawn again, it leaked."""


def judge(report: EvaluationReport, params: GateParams) -> Verdict:
    """Hold every checkpoint of `report` against every bound and against the champion, and pick the best of those that pass.

    Whatever is missing, withheld or not a finite number fails. A flawless reconstruction fails too: it is a leak. Where a control
    does not fare as it must, nothing passes: under such a policy, or on such evidence, a verdict means nothing.
    """
    court = Court.open(report, params)
    controls = tuple(court.try_control(name, report) for name in params.controls)
    astray = [control for control in controls if not control.behaves]
    judgements = tuple(court.judge(card) for card in report.scorecards)
    passing = [card for card, said in zip(report.scorecards, judgements, strict=True) if said.passed]
    best = _pick(court.without_champion(passing), params) if not astray else None
    return Verdict(
        passed=best is not None,
        reason=_blame(astray[0]) if astray else _reason(judgements, passing, best, params),
        primary=params.primary,
        candidate=best.checkpoint if best else None,
        judgements=judgements,
        controls=controls,
        champion=report.champion,
        compared=best is not None and court.compares(best),
        dataset=report.dataset,
        evidence=report.evidence,
        extractors=report.extractors,
        policy=params.content_digest(),
    )


@dataclass(frozen=True, slots=True)
class Court:
    """What every checkpoint of a report is judged by."""

    params: GateParams
    references: Mapping[str, Estimate]
    occasions: frozenset[str]
    """On which bounds are due, beside a checkpoint's own."""
    champion: Standing | None
    level: float
    """One-sided, of each comparison with the champion."""

    @classmethod
    def open(cls, report: EvaluationReport, params: GateParams) -> Court:
        """Lay out what was measured in the same run, and share the level out among the challengers."""
        champion = report.champion
        challengers = sum(champion is None or card.checkpoint.sha256 != champion.sha256 for card in report.scorecards)
        labelled = any(condition.kind == "label" for condition in report.conditions)
        seen = any(extractor.name == "inception" for extractor in report.extractors)
        return cls(
            params=params,
            references={score.metric: score.estimate for score in report.references},
            occasions=frozenset({"always", *(["conditioned"] if labelled else []), *(["inception"] if seen else [])}),
            champion=champion,
            level=(params.champion.alpha if params.champion else 0.0) / max(1, challengers),
        )

    def judge(self, card: Scorecard) -> Judgement:
        """Hold one checkpoint against all that is due."""
        due = [bound for bound in self.params.bounds if bound.when in {*self.occasions, card.reconstruction}]
        findings = (
            *_leak_alarms(card),
            *(read_bound(bound, self.references).hold(card.estimate(bound.metric)) for bound in due),
            *self._hold_against_champion(card),
        )
        failing = _gravest([finding for finding in findings if not finding.passed])
        name = card.checkpoint.name
        if not due:
            reason = f"{name} meets no bound at all"
        elif not failing:
            reason = f"{name} keeps to all {len(findings)} rules"
        else:
            verb = "breaks" if failing[0].state == "reject" else "does not show that it keeps to"
            reason = f"{name} {verb} {len(failing)} of {len(findings)} rules; first, {_tell(failing[0])}"
        passed = bool(due) and not failing
        return Judgement(checkpoint=card.checkpoint, findings=findings, passed=passed, reason=reason, worst=card.worst)

    def try_control(self, name: str, report: EvaluationReport) -> ControlFinding:
        """Hold a control against the bounds on new pictures; one that was not measured fares as it must not."""
        control = next((one for one in report.controls if one.name == name), None)
        if control is None:
            return ControlFinding(name=name, must="pass", state="reject", reason="it was not measured: evaluate again")
        due = [bound for bound in self.params.bounds if self._concerns(bound, control.must)]
        held = (read_bound(bound, self.references).hold(find_estimate(control.scores, bound.metric)) for bound in due)
        # What was not measured of a fraud refuses nothing.
        failing = _gravest([one for one in held if not one.passed and (control.must == "pass" or one.value is not None)])
        reason = _tell(failing[0]) if failing else f"it keeps to all {len(due)} bounds on new pictures"
        return ControlFinding(name=name, must=control.must, state=failing[0].state if failing else "pass", reason=reason)

    def compares(self, card: Scorecard) -> bool:
        """Whether all that the policy asks of a challenger was measured beside the champion. It is its own equal."""
        if self.champion is None or self.params.champion is None:
            return False
        if card.checkpoint.sha256 == self.champion.sha256:
            return True
        slices = self.params.champion.slices
        asked = {rule.metric for rule in (*self.params.champion.not_worse, *(slices.not_worse if slices else ()))}
        return self.champion.comparable and not any(_unpaired(card, metric) for metric in asked)

    def without_champion(self, passing: Sequence[Scorecard]) -> Sequence[Scorecard]:
        """Those that were shown to be better than the champion, where that is asked; the champion itself where there is none."""
        if self.champion is None or self.params.champion is None or not self.params.champion.superior:
            return passing
        return [card for card in passing if card.checkpoint.sha256 != self.champion.sha256] or passing

    def _concerns(self, bound: Bound, must: str) -> bool:
        """A bound on new pictures that is due for a control; only real photos have known attributes."""
        due = bound.when in self.occasions and (bound.when != "conditioned" or must == "pass")
        return due and METRICS[bound.metric].of == "pictures"

    def _hold_against_champion(self, card: Scorecard) -> Iterator[Finding]:
        rules, champion = self.params.champion, self.champion
        if rules is None or champion is None or not champion.comparable or card.checkpoint.sha256 == champion.sha256:
            return
        for rule in rules.not_worse:
            if METRICS[rule.metric].when in self.occasions and not _unpaired(card, rule.metric):
                yield self._compare(read_not_worse(rule, self.references), card)
        if rules.superior and not champion.lacks:
            yield self._compare(read_superior(self.params.primary), card)
        if rules.slices:
            yield from self._veto(card.slices, rules.slices, rules.alpha)

    def _compare(self, rule: Rule, card: Scorecard) -> Finding:
        estimate = find_estimate(card.over_champion, rule.metric)
        return rule.hold(None if estimate is None else at_level(estimate, self.level))

    def _veto(self, slices: Sequence[Slice], rules: SliceRules, alpha: float) -> Iterator[Finding]:
        """A finding for each metric in which a slice lost more than it may, and more than chance explains.

        The level is shared out among all that is looked at (Bonferroni): where nothing is lost, the chance of any veto is at most
        `alpha`. A slice's interval of coverage leaves out what other drawn pictures would change; that a veto needs a loss of
        more than the margin as well makes up for it.
        """
        looked_at = []
        for one in slices:
            for rule in rules.not_worse:
                estimate = find_estimate(one.over_champion, rule.metric)
                if estimate is not None and estimate.value is not None and estimate.n >= rules.fewest:
                    looked_at.append((one.name, rule, estimate))
        for name, rule, estimate in looked_at:
            jointly = at_level(estimate, alpha / len(looked_at))
            nearest = jointly.high if METRICS[rule.metric].higher_is_better else jointly.low
            by_chance = nearest is None or not better(rule.metric, 0.0, nearest)
            found = replace(read_not_worse(rule, self.references, name), proof="measured").hold(jointly)
            if not found.passed and not by_chance:
                yield found


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is a better value of `metric` than `other`."""
    return one > other if METRICS[metric].higher_is_better else one < other


def _unpaired(card: Scorecard, metric: str) -> bool:
    """Whether the two models cannot be compared by this: one encodes a photo, or can be asked for attributes, the other not."""
    estimate = find_estimate(card.over_champion, metric)
    return estimate is not None and estimate.value is None and estimate.note in {UNPAIRED, UNASKED}


def _leak_alarms(card: Scorecard) -> Iterator[Finding]:
    for metric, limit in PERFECT.items():
        estimate = card.estimate(metric)
        if estimate is not None and estimate.value is not None and estimate.value >= limit:
            yield Finding(
                metric=metric,
                kind="leak",
                bound=f"{metric} < {tell(limit)}, or the photos have leaked into the model",
                limit=limit,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                n=estimate.n,
                state="reject",
                margin=limit - estimate.value,
                would_pass="photos that the model has never seen: nothing draws a new photo again without a flaw",  # noqa: S106
            )


def _gravest(failing: Sequence[Finding]) -> Sequence[Finding]:
    """What is broken; where nothing is, what is not shown."""
    return [finding for finding in failing if finding.state == "reject"] or failing


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


def _blame(control: ControlFinding) -> str:
    if control.must == "pass":
        return f"No verdict: the control '{control.name}' must pass, and does not; {control.reason}."
    return f"No verdict: the control '{control.name}' must be refused, and {control.reason}."


def _reason(judgements: Sequence[Judgement], passing: Sequence[Scorecard], best: Scorecard | None, params: GateParams) -> str:
    if not judgements:
        return "There is no checkpoint to judge."
    if best is not None:
        value = _value(best, params.primary) or 0.0
        how = f"has {params.primary} {tell(value)}"
        if len(passing) == 1:
            rest = "and is the only one that passes" if len(judgements) > 1 else "and is the only one there is"
        elif any(better(params.primary, _value(card, params.primary) or 0.0, value) for card in passing):
            rest = f"within the leader's interval, and the best {params.second} of those"
        else:
            rest = f"the best of the {len(passing)} that pass"
        rules = next(len(said.findings) for said in judgements if said.checkpoint == best.checkpoint)
        return f"{best.checkpoint.name} keeps to all {rules} rules, {how}, {rest}."
    if passing:
        return f"Some checkpoint keeps to its rules, but {params.primary}, which says what best means, was not measured."
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
    what = "the difference" if finding.kind in {"champion", "slice"} else finding.metric
    measured = f"{what} is {tell(finding.value)}"
    if finding.low is not None and finding.high is not None:
        measured += f" [{tell(finding.low)}, {tell(finding.high)}]"
    return f"{measured} where {finding.bound} is asked"
