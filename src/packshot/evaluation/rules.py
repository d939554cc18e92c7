"""One rule held against one estimate: what it asks in words, whether it is kept, by how much, and what would keep to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from packshot.evaluation.bootstrap import REACH
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.policy import Against, Bound, NotWorse, Proof
from packshot.records import Estimate, Finding

State = Literal["pass", "reject", "inconclusive"]
Kind = Literal["bound", "champion", "slice"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit, and the side of it that is allowed."""

    metric: str
    words: str
    """The rule as people read it, with its limit resolved."""
    limit: float | None
    """None where the reference that it is written against was not measured."""
    at_least: bool
    proof: Proof = "shown"
    strict: bool = False
    """Whether the limit itself is not allowed: equal is not better."""
    kind: Kind = "bound"

    def hold(self, estimate: Estimate | None) -> Finding:
        """Hold an estimate against it. Whatever is missing, withheld or not a finite number fails."""
        if self.limit is None or not math.isfinite(self.limit):
            return self._failed(estimate, f"the reference in '{self.words}' was not measured")
        if estimate is None:
            return self._failed(None, f"{self.metric} was not measured: evaluate again")
        value, low, high = estimate.value, estimate.low, estimate.high
        if value is None or not math.isfinite(value):
            return self._failed(estimate, f"{self.metric} is withheld: {estimate.note or 'no reason given'}")
        if self.proof != "measured" and (low is None or high is None or not (math.isfinite(low) and math.isfinite(high))):
            return self._failed(estimate, f"{self.metric} has no interval: evaluate more pictures")
        margin, state = self._decide(self.limit, value, value if low is None else low, value if high is None else high)
        return Finding(
            metric=self.metric,
            kind=self.kind,
            bound=self.words,
            limit=self.limit,
            value=value,
            low=low,
            high=high,
            n=estimate.n,
            state=state,
            margin=margin,
            would_pass="" if state == "pass" else self._would_pass(self.limit, value, estimate, state),
        )

    def _decide(self, limit: float, value: float, low: float, high: float) -> tuple[float, State]:
        """The margin at the end of the interval that decides, and the state."""
        if not self.at_least:
            limit, value, low, high = -limit, -value, -high, -low

        def keeps(number: float) -> bool:
            return number > limit if self.strict else number >= limit

        match self.proof:
            case "measured":
                return value - limit, "pass" if keeps(value) else "reject"
            case "not_refuted":
                return high - limit, "pass" if keeps(high) else "reject"
            case "shown":
                return low - limit, "pass" if keeps(low) else "inconclusive" if keeps(high) else "reject"

    def _would_pass(self, limit: float, value: float, estimate: Estimate, state: State) -> str:
        side = "above" if self.at_least else "below"
        more = side if self.strict else "at least" if self.at_least else "at most"
        end = {"measured": "a value", "not_refuted": "an interval that reaches", "shown": "an interval that is wholly"}[
            self.proof
        ]
        needed = f"{end} {more} {tell(limit)}"
        if state == "inconclusive":
            count = images_to_settle(estimate, limit)
            likely = "pass" if (value >= limit if self.at_least else value <= limit) else "fail"
            if count is None:
                return f"{needed}; the value is so near to the limit that no sensible number of pictures would settle it"
            return f"{needed}; about {count} pictures instead of {estimate.n} would settle it, by the value as a {likely}"
        lacking = abs(value - limit)
        return f"{needed}: {tell(lacking)} {'higher' if self.at_least else 'lower'}" if lacking else needed

    def _failed(self, estimate: Estimate | None, advice: str) -> Finding:
        return Finding(
            metric=self.metric,
            kind=self.kind,
            bound=self.words,
            limit=self.limit,
            value=None,
            n=estimate.n if estimate else 0,
            state="reject",
            would_pass=advice,
        )


def read_bound(bound: Bound, references: Mapping[str, Estimate]) -> Rule:
    """The rule that a bound comes to in a run in which `references` were measured."""
    sign = ">=" if bound.at_least is not None else "<="
    limit, formula = _resolve(bound.limit, references)
    words = f"{bound.metric} {sign} {formula}"
    return Rule(bound.metric, words, limit, at_least=bound.at_least is not None, proof=bound.proof)


def read_not_worse(rule: NotWorse, references: Mapping[str, Estimate], place: str = "") -> Rule:
    """The rule that a challenger is not worse than the champion by more than a margin; `place` names a slice, '' is the whole."""
    higher = METRICS[rule.metric].higher_is_better
    margin, formula = _resolve(rule.by, references)
    least = f"{'-' if higher else '+'}{formula if isinstance(rule.by, float) else f'({formula})'}"
    words = f"{rule.metric}{f' of {place}' if place else ''} less the champion's {'>=' if higher else '<='} {least}"
    limit = None if margin is None else -margin if higher else margin
    if limit is not None and margin is not None and margin <= 0:
        limit = None  # a reference of 0 or below is no margin
    return Rule(rule.metric, words, limit, at_least=higher, kind="slice" if place else "champion")


def read_superior(metric: str) -> Rule:
    """The rule that a challenger is better than the champion."""
    higher = METRICS[metric].higher_is_better
    return Rule(
        metric, f"{metric} less the champion's {'>' if higher else '<'} 0", 0.0, at_least=higher, strict=True, kind="champion"
    )


def at_level(estimate: Estimate, level: float) -> Estimate:
    """The estimate with the interval whose ends are one-sided bounds at `level`: each side of the 95 % interval, stretched.

    Stretched by the quotient of normal quantiles, which keeps the asymmetry of a bootstrap's interval.
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    stretch = NormalDist().inv_cdf(1 - level) / REACH
    low, high = (
        estimate.value - stretch * (estimate.value - estimate.low),
        estimate.value + stretch * (estimate.high - estimate.value),
    )
    return estimate.model_copy(update={"low": low, "high": high})


def images_to_settle(estimate: Estimate, limit: float) -> int | None:
    """How many pictures would shrink the interval until `limit` lies outside; None where more than 100 times as many."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    gap = abs(estimate.value - limit)
    half = max(estimate.high - estimate.value, estimate.value - estimate.low)
    if gap * 10 <= half:
        return None
    return math.ceil(estimate.n * (half / gap) ** 2) + 1


def tell(value: float) -> str:
    """A number in a sentence: four digits."""
    return f"{value:.4g}"


def _resolve(limit: float | Against, references: Mapping[str, Estimate]) -> tuple[float | None, str]:
    """A limit as a number, None where its reference was not measured; and in words."""
    if not isinstance(limit, Against):
        return limit, tell(limit)
    reference = references.get(limit.of)
    formula = "".join(
        (
            f"{limit.times:g} x " if limit.times != 1 else "",
            limit.of,
            f" {'+' if limit.plus > 0 else '-'} {abs(limit.plus):g}" if limit.plus else "",
        )
    )
    if reference is None or reference.value is None:
        return None, formula
    number = limit.times * reference.value + limit.plus
    return number, f"{formula} = {tell(number)}"
