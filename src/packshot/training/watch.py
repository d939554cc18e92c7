"""What watches a training: troubles are seen before they cost a night, and told in one word each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from packshot.models.base import Batch, ImageModel, Loss, Phase
from packshot.training import symptoms
from packshot.training.batches import Photos
from packshot.training.looks import Looks
from packshot.training.params import WatchParams
from packshot.training.state import TrainState, learning_phases
from packshot.training.symptoms import SIGNALS, SUSTAINED, Window, close_window, pack_windows, unpack_windows

Reason = Literal["NOT_FINITE", "DIVERGED", "D_WINS", "D_DEAD", "MODE_COLLAPSE", "POSTERIOR_COLLAPSE"]
"""NOT_FINITE: a loss, a gradient, a weight, a buffer or an average is no number. DIVERGED: weights, gradients or a loss run away.
D_WINS: the critic is right in every pair, more and more so, and the generator learns nothing from it. D_DEAD: the critic learns
nothing itself. MODE_COLLAPSE: pictures of a category are all alike. POSTERIOR_COLLAPSE: the latents say nothing of a photo."""

ADVICE: Mapping[Reason, str] = {
    "NOT_FINITE": "look at the photos that failure.json names; lower the learning rate, or train in float32",
    "DIVERGED": "lower the learning rate, or raise the batch size",
    "D_WINS": "lower the critic's learning rate, raise its penalty, or augment its photos",
    "D_DEAD": "raise the critic's learning rate, lower its penalty, or freeze less of it",
    "MODE_COLLAPSE": "raise the critic's penalty, lower the learning rate, or give the categories named more photos",
    "POSTERIOR_COLLAPSE": "lower the weight of the KL term, raise the learning rate, or take fewer latent numbers",
}
"""What to do about each."""

WINDOWS = 20
"""Of a phase: as long as a twentieth of it, in turns, within SHORTEST and LONGEST."""
SHORTEST, LONGEST = 8, 100
REMEMBERED = 60
"""Windows of each phase, and its first."""

LATEST = 5_000
"""Steps after which a model whose samples mean something is looked at, if that is before half of what is left."""

MOST_WEIGHT_GROWTH = 2.5
MOST_GRADIENT_GROWTH = 1_000.0
MOST_LOSS_GROWTH = 1_000.0
MOST_LOST_PROGRESS = 1.0
WIDEST_GAP = 15.0
"""Logits: a critic as certain as this is wrong in one of three million pairs."""
MOST_STARVATION = 10_000.0
MOST_WRONGNESS = 0.9
MOST_NUMBNESS = 1_000.0


@dataclass(eq=False)
class Trouble(Exception):
    """A training must not go on like this."""

    reason: Reason
    detail: str
    phase: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[int] = ()
    """Of the training split: the photos at hand."""
    since: int | None = None
    """The step at which it began to brew: no state of a later one is good. None where it began when it was seen."""


class Watch:
    """What one run is watched for.

    What it remembers is part of the training's state (`state.watched`): a resumed run sees what a straight one does, and one that
    went back has forgotten what it saw since.
    """

    def __init__(self, model: ImageModel, photos: Photos, params: WatchParams, steps: int) -> None:
        self.model, self.photos, self.params, self.steps = model, photos, params, steps
        self.phases = {phase.name: phase for phase in learning_phases(model)}
        mature = round(model.matures * steps)
        self.ripe = mature + min((steps - mature) // 2, LATEST)
        """The step before which nothing that is drawn tells anything."""

    @cached_property
    def looks(self) -> Looks:
        return Looks(self.photos)

    # --- what the loop calls

    def turn(self, state: TrainState, phase: Phase, loss: Loss, norm: Tensor, batch: Batch) -> None:
        """Before a phase's weights move: remember the turn. Raises Trouble where its loss or its gradient is no number."""
        total = require_finite(phase, loss, norm, batch)
        nothing = torch.full_like(total, symptoms.NOTHING)
        signals = [loss.signals.get(name, nothing) for name in SIGNALS]
        values = torch.stack([total, norm, *signals]).double()
        turn = torch.cat((values.new_tensor([state.step]), values))[None]
        if f"{phase.name}.windows" not in state.watched:
            start = close_window(turn.cpu(), _norm(_weights(phase)), moved=True)
            state.watched[f"{phase.name}.windows"] = pack_windows([start])
            state.watched[f"{phase.name}.bits"] = _bits(_weights(phase))
        else:
            before = state.watched.get(f"{phase.name}.turns")
            state.watched[f"{phase.name}.turns"] = turn if before is None else torch.cat((before, turn))

    def step(self, state: TrainState, *, kept: bool) -> None:
        """After every step, before anything of it is `kept`. Raises Trouble where the steps until now show one."""
        closed = [phase for phase in self.phases.values() if self._close(state, phase)]
        if closed or kept:
            require_sound(state)
        for phase in closed:
            self._judge(state, phase)
        if state.step >= self.ripe and state.step % self.params.every == 0:
            self._look(state)

    # --- windows of turns

    def _close(self, state: TrainState, phase: Phase) -> bool:
        """Turn the phase's last turns into a window, where they fill one."""
        turns = state.watched.get(f"{phase.name}.turns")
        if turns is None or len(turns) < self._length(phase):
            return False
        bits, weights = state.watched[f"{phase.name}.bits"].cpu(), _weights(phase)
        now = _bits(weights)
        window = close_window(turns.cpu(), _norm(weights), moved=bool((now != bits).any()))
        first, *others = self._history(state, phase.name)
        state.watched[f"{phase.name}.windows"] = pack_windows([first, *[*others, window][-REMEMBERED:]])
        state.watched[f"{phase.name}.bits"] = now
        del state.watched[f"{phase.name}.turns"]
        return True

    def _length(self, phase: Phase) -> int:
        """Turns of a window."""
        return min(max(SHORTEST, self._turns(phase) // WINDOWS), LONGEST)

    def _turns(self, phase: Phase) -> int:
        start, stop = self._span(phase)
        return math.ceil((stop - start) / phase.every)

    def _span(self, phase: Phase) -> tuple[int, int]:
        return round(phase.start * self.steps), round(phase.stop * self.steps)

    def _history(self, state: TrainState, phase: str) -> list[Window]:
        packed = state.watched.get(f"{phase}.windows")
        return [] if packed is None else unpack_windows(packed)

    def _beside(self, phase: Phase) -> list[Phase]:
        """The phases of other optimisers that take turns in the same steps."""
        start, stop = self._span(phase)
        mine = phase.shares or phase.name
        others = [other for other in self.phases.values() if (other.shares or other.name) != mine]
        return [other for other in others if self._span(other)[0] < stop and start < self._span(other)[1]]

    # --- what they show

    def _judge(self, state: TrainState, phase: Phase) -> None:
        """Raise the first Trouble that the phase's windows show."""
        history = self._history(state, phase.name)
        for reason, symptom, value, most, detail in self._symptoms(state, phase, history):
            if value > most:
                last = history[-1]
                values = {"loss": last.loss, "gradient_norm": last.gradient_norm, "weight_norm": last.weight_norm}
                values |= {name: getattr(last, name) for name in SIGNALS if getattr(last, name) != symptoms.NOTHING}
                since = history[-min(SUSTAINED + 1, len(history))].step
                told = f"{detail} ({value:.3g}; {most:g} at most)"
                raise Trouble(reason, told, phase.name, {symptom: value, **values}, (), since)

    def _symptoms(
        self, state: TrainState, phase: Phase, history: list[Window]
    ) -> Iterator[tuple[Reason, str, float, float, str]]:
        """Each symptom that the phase can have: reason, name, value, the most that is healthy, and what it says."""
        beside, critic = self._beside(phase), history[-1].wins != symptoms.NOTHING
        growth = symptoms.weight_growth(history)
        # A critic that runs away and is right in every pair has left its generator behind; else nobody knows where it is.
        away: Reason = "D_WINS" if critic and history[-1].wins >= symptoms.SURE else "DIVERGED"
        yield away, "weight_growth", growth, MOST_WEIGHT_GROWTH, "the weights run away: times their norm in one window"
        if critic:
            gap = symptoms.winning_gap(history)
            detail = "the critic is right in every pair, by more and more logits"
            yield "D_WINS", "winning_gap", gap, WIDEST_GAP, detail
            for other in beside:
                starved = symptoms.starvation(history, self._history(state, other.name))
                detail = f"the critic is right in every pair, and phase '{other.name}' gets no gradient: times that it was larger"
                yield "D_WINS", "starvation", starved, MOST_STARVATION, detail
            numb = symptoms.numbness(history)
            yield "D_DEAD", "numbness", numb, MOST_NUMBNESS, "the critic learns nothing: times that its gradient was larger"
            wrong = symptoms.wrongness(history)
            yield "D_DEAD", "wrongness", wrong, MOST_WRONGNESS, "the critic is wrong in nearly every pair: share of them"
        # A penalty of second order grows a thousandfold from next to nothing, by its nature: its critic's own turns are judged.
        if not phase.second_order:
            steep = symptoms.gradient_growth(history)
            yield "DIVERGED", "gradient_growth", steep, MOST_GRADIENT_GROWTH, "the gradient runs away: times the largest before"
        if beside and not phase.second_order:
            loss = symptoms.loss_growth(history)
            yield "DIVERGED", "loss_growth", loss, MOST_LOSS_GROWTH, "the loss runs away: times the largest before"
        if not beside:
            lost = symptoms.lost_progress(history)
            yield "DIVERGED", "lost_progress", lost, MOST_LOST_PROGRESS, "what the phase had learnt is lost: share of it"
        if history[-1].active_units != symptoms.NOTHING and 2 * state.step >= sum(self._span(phase)):
            silent, most = 1 - symptoms.active_share(history, self.model.latent_size), 1 - self.params.min_active_units
            yield "POSTERIOR_COLLAPSE", "silent_units", silent, most, "the latents say nothing of a photo: share that is silent"

    def _look(self, state: TrainState) -> None:
        """Look at what is drawn. Raises Trouble where two looks agree that pictures of a category are all alike."""
        before = state.watched.get("suspects")
        suspects = [] if before is None else [int(one) for one in before.tolist()]
        categories = self.looks.choose(state.step // self.params.every, suspects)
        if not categories:
            return
        look = self.looks.look(state.average, categories)
        if not math.isfinite(look.overall):
            since = max(0, state.step - self.params.every)
            raise Trouble("NOT_FINITE", "what the model draws holds what is no number", since=since)
        alike = [category for category, diversity in look.each.items() if diversity < self.params.min_diversity]
        state.watched["suspects"] = torch.tensor(alike, dtype=torch.int64)
        if twice := sorted(set(alike) & set(suspects)):
            names = ", ".join(f"'{self.model.categories[one]}'" for one in twice)
            values = {self.model.categories[one]: diversity for one, diversity in look.each.items()}
            told = f"pictures of {names} are all alike (diversity {min(look.each[one] for one in twice):.3g} of that of photos"
            since = max(0, state.step - 2 * self.params.every)
            raise Trouble("MODE_COLLAPSE", f"{told}, {self.params.min_diversity:g} at least)", "", values, (), since)


def require_finite(phase: Phase, loss: Loss, norm: Tensor, batch: Batch) -> Tensor:
    """The sum of the loss's terms. Raises Trouble, before a weight is touched, where one or the gradient's norm is no number."""
    total = torch.stack([term.detach() for term in loss.terms.values()]).sum()
    if bool(torch.isfinite(total + norm)):
        return total
    values = {name: value.item() for name, value in {**loss.terms, "gradient_norm": norm}.items()}
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    raise Trouble("NOT_FINITE", f"a loss or a gradient is not finite: {told}", phase.name, values, batch.rows.tolist())


def require_sound(state: TrainState) -> None:
    """Raise Trouble where a weight, a buffer, an average or an optimiser's slot is no number."""
    named = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    named |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    for kind, optimizer in state.optimizers.items():
        slots = (slot for each in optimizer.state.values() for slot in each.items())
        named |= {f"optimizer.{kind}.{name}.{number}": slot for number, (name, slot) in enumerate(slots)}
    if all_finite(named.values()):
        return
    broken = [name for name, tensor in named.items() if not all_finite((tensor,))]
    raise Trouble("NOT_FINITE", f"{len(broken)} of the state's tensors hold what is no number: {', '.join(broken[:3])}")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number of every tensor is finite; one answer from the device."""
    numbers = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not numbers:
        return True
    largest = [size.to(numbers[0]) for size in torch._foreach_norm(numbers, math.inf)]
    return bool(torch.isfinite(torch.stack(largest)).all())


def _weights(phase: Phase) -> list[Tensor]:
    return [parameter.detach() for module in phase.modules for parameter in module.parameters()]


def _norm(weights: list[Tensor]) -> float:
    return float(torch.stack(torch._foreach_norm(weights)).double().norm())


def _bits(weights: list[Tensor]) -> Tensor:
    """A sum of the bits of each of `weights`, int64: equal where, beyond all likelihood, nothing has moved."""
    return torch.stack([weight.view(torch.int32).sum(dtype=torch.int64) for weight in weights]).cpu()
