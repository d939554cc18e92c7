"""What watches a training: troubles are seen before they cost a night, and told in one word each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from packshot.models.base import Batch, ImageModel, Loss, Phase
from packshot.training.batches import Photos
from packshot.training.params import WatchParams
from packshot.training.state import TrainState

Reason = Literal["NOT_FINITE", "DIVERGED", "D_WINS", "D_DEAD", "MODE_COLLAPSE", "POSTERIOR_COLLAPSE"]
"""NOT_FINITE: a loss, a gradient, a weight, a buffer or an average is no number."""


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
    """What one run is watched for. What it remembers is part of the training's state (`state.watched`), it holds nothing itself."""

    def __init__(self, model: ImageModel, photos: Photos, params: WatchParams, steps: int) -> None:
        self.model, self.photos, self.params, self.steps = model, photos, params, steps

    def turn(self, state: TrainState, phase: Phase, loss: Loss, norm: Tensor, batch: Batch) -> None:
        """Before a phase's weights move. Raises Trouble where its loss or its gradient's norm is no number."""
        require_finite(phase, loss, norm, batch)

    def step(self, state: TrainState) -> None:
        """After every step, before anything is kept. Raises Trouble where the steps until now show one."""

    def require_sound(self, state: TrainState) -> None:
        """Before a state or weights are kept. Raises Trouble where anything in `state` is no number."""
        if all_finite(state.tensors().values()):
            return
        raise Trouble("NOT_FINITE", "a weight is not finite")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number of every tensor is finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def require_finite(phase: Phase, loss: Loss, norm: Tensor, batch: Batch) -> None:
    """Raise Trouble, before a weight is touched, where a term of the loss or the gradient's norm is no number."""
    if bool(torch.isfinite(loss.total.detach() + norm)):
        return
    values = {name: value.item() for name, value in {**loss.terms, "gradient_norm": norm}.items()}
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    raise Trouble("NOT_FINITE", f"a loss or a gradient is not finite: {told}", phase.name, values, batch.rows.tolist())
