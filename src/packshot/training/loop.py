"""The training loop. It knows phases; it knows no family, no MLflow and no stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import nn

from packshot.errors import TrainingFailed, UsageError
from packshot.failpoints import failpoint
from packshot.models.base import Batch, ImageModel, Phase
from packshot.records import Condition, ImageSpec
from packshot.training.batches import Photos, mix
from packshot.training.log import Log
from packshot.training.params import Run, TrainParams
from packshot.training.pictures import sample_sheet
from packshot.training.state import TrainState, learning_rate


class Keeper(Protocol):
    """What keeps a training's states and weights, and the evidence where it fails."""

    def restore(self, state: TrainState) -> bool:
        """Bring `state` to where the training was stopped; False where there is nothing to go on from."""

    def save(self, state: TrainState) -> None:
        """Keep all that a resumed run needs."""

    def keep(self, state: TrainState) -> None:
        """Keep the weights that would be deployed now."""

    def bury(self, state: TrainState, phase: str, terms: Mapping[str, float], batch: Batch) -> None:
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


def train(model: ImageModel, photos: Photos, run: Run, params: TrainParams, *, seed: int, log: Log, keeper: Keeper) -> TrainState:
    """Train `model` through all steps of `run`, or from where `keeper` has it, and return the state at the end.

    On a CPU a stopped and resumed training ends in the same bits as a straight one, with the same threads and the same torch.
    Raises TrainingFailed at the first loss or gradient that is not finite, before it reaches a weight.
    """
    steps, state, phases = params.steps_of(run), TrainState.begin(model), model.phases()
    spans = [(round(phase.start * steps), round(phase.stop * steps)) for phase in phases]
    kept = _kept_steps(model, steps, params.checkpoints)

    with _chances_of_its_own(photos, params.threads):
        # A resumed run tells again what it told, and makes the fits that lie behind it again: what they rest on has not moved.
        if keeper.restore(state):
            for row in state.history:
                log.metrics(row.step, row.values)
            for fit in model.fits():
                if round(fit.at * steps) < state.step < steps:
                    fit.run(lambda: photos.every(flips=params.flips))

        while state.step < steps:
            # Where a phase is through, its parts take over their average; then what can be computed in closed form is.
            for phase, (start, stop) in zip(phases, spans, strict=True):
                if start < stop == state.step:
                    state.adopt(phase)
            for fit in model.fits():
                if round(fit.at * steps) == state.step:
                    fit.run(lambda: photos.every(flips=params.flips))

            # A step's chances depend on the seed and its number alone. (torch's CPU generator takes 32 bits of a seed.)
            torch.manual_seed((mix(seed, run.name) + state.step) % 2**32)
            model.train()
            batches: dict[int, Batch] = {}

            # Every phase that is due has its turn.
            for phase, (start, stop) in zip(phases, spans, strict=True):
                turn = state.step - start
                if not start <= state.step < stop or turn % phase.every:
                    continue
                size = phase.batch_size or params.batch_size
                if size not in batches:
                    batches[size] = photos.batch(seed, state.step, size, flips=params.flips)
                _take_turn(state, phase, batches[size], learning_rate(phase.optimizer, turn, stop - start), keeper, run)
                if phase.averaged:
                    state.follow(phase, turn * size, size)
            state.step += 1

            # Say how it goes, show it, and keep what a resumed run needs.
            last = state.step == steps
            if state.step % params.report_every == 0 or last:
                log.metrics(state.step, state.report().values)
            if last or (state.step % params.picture_every == 0 and state.step >= round(model.matures * steps)):
                state.average.finish(lambda: photos.every(flips=params.flips))
                log.picture(state.step, "samples", sample_sheet(state.average))
            if state.step in kept:
                state.average.finish(lambda: photos.every(flips=params.flips))
                keeper.keep(state)
            if state.step % params.save_every == 0 or last:
                keeper.save(state)
            failpoint("train.step")
    return state


def _take_turn(state: TrainState, phase: Phase, batch: Batch, rate: float, keeper: Keeper, run: Run) -> None:
    """One step of the phase's optimiser at `rate`."""
    parameters = [parameter for module in phase.modules for parameter in module.parameters()]
    optimizer = state.optimizers[phase.shares or phase.name]
    for group in optimizer.param_groups:
        group["lr"] = rate
    with _learning(parameters):
        terms = phase.loss(batch)
        total = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, phase.optimizer.clip_norm or float("inf"))
        if not bool(torch.isfinite(total + norm)):
            values = {name: value.item() for name, value in {**terms, "gradient_norm": norm}.items()}
            keeper.bury(state, phase.name, values, batch)
            told = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise TrainingFailed(
                f"a loss or a gradient is not finite: {told}",
                where=f"{run.name}, step {state.step}, phase '{phase.name}'",
                advice="lower that phase's learning rate",
            )
        optimizer.step()
    for name, value in terms.items():
        state.note(f"{phase.name}/{name}", value)


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


@contextmanager
def _chances_of_its_own(photos: Photos, threads: int) -> Iterator[None]:
    """Leave torch's generators, threads and switches to the caller as they were."""
    device, before = photos.pixels.device, torch.get_num_threads()
    cudnn = torch.backends.cudnn
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _kept_steps(model: ImageModel, steps: int, count: int) -> frozenset[int]:
    """The steps whose weights are kept: `count` of them from where samples mean something to the last."""
    first = round(model.matures * steps)
    return frozenset(first + round((steps - first) * (index + 1) / count) for index in range(count)) - {first} | {steps}


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that `wanted` stands for. Raises UsageError where a GPU is asked for and there is none: no silent fallback."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no GPU that torch can use", where="train.device: cuda", advice="write cpu or auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
