"""Everything that changes while a model trains, and how it becomes tensors and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from packshot.errors import IntegrityError
from packshot.models.base import ImageModel, Optimizer, Phase
from packshot.models.tensors import count_bytes
from packshot.records import Digest, Record

RAMP = 0.05
LOSSES_TOLD = 8
"""By a phase, at most: its terms, its signals and its gradient's norm."""


class Row(Record):
    """The means of the losses since the row before, at a step."""

    step: int
    values: dict[str, float]


class Kept(Record):
    """Weights that were kept."""

    step: int
    sha256: Digest
    training: Digest | None = None
    """Of what only training needs."""


class Scoring(Record):
    """What the model was worth after a step, on photos from which it does not learn."""

    step: int
    value: float
    error: float
    """Its standard error."""


class Setback(Record):
    """A training in trouble went back to a good state, and goes on more slowly."""

    step: int
    """Where the trouble was seen."""
    reason: str
    back_to: int


class Facts(Record):
    """What of the state is no tensor."""

    step: int
    counts: dict[str, int]
    history: tuple[Row, ...]
    kept: tuple[Kept, ...]
    setbacks: tuple[Setback, ...] = ()
    scorings: tuple[Scoring, ...] = ()


@dataclass(slots=True, eq=False)
class TrainState:
    """Where a training stands. `tensors` and `facts` are all that resuming needs."""

    model: ImageModel
    average: ImageModel
    optimizers: dict[str, torch.optim.Optimizer]
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Of each loss since the last row, float64 scalars."""
    counts: dict[str, int] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    setbacks: list[Setback] = field(default_factory=list)
    scorings: list[Scoring] = field(default_factory=list)
    watched: dict[str, Tensor] = field(default_factory=dict)
    """What the watch remembers."""

    @classmethod
    def begin(cls, model: ImageModel) -> TrainState:
        average = copy.deepcopy(model).eval()
        average.requires_grad_(requires_grad=False)
        optimizers: dict[str, torch.optim.Optimizer] = {}
        for phase in learning_phases(model):
            optimizers.setdefault(phase.shares or phase.name, _optimizer(phase))
        model.requires_grad_(requires_grad=False)
        return cls(model, average, optimizers)

    # --- the moving average (Karras et al. 2018, with the ramp-up of Karras et al. 2020a)

    @torch.no_grad()
    def follow(self, phase: Phase, images_seen: int, batch_size: int) -> None:
        """Let the average of the phase's parts move by one batch, after `images_seen` images of that phase before it."""
        half_life = min(phase.half_life, RAMP * images_seen)
        keep = 0.5 ** (batch_size / half_life) if half_life else 0.0
        for mean, now in self._pairs(phase):
            moving: list[Tensor] = [*now.parameters()]
            if moving:  # what is frozen is among the buffers
                torch._foreach_lerp_(list(mean.parameters()), moving, 1 - keep)
            for held, fresh in zip(mean.buffers(), now.buffers(), strict=True):
                held.copy_(fresh)

    @torch.no_grad()
    def adopt(self, phase: Phase) -> None:
        """Give the phase's parts their average: what follows builds on what is deployed."""
        for mean, now in self._pairs(phase):
            for target, source in zip(now.parameters(), mean.parameters(), strict=True):
                target.copy_(source)

    def _pairs(self, phase: Phase) -> list[tuple[nn.Module, nn.Module]]:
        names = {id(module): name for name, module in self.model.named_modules()}
        return [(self.average.get_submodule(names[id(module)]), module) for module in phase.averaged]

    # --- the losses since the last report

    def note(self, name: str, value: Tensor) -> None:
        value = value.detach().double()
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + 1

    def report(self) -> Row:
        """Close a row: the means since the one before, and how many setbacks there were where there were any."""
        values = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        row = Row(step=self.step, values={**values, **({"setbacks": float(len(self.setbacks))} if self.setbacks else {})})
        self.history.append(row)
        self.sums, self.counts = {}, {}
        return row

    def retold(self, step: int) -> str:
        """What goes before the name of what is told of `step`: nothing the first time, 'setback-<n>/' where it was told before.

        A training that went back after a setback tells some steps again, with other values: neither is lost, and no curve has
        two values at one step. Only what was told counts, so a resumed training says the same.
        """
        spans = zip((-1, *(setback.back_to for setback in self.setbacks)), self.setbacks, strict=False)
        attempt = max((n for n, setback in enumerate(self.setbacks, 1) if setback.back_to < step), default=0)
        before = [begin < step <= end.step for begin, end in spans]
        return f"setback-{attempt}/" if any(before[:attempt]) else ""

    def told(self, row: Row) -> dict[str, float]:
        """A row as it is told to the world: see `retold`."""
        return {self.retold(row.step) + name: value for name, value in row.values.items()}

    # --- as tensors, and back

    def tensors(self) -> dict[str, Tensor]:
        """A copy of every tensor by name, on the CPU."""
        return {name: tensor.to("cpu").contiguous().clone() for name, tensor in self.live_tensors().items()}

    def live_tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, where it is: the next step changes it. The average of what is deployed, everything else whole."""
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        named |= {f"average.{name}": tensor for name, tensor in self._deployed_average().items()}
        named |= {f"sums.{name}": tensor for name, tensor in self.sums.items()}
        named |= {f"watched.{name}": tensor for name, tensor in self.watched.items()}
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                named |= {f"optimizer.{name}.{index}.{slot}": value for slot, value in slots.items()}
        return {name: tensor.detach() for name, tensor in named.items()}

    def facts(self) -> Facts:
        return Facts(
            step=self.step,
            counts=self.counts,
            history=tuple(self.history),
            kept=tuple(self.kept),
            setbacks=tuple(self.setbacks),
            scorings=tuple(self.scorings),
        )

    def restore(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Take over what `tensors` and `facts` said. Raises IntegrityError where they are another model's."""
        device = next(self.model.parameters()).device
        try:
            self.model.load_state_dict(_below("model", tensors))
            average = _below("average", tensors)
            if average.keys() != self._deployed_average().keys():
                raise IntegrityError("the state is of another model")
            self.average.load_state_dict(average, strict=False)
            for name, optimizer in self.optimizers.items():
                slots: dict[int, dict[str, Tensor]] = {}
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                for key, value in _below(f"optimizer.{name}", tensors).items():
                    index, slot = key.split(".")
                    # A fused optimiser walks memory: a parameter's slots must lie there as it does.
                    laid = torch.empty_like(parameters[int(index)]).copy_(value) if value.ndim else value.clone()
                    slots.setdefault(int(index), {})[slot] = laid
                optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        except (RuntimeError, KeyError, ValueError) as error:
            raise IntegrityError(f"the state is of another model: {error}") from error
        sums = _below("sums", tensors)
        self.sums = {name: sums[name].to(device, copy=True) for name in facts.counts}  # in the order in which rows tell them
        self.watched = {name: value.to(device, copy=True) for name, value in _below("watched", tensors).items()}
        self.step, self.counts, self.history = facts.step, dict(facts.counts), list(facts.history)
        self.kept, self.setbacks, self.scorings = list(facts.kept), list(facts.setbacks), list(facts.scorings)

    def _deployed_average(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.average.state_dict().items() if name.split(".")[0] in self.average.deployed}


