"""What the section `gate` of params.yaml declares: what "best" means, and what a checkpoint must show before it goes on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, field_validator, model_validator

from packshot.evaluation.comparison import COMPARISONS
from packshot.evaluation.controls import CONTROLS
from packshot.evaluation.ladder import REFERENCE_NAMES
from packshot.evaluation.metrics import METRICS
from packshot.evaluation.slices import SLICED
from packshot.records import Record


def _listed(known: Collection[str], complaint: str) -> AfterValidator:
    """Refuse a name that is none of the known ones; `complaint` says so, with {} for the name."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"{complaint.format(name)}; there are {', '.join(known)}")
        return name

    return AfterValidator(check)


MetricName = Annotated[str, _listed(METRICS, "no metric is called {}")]
ReferenceName = Annotated[str, _listed(REFERENCE_NAMES, "no reference is called {}")]
ComparedName = Annotated[str, _listed(COMPARISONS, "two models cannot be compared by {}")]
ControlName = Annotated[str, _listed(CONTROLS, "no control is called {}")]
Proof = Literal["shown", "measured", "not_refuted"]


class Against(Record):
    """A limit that is measured in the same run: `times` the reference `of`, and `plus`."""

    of: ReferenceName
    times: float = Field(1.0, gt=0)
    plus: float = 0.0


class Bound(Record):
    """What one metric must keep to, and how surely."""

    metric: MetricName
    at_least: float | Against | None = None
    at_most: float | Against | None = None
    proof: Proof = "shown"
    """`shown`: the whole 95 % interval keeps to it; where the limit lies inside, the answer is inconclusive.
    `measured`: the value keeps to it. `not_refuted`: it fails only where the whole interval breaks it."""
    when: Literal["always", "encoded", "searched", "conditioned", "inception"] = "always"
    """Held against every model, or only against those that draw a photo again by encoding it, or by searching for it; or only
    where models are conditioned on label attributes, or where Inception's weights are at hand."""

    @model_validator(mode="after")
    def _one_limit(self) -> Bound:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the bound on {self.metric} needs one of at_least and at_most")
        return self

    @property
    def limit(self) -> float | Against:
        return self.at_least if self.at_least is not None else self.at_most  # type: ignore[return-value]  # one is given


class NotWorse(Record):
    """By how much a challenger may at most be worse than the champion, in the metric's own units."""

    metric: ComparedName
    by: PositiveFloat | Against


class SliceRules(Record):
    """What no category and no value of an attribute may lose, however good the mean is."""

    fewest: int = Field(20, ge=8)
    """Photos or pictures of a slice below which nothing is said of it."""
    not_worse: tuple[NotWorse, ...] = Field(min_length=1)
    """A slice has a veto where it is worse by more than this, and its whole interval lies on the worse side of the champion: at
    the level `alpha`, shared out among all slices and metrics that are looked at."""

    @field_validator("not_worse")
    @classmethod
    def _sliced(cls, rules: tuple[NotWorse, ...]) -> tuple[NotWorse, ...]:
        for rule in rules:
            if rule.metric not in SLICED:
                raise ValueError(f"{rule.metric} is not measured slice by slice; there are {', '.join(SLICED)}")
        return rules


class ChampionRules(Record):
    """What a challenger must show against the champion, on the same photos and from the same seeds.

    All of it must hold together: an intersection-union test, each part at the whole level and none corrected (Berger 1982,
    Technometrics 24, 295). The level is shared out among the checkpoints that challenge (Bonferroni): the chance that any of them
    passes though it is no better, or is worse by more than a margin, is at most `alpha`.
    """

    alpha: float = Field(0.025, gt=0, le=0.2)
    """One-sided, for all checkpoints of one evaluation together."""
    superior: bool
    """Whether it must be better in the primary metric. It need not where it draws what the champion cannot be asked for."""
    not_worse: tuple[NotWorse, ...] = ()
    slices: SliceRules | None = None


class GateParams(Record):
    """The section `gate`: what "best" means, and what every checkpoint must keep to."""

    primary: MetricName
    """The checkpoint with the best value of this metric goes on, among those that pass."""
    second: MetricName
    """It decides between checkpoints whose primary value lies within the leader's interval."""
    bounds: tuple[Bound, ...] = Field(min_length=1)
    champion: ChampionRules | None = None
    """None where a challenger need show nothing against the champion: people must then approve it."""
    controls: tuple[ControlName, ...] = ()
    """Real photos and planted frauds that must fare as they should under the bounds, or no checkpoint passes."""
    looks: int = Field(50, ge=1)
    """Evaluations of one dataset after which its held-out photos are worn out: what is chosen by them proves less and less."""

    @model_validator(mode="after")
    def _compare_what_can_be(self) -> GateParams:
        if self.champion and self.champion.superior and self.primary not in COMPARISONS:
            raise ValueError(f"two models cannot be compared by {self.primary}; superior needs one of {', '.join(COMPARISONS)}")
        return self
