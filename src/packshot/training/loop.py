"""The training loop. It knows phases; it knows no family, no MLflow and no stage."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import nn
from torch.profiler import record_function

from packshot.errors import TrainingFailed
from packshot.failpoints import failpoint
from packshot.models.base import Batch, Fit, ImageModel, Phase
from packshot.models.processes import apart
from packshot.records import Condition, ImageSpec
from packshot.training.batches import Photos, mix
from packshot.training.descent import Descent, learning
from packshot.training.hardware import Machine
from packshot.training.interruption import Interruption
from packshot.training.keeper import Keeper
from packshot.training.log import Log, Pixels
from packshot.training.params import Run, TrainParams
from packshot.training.pictures import sample_sheet
from packshot.training.ranks import anyone, leads, require_lockstep
from packshot.training.state import Setback, TrainState, learning_phases, learning_rate
from packshot.training.stopping import Judge, Scores
from packshot.training.transfer import Start, carry_over, freeze
from packshot.training.watch import ADVICE, Trouble, Watch

logger = logging.getLogger(__name__)


def build(
    run: Run,
    image: ImageSpec,
    categories: tuple[str, ...],
    conditions: tuple[Condition, ...],
    *,
    seed: int,
    device: torch.device,
    start: Start | None = None,
) -> ImageModel:
    """The model that a run begins with, on `device`: its weights depend on the seed and the run's name, or come from `start`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(seed, run.name, "weights") % 2**32)
        model = run.model.build(image, categories, conditions)
    if start:
        carry_over(model, start, run)
    freeze(model, run)
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
    judge: Judge | None = None,
    interruption: Interruption | None = None,
) -> TrainState:
    """Train `model` through all steps of `run`, or from where `keeper` has it, and return the state at the end.

    On a CPU a stopped and resumed training ends in the same bits as a straight one, with the same threads and the same torch.
    A training in trouble goes back to a good state and on at a lower rate; TrainingFailed where that has not helped either.
    Where there is a `judge`, the model is measured as train.dev says, and the training ends early once it gets no better.
    A signal that `interruption` heard of ends it after the step, Stopped, once it is kept where it stands.
    Where several processes train the model, each runs this, and the first one alone tells and keeps (training.ranks).
    """
    course = Course(model, photos, run, params, seed, machine, judge)
    interruption = interruption or Interruption()
    state = TrainState.begin(model)
    machine.translate(model)
    with machine.own():
        # A resumed run tells again what it told, and makes the fits that lie behind it again: what they rest on has not moved.
        if keeper.restore(state):
            for row in state.history:
                log.metrics(row.step, state.told(row))
            course.catch_up(state)
        else:
            keeper.save(state)

        while not course.over(state):
            try:
                course.take_step(state)
                scored = course.scores.take(state, machine.device, course.finish)
                sheet = course.draw(state)
            except Trouble as trouble:
                keeper.bury(state, trouble)
                _go_back(state, trouble, run, params, keeper)
                course.catch_up(state)
                continue

            # Say how it goes, show it, and keep what a resumed run needs.
            last = course.over(state)
            if scored or state.step % params.report_every == 0 or last:
                require_lockstep(model, machine.device)
                log.metrics(state.step, state.told(state.report()))
            if sheet is not None:
                log.picture(state.step, state.retold(state.step) + "samples", sheet)
            best = course.scores.excels(state, course.kept)
            if leads() and (best or last or state.step in course.kept):
                course.finish(state)
                keeper.keep(state)
            if state.step % params.save_every == 0 or last:
                keeper.save(state)
            failpoint("train.step")

            # Whoever was asked to stop, all processes stop at the same step.
            interruption.beats += 1
            if not last and anyone(interruption.signal != 0, machine.device):
                if state.step % params.save_every:
                    keeper.pause(state)
                raise interruption.stop(state.step)
    return state