def learning_phases(model: ImageModel) -> tuple[Phase, ...]:
    """The phases of a model that have something to learn: not all of their parts' parameters are frozen."""
    return tuple(phase for phase in model.phases() if any(True for module in phase.modules for _ in module.parameters()))


def learning_rate(settings: Optimizer, turn: int, turns: int) -> float:
    """The rate at the `turn`-th of `turns` steps of a phase."""
    warmup = min(settings.warmup_steps, turns // 10)
    if turn < warmup:
        return settings.learning_rate * (turn + 1) / warmup
    way = (turn - warmup) / max(1, turns - warmup)
    return settings.learning_rate * (settings.final_share + (1 - settings.final_share) * (1 + math.cos(math.pi * way)) / 2)


def state_size(model: ImageModel, rows: int) -> int:
    """About how many bytes the state of a training takes as a file, once it has told `rows` rows; rather more than fewer."""
    whole, phases = model.state_dict(), learning_phases(model)
    parts: dict[str, list[nn.Module]] = {}
    for phase in phases:
        parts.setdefault(phase.shares or phase.name, [*phase.modules])
    moved = [parameter for modules in parts.values() for module in modules for parameter in module.parameters()]
    sizes = [count_bytes(tensor) for tensor in whole.values()]
    sizes += [count_bytes(tensor) for name, tensor in whole.items() if name.split(".")[0] in model.deployed]
    sizes += [2 * count_bytes(parameter) + 4 for parameter in moved]
    words = 256 * (len(whole) * 2 + 3 * len(moved)) + rows * len(phases) * LOSSES_TOLD * 48
    return sum(sizes) + words + 65_536


def _optimizer(phase: Phase) -> torch.optim.Optimizer:
    settings = phase.optimizer
    parameters = [parameter for module in phase.modules for parameter in module.parameters()]
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
