"""Measuring a model while it trains, on photos from which it does not learn; and stopping once it gets no better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from packshot.models.base import ImageModel
from packshot.records import Estimate
from packshot.training.params import DevParams
from packshot.training.state import Scoring

ERRORS = 2 * 1.96
"""Standard errors in the width of a 95 % interval."""


class Judge(Protocol):
    """Says how good a model is on the photos of the split `val`. The same weights always get the same answer."""

    @property
    def metric(self) -> str:
        """What is measured."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is better."""

    @property
    def digest(self) -> str:
        """Of all that its answers depend on, but the model."""

    def measure(self, model: ImageModel) -> Estimate:
        """The metric of a model that is ready to be deployed; withheld where what it draws is no picture."""


@dataclass(frozen=True, slots=True)
class Scores:
    """When a run is measured, and what follows from its scores."""

    params: DevParams
    steps: int
    mature: int
    """The step from which on samples mean something."""
    higher_is_better: bool

    def due(self) -> frozenset[int]:
        """The steps after which the model is measured, the last one among them."""
        places = (round(number * self.params.every * self.steps) for number in range(1, int(1 / self.params.every) + 1))
        return frozenset(step for step in places if step > self.mature) | {self.steps}

    def best(self, scorings: Sequence[Scoring]) -> Scoring:
        """The best of them, the first where several are equal."""
        return max(scorings, key=lambda scoring: (self._worth(scoring), -scoring.step))

    def stalled(self, scorings: Sequence[Scoring]) -> bool:
        """Whether a run stops here: past its minimum, and `patience` times in a row no better than before.

        Better is what exceeds the score it is held against by that score's own standard error. That one stays until it is
        exceeded, so that many small gains add up. (The pictures' seeds and the photos are always the same: the errors of two
        scores are largely shared, and theirs is a cautious measure of what chance does.)
        """
        if self.params.patience is None or not scorings or scorings[-1].step < self.params.minimum * self.steps:
            return False
        held, waited = scorings[0], 0
        for scoring in scorings[1:]:
            better = self._worth(scoring) - self._worth(held) > held.error
            held, waited = (scoring, 0) if better else (held, waited + 1)
        return waited >= self.params.patience

    def _worth(self, scoring: Scoring) -> float:
        return scoring.value if self.higher_is_better else -scoring.value


def note_scoring(step: int, estimate: Estimate) -> Scoring | None:
    """What a state remembers of a measurement; None where it was withheld."""
    if estimate.value is None:
        return None
    wide = estimate.high - estimate.low if estimate.high is not None and estimate.low is not None else 0.0
    return Scoring(step=step, value=estimate.value, error=wide / ERRORS)
