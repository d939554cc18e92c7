"""What watches a training: troubles are seen before they cost a night, and told in one word each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from packshot.models.base import Batch, Loss, Phase

Reason = Literal["NOT_FINITE"]
"""A loss, a gradient or a weight is no number."""


@dataclass(eq=False)
class Trouble(Exception):
    """A training must not go on like this."""

    reason: Reason
    detail: str
    phase: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[int] = ()
    """Of the training split: the photos at hand."""


def require_finite(phase: Phase, loss: Loss, norm: Tensor, batch: Batch) -> None:
    """Raise Trouble, before a weight is touched, where a term of the loss or the gradient's norm is no number."""
    if bool(torch.isfinite(loss.total.detach() + norm)):
        return
    values = {name: value.item() for name, value in {**loss.terms, "gradient_norm": norm}.items()}
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    raise Trouble("NOT_FINITE", f"a loss or a gradient is not finite: {told}", phase.name, values, batch.rows.tolist())
