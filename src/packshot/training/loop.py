"""The training loop. It knows phases; it knows no family, no MLflow and no stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn

from packshot.errors import TrainingFailed
from packshot.failpoints import failpoint
from packshot.models.base import Batch, ImageModel, Phase
from packshot.records import Condition, ImageSpec
from packshot.training.batches import Photos, mix
from packshot.training.hardware import Machine
from packshot.training.log import Log
from packshot.training.params import Run, TrainParams
from packshot.training.pictures import sample_sheet
from packshot.training.state import Setback, TrainState, learning_rate
from packshot.training.watch import Trouble, Watch


class Keeper(Protocol):
    """What keeps a training's states and weights, and the evidence where it fails."""

    def restore(self, state: TrainState) -> bool:
        """Bring `state` to where the training was stopped; False where there is nothing to go on from."""

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        """Bring `state` to the `back`-th newest state of step `before` or earlier, or the oldest; False where there is none."""

    def save(self, state: TrainState) -> None:
        """Keep all that a resumed run needs."""

    def keep(self, state: TrainState) -> None:
        """Keep the weights that would be deployed now."""

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        """Keep what shows why the training failed."""


def build(
    run: Run,
    image: ImageSpec,
    categories: tuple[str, ...],
    conditions: tuple[Condition, ...],
    *,
    seed: int,
    device: torch.device,
) -> ImageModel:
    """The untrained model of a run, on `device`; its weights depend on the seed and the run's name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(seed, run.name, "weights") % 2**32)
        model = run.model.build(image, categories, conditions)
    return model.to(device=device).to(memory_format=torch.channels_last)


def train(
    model: ImageModel,
    photos: Photos,
    run: Run,
    params: TrainParams,
    *,
    seed: int,
    machine: Machine,
    log: Log,
    keeper: Keeper,
) -> TrainState:
    """Train `model` through all steps of `run`, or from where `keeper` has it, and return the state at the end.

    On a CPU a stopped and resumed training ends in the same bits as a straight one, with the same threads and the same torch.
    A training in trouble goes back to a good state and on at a lower rate; TrainingFailed where that has not helped either.
    """
    course = _Course(model, photos, run, params, seed, machine)
    state = TrainState.begin(model)
    with machine.own():
        # A resumed run tells again what it told, and makes the fits that lie behind it again: what they rest on has not moved.
        if keeper.restore(state):
            for row in state.history:
                log.metrics(row.step, row.values)
            course.catch_up(state)
        else:
            keeper.save(state)

        while state.step < course.steps:
            try:
                course.take_step(state)
            except Trouble as trouble:
                keeper.bury(state, trouble)
                _go_back(state, trouble, run, params, keeper)
                course.catch_up(state)
                continue

            # Say how it goes, show it, and keep what a resumed run needs.
            last = state.step == course.steps
            if state.step % params.report_every == 0 or last:
                log.metrics(state.step, state.report().values)
            if last or (state.step % params.picture_every == 0 and state.step >= course.mature):
                state.average.finish(course.every_photo)
                log.picture(state.step, "samples", sample_sheet(state.average))
            if state.step in course.kept:
                state.average.finish(course.every_photo)
                keeper.keep(state)
            if state.step % params.save_every == 0 or last:
                keeper.save(state)
            failpoint("train.step")
    return state


class _Course:
    """One run's way through its steps: which phases are due at each, with which photos and by which chances."""

    def __init__(self, model: ImageModel, photos: Photos, run: Run, params: TrainParams, seed: int, machine: Machine) -> None:
        self.model, self.photos, self.run, self.params, self.seed, self.machine = model, photos, run, params, seed, machine
        self.steps, self.batch_size = params.steps_of(run), params.batch_size_of(run)
        self.phases = model.phases()
        self.watch = Watch(model, photos, params.watch, self.steps)
        self.spans = [(round(phase.start * self.steps), round(phase.stop * self.steps)) for phase in self.phases]
        self.mature = round(model.matures * self.steps)
        self.kept = frozenset(
            self.mature + round((self.steps - self.mature) * (index + 1) / params.checkpoints)
            for index in range(params.checkpoints)
        ) - {self.mature} | {self.steps}

    def every_photo(self) -> Iterator[Batch]:
        return self.photos.every(flips=self.params.flips)

    def catch_up(self, state: TrainState) -> None:
        """Make the fits that lie behind `state`."""
        for fit in self.model.fits():
            if round(fit.at * self.steps) < state.step < self.steps:
                fit.run(self.every_photo)

    def take_step(self, state: TrainState) -> None:
        """One step: every phase that is due has its turn. Raises Trouble, before a weight is touched, where something is off."""
        # Where a phase is through, its parts take over their average; then what can be computed in closed form is.
        for phase, (start, stop) in zip(self.phases, self.spans, strict=True):
            if start < stop == state.step:
                state.adopt(phase)
        for fit in self.model.fits():
            if round(fit.at * self.steps) == state.step:
                fit.run(self.every_photo)

        self.model.train()
        for phase, (start, stop) in zip(self.phases, self.spans, strict=True):
            turn = state.step - start
            if not start <= state.step < stop or turn % phase.every:
                continue
            size = phase.batch_size or self.batch_size
            rate = learning_rate(phase.optimizer, turn, stop - start) * self.params.watch.slow_down ** len(state.setbacks)
            self._take_turn(state, phase, size, rate)
            if phase.averaged:
                state.follow(phase, turn * size, size)
        state.step += 1
        self.watch.step(state)

    def _take_turn(self, state: TrainState, phase: Phase, size: int, rate: float) -> None:
        """One step of the phase's optimiser at `rate`."""
        parameters = [parameter for module in phase.modules for parameter in module.parameters()]
        optimizer = state.optimizers[phase.shares or phase.name]
        for group in optimizer.param_groups:
            group["lr"] = rate
        # A turn's chances depend on the seed, the step and the phase alone. (torch's CPU generator takes 32 bits of a seed.)
        torch.manual_seed((mix(self.seed, self.run.name, phase.name) + state.step) % 2**32)
        batch = self.photos.batch(self.seed, state.step, size, flips=self.params.flips)
        with _learning(parameters):
            with self.machine.cast():
                loss = phase.loss(batch)
            loss.total.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, phase.optimizer.clip_norm or float("inf"))
            self.watch.turn(state, phase, loss, norm, batch)
            optimizer.step()
        for name, value in {**loss.terms, **loss.signals, "gradient_norm": norm}.items():
            state.note(f"{phase.name}/{name}", value)


def _go_back(state: TrainState, trouble: Trouble, run: Run, params: TrainParams, keeper: Keeper) -> None:
    """Bring `state` back to a good one, further back each time. Raises TrainingFailed once that has been tried enough."""
    before, at = list(state.setbacks), state.step
    since = at if trouble.since is None else trouble.since
    if len(before) >= params.watch.retries or not keeper.rewind(state, len(before) + 1, since):
        tried = f" after {len(before)} attempts from an earlier state at a lower rate" if before else ""
        raise TrainingFailed(
            f"{trouble.reason}{tried}: {trouble.detail}",
            where=f"{run.name}, step {at}" + (f", phase '{trouble.phase}'" if trouble.phase else ""),
            advice="lower the learning rate; failure.json beside the run's states under var/train says more",
        )
    state.setbacks = [*before, Setback(step=at, reason=trouble.reason, back_to=state.step)]
    keeper.save(state)


@contextmanager
def _learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Only these parameters collect gradients, from none on: the others' would be computed for nothing."""
    for parameter in parameters:
        parameter.requires_grad = True
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad = False
            parameter.grad = None