class Course:
    """One run's way through its steps: which phases are due at each, with which photos and by which chances."""

    def __init__(
        self,
        model: ImageModel,
        photos: Photos,
        run: Run,
        params: TrainParams,
        seed: int,
        machine: Machine,
        judge: Judge | None,
    ) -> None:
        self.model, self.photos, self.run, self.params, self.seed, self.machine = model, photos, run, params, seed, machine
        self.steps, self.batch_size = params.steps_of(run), params.batch_size_of(run)
        self.phases = learning_phases(model)
        self.watch = Watch(model, photos, params.watch, self.steps)
        self.descent = Descent(photos, machine, seed, params.flips, params.accumulate)
        for phase in self.phases:
            self.descent.require_enough(phase, phase.batch_size or self.batch_size)
        self.spans = [(round(phase.start * self.steps), round(phase.stop * self.steps)) for phase in self.phases]
        self.mature = round(model.matures * self.steps)
        self.kept = frozenset(
            self.mature + round((self.steps - self.mature) * (index + 1) / params.checkpoints)
            for index in range(params.checkpoints)
        ) - {self.mature} | {self.steps}
        self.scores = Scores(judge, params.dev, run.name, self.steps, self.mature)

    def over(self, state: TrainState) -> bool:
        """Whether the training ends here: after its last step, or where it gets no better."""
        return state.step >= self.steps or self.scores.stalled(state.scorings)

    def every_photo(self) -> Iterator[Batch]:
        return self.photos.every(flips=self.params.flips)

    def _leaves(self, step: int) -> bool:
        """Whether anything of this step is kept or shown."""
        regular = step % self.params.save_every == 0 or step % self.params.picture_every == 0
        return regular or step in self.kept or step == self.steps or self.scores.due(step)

    def catch_up(self, state: TrainState) -> None:
        """Make the fits that lie behind `state`."""
        for fit in self.model.fits():
            if round(fit.at * self.steps) < state.step < self.steps:
                self._run(fit)

    def finish(self, state: TrainState) -> None:
        """Fit what is deployed but not trained: for the first process alone, which keeps it."""
        with apart():
            state.average.finish(self.every_photo)

    def draw(self, state: TrainState) -> Pixels | None:
        """The step's sheet of samples where one is due: for the first process alone, which shows it.

        Raises Trouble, in every process, where weights that are numbers draw what is none.
        """
        due = state.step % self.params.picture_every == 0 and state.step >= self.mature
        if not (due or self.over(state)):
            return None
        sheet, seen = None, False
        if leads():
            self.finish(state)
            try:
                sheet = sample_sheet(state.average)
            except ValueError:
                seen = True
        if anyone(seen, self.machine.device):
            since = max(0, state.step - self.params.picture_every)
            raise Trouble("NOT_FINITE", "what the model draws holds what is no number", since=since)
        return sheet

    def _run(self, fit: Fit) -> None:
        """Every process makes a fit by itself, from the same weights and all photos."""
        with record_function(f"fit {fit.name}"), apart(), self.machine.turn(eager=True):
            fit.run(self.every_photo)

    def take_step(self, state: TrainState) -> None:
        """One step: every phase that is due has its turn. Raises Trouble, before a weight is touched, where something is off."""
        # Where a phase is through, its parts take over their average; then what can be computed in closed form is.
        for phase, (start, stop) in zip(self.phases, self.spans, strict=True):
            if start < stop == state.step:
                state.adopt(phase)
        for fit in self.model.fits():
            if round(fit.at * self.steps) == state.step:
                self._run(fit)

        self.model.train()
        for phase, (start, stop) in zip(self.phases, self.spans, strict=True):
            turn = state.step - start
            if not start <= state.step < stop or turn % phase.every:
                continue
            size = phase.batch_size or self.batch_size
            rate = learning_rate(phase.optimizer, turn, stop - start) * self.params.watch.slow_down ** len(state.setbacks)
            with record_function(f"phase {phase.name}"):  # for a profile; it costs a microsecond
                self._take_turn(state, phase, size, rate)
                if phase.averaged:
                    state.follow(phase, turn * size, size)
        state.step += 1
        self._look_after(state)

    def _look_after(self, state: TrainState) -> None:
        """Have the step watched. What one process alone sees, all of them go back for: else each would wait for the other."""
        seen: Trouble | None = None
        with record_function("watch"), apart():
            try:
                self.watch.step(state, kept=self._leaves(state.step))
            except Trouble as trouble:
                seen = trouble
        if anyone(seen is not None, self.machine.device):
            raise seen or Trouble("DIVERGED", "another process alone is in trouble: the weights have drifted apart")

    def _take_turn(self, state: TrainState, phase: Phase, size: int, rate: float) -> None:
        """One step of the phase's optimiser at `rate`."""
        parameters = [parameter for module in phase.modules for parameter in module.parameters()]
        optimizer = state.optimizers[phase.shares or phase.name]
        for group in optimizer.param_groups:
            group["lr"] = rate
        # A turn's chances depend on the seed, the step and the phase alone. (torch's CPU generator takes 32 bits of a seed.)
        chances = (mix(self.seed, self.run.name, phase.name) + state.step) % 2**32
        with learning(parameters), self.machine.turn(eager=phase.second_order):
            loss, batch = self.descent.collect(phase, parameters, state.step, size, chances)
            norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
            if phase.optimizer.clip_norm:
                nn.utils.clip_grads_with_norm_(parameters, phase.optimizer.clip_norm, norm)
            try:
                self.watch.turn(state, phase, loss, norm, batch)
            except Trouble as trouble:
                # Whichever process sees it, the photos of all of them may be to blame.
                trouble.rows = self.photos.rows(self.seed, state.step, size).tolist()
                raise
            optimizer.step()
        for name, value in {**loss.terms, **loss.signals, "gradient_norm": norm}.items():
            state.note(f"{phase.name}/{name}", value)


def _go_back(state: TrainState, trouble: Trouble, run: Run, params: TrainParams, keeper: Keeper) -> None:
    """Bring `state` back to a good one, further back each time. Raises TrainingFailed once that has been tried enough."""
    before, at = list(state.setbacks), state.step
    since = at if trouble.since is None else trouble.since
    if len(before) >= params.watch.retries or not keeper.rewind(state, len(before) + 1, since):
        again = "".join(f", {setback.reason} at step {setback.step}" for setback in before)
        slowest = params.watch.slow_down ** len(before)
        tried = f" (it had gone back {len(before)} times{again}, and on at {slowest:g} of the rates)" if before else ""
        raise TrainingFailed(
            f"{trouble.reason}: {trouble.detail}{tried}",
            where=f"{run.name}, step {at}" + (f", phase '{trouble.phase}'" if trouble.phase else ""),
            advice=f"{ADVICE[trouble.reason]}; failure.json beside the run's states under var/train says more",
        )
    logger.warning(
        "%s: %s at step %d: %s; it goes back to step %d, and on at %g of the rates",
        run.name,
        trouble.reason,
        at,
        trouble.detail,
        state.step,
        params.watch.slow_down ** (len(before) + 1),
    )
    state.setbacks = [*before, Setback(step=at, reason=trouble.reason, back_to=state.step)]
    keeper.save(state)
