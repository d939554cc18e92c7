"""Measuring a model while it trains, on photos from which it does not learn; and stopping once it gets no better."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.profiler import record_function

from packshot.models.base import ImageModel
from packshot.models.processes import apart
from packshot.records import Estimate
from packshot.training.params import DevParams
from packshot.training.ranks import from_first, leads
from packshot.training.state import Scoring, TrainState
from packshot.training.watch import Trouble

logger = logging.getLogger(__name__)
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
class Elsewhere:
    """The judge of a process that only hears what the first one has measured."""

    metric: str
    higher_is_better: bool
    digest: str = ""

    def measure(self, model: ImageModel) -> Estimate:
        """Nothing is measured here."""
        raise RuntimeError(f"{self.metric} is measured by the first process")


@dataclass(frozen=True, slots=True)
class Scores:
    """When a run is measured, and what follows from its scores; without a judge, or `train.dev`, nothing."""

    judge: Judge | None
    params: DevParams | None
    run: str
    steps: int
    mature: int
    """The step from which on samples mean something."""

    def due(self, step: int) -> bool:
        """Whether the model is measured after `step`: at every share of the run that params tell, and after its last step."""
        if self.judge is None or self.params is None or step <= self.mature:
            return False
        every = self.params.every * self.steps
        return step == self.steps or step == round(max(1, round(step / every)) * every)

    def take(self, state: TrainState, device: torch.device, finish: Callable[[TrainState], None]) -> bool:
        """Measure the average where that is due, `finish`ed before; Trouble where what it draws cannot be measured.

        Where several processes train the model, the first one measures and the others hear.
        """
        if self.judge is None or not self.due(state.step):
            return False
        told = b""
        if leads():
            finish(state)
            with apart(), record_function("score"):
                told = self.judge.measure(state.average).model_dump_json().encode()
        estimate, metric = Estimate.model_validate_json(from_first(told, device)), self.judge.metric
        if estimate.value is None:
            raise Trouble("NOT_FINITE", f"{metric} of what the model draws cannot be measured: {estimate.note}")
        wide = estimate.high - estimate.low if estimate.high is not None and estimate.low is not None else 0.0
        state.scorings.append(Scoring(step=state.step, value=estimate.value, error=wide / ERRORS))
        state.note(f"dev/{metric}", torch.tensor(estimate.value, dtype=torch.float64))
        if self.stalled(state.scorings):
            best = self.best(state.scorings)
            told_as = f"its best dev/{metric} was {best.value:.4g}, after step {best.step}"
            logger.info("%s stops after step %d of %d: it gets no better; %s", self.run, state.step, self.steps, told_as)
        return True

    def best(self, scorings: Sequence[Scoring]) -> Scoring:
        """The best of them, the first where several are equal."""
        return max(scorings, key=lambda scoring: (self._worth(scoring), -scoring.step))

    def stalled(self, scorings: Sequence[Scoring]) -> bool:
        """Whether a run stops here: past its minimum, and `patience` times in a row no better than before.

        Better is what exceeds the score it is held against by that one's standard error. It is held on to until it is exceeded,
        so that many small gains add up. (The seeds of the pictures and the photos are always the same: the errors of two scores
        are largely shared, which makes this a cautious measure of what chance does.)
        """
        params = self.params
        if params is None or params.patience is None or not scorings or scorings[-1].step < params.minimum * self.steps:
            return False
        held, waited = scorings[0], 0
        for scoring in scorings[1:]:
            better = self._worth(scoring) - self._worth(held) > held.error
            held, waited = (scoring, 0) if better else (held, waited + 1)
        return waited >= params.patience

    def excels(self, state: TrainState, planned: frozenset[int]) -> bool:
        """Whether the model was just measured as the best so far of a run that may end early: its weights are kept.

        Those that were kept for having been the best before are let go, but for the steps that are `planned` to be kept.
        """
        if self.params is None or self.params.patience is None or not state.scorings:
            return False
        if not self.best(state.scorings).step == state.scorings[-1].step == state.step:
            return False
        former = {scoring.step for scoring in state.scorings} - planned - {state.step}
        state.kept = [kept for kept in state.kept if kept.step not in former]
        return True

    def _worth(self, scoring: Scoring) -> float:
        return scoring.value if self.judge is not None and self.judge.higher_is_better else -scoring.value
