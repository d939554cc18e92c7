"""The section `search` of params.yaml: which settings of a run are tried, how often and for how long. Read without torch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from packshot.records import Name, Record

Setting = bool | int | float | str | None
"""One value of a searched setting."""

SHORTEST = 2


class Range(Record):
    """Numbers from `low` to `high`, whole ones where both are; `log` spreads them over orders of magnitude."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g}, and high, {self.high:g}, is not above it")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: on a logarithmic scale it is above 0")
        return self

    @property
    def extremes(self) -> tuple[Setting, ...]:
        """The values by which it is told whether all of them may be set."""
        return self.low, self.high


class Choice(Record):
    """Some values, one as likely as the other."""

    values: tuple[Setting, ...] = Field(min_length=SHORTEST)

    @property
    def extremes(self) -> tuple[Setting, ...]:
        """All of them."""
        return self.values


def _kind(value: object) -> str:
    return "values" if isinstance(value, Choice) or (isinstance(value, dict) and "values" in value) else "range"


Parameter = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choice, Tag("values")],
    Discriminator(_kind),
]


class SearchParams(Record):
    """`search:` in params.yaml: what the flow `search` tries. Nothing is searched where there is none."""

    run: Name
    """Of train.runs: everything that is not searched is as it is there."""
    metric: str = "kid"
    """Of those that evaluate measures: on the photos of the split `val`, never on those by which the gate judges."""
    trials: int = Field(20, ge=1, le=10_000)
    """How many are begun, of all runs of the flow together."""
    minutes: float = Field(480.0, gt=0)
    """Of one run of the flow; a search that is run again goes on."""
    parallel: int = Field(1, ge=1, le=64)
    """Trials at once, on one machine."""
    share: float = Field(1.0, gt=0, le=1)
    """Of the run's steps that a trial takes."""
    looks: int = Field(10, ge=1, le=1000)
    """How often a trial is measured: at each look but the last it may be given up."""
    unpruned: int = Field(3, ge=1)
    """Trials that are through before one is given up: whose metric is worse than the median of theirs at the same look."""
    seed: int = Field(1, ge=0, lt=2**31)
    """Of what is tried; every trial trains by the project's own."""
    parameters: dict[str, Parameter] = Field(min_length=1)
    """By the setting of the run, with dots: model.learning_rate, batch_size."""


ORDER, PARAMS = "order.json", "params.json"
"""What stands in a trial's folder before it begins: these two."""


class Order(Record):
    """What a trial is told beside its params."""

    study: str
    number: int
    metric: str
    parent: str
    """The MLflow run of the whole search; empty where MLflow has not seen it."""

    @property
    def tags(self) -> dict[str, str]:
        """By these MLflow knows the trial."""
        nested = {"mlflow.parentRunId": self.parent} if self.parent else {}
        return {"search": self.study, "trial": f"{self.study}/{self.number}", **nested}
