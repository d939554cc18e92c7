"""What a phase's past says about its health: one number a symptom, measured against that past alone.

Nothing here has a unit: a norm is compared with what it was, a loss with what the phase had gained. Two exceptions are units that
the losses themselves bring along: a critic's scores are logits, and its `wins` a share of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

SUSTAINED = 2
"""Windows that must agree before a loss or a gradient is believed."""
SETTLED = 6
"""Windows that a phase has behind it before what it was is a measure: a penalty's gradient grows a thousandfold at first."""
CERTAIN = 3
"""Windows that must agree before a critic is."""
SURE = 0.99
"""The share of pairs, in the median turn of a window, from which on a critic counts as right in every one."""
NOTHING = math.inf
"""What stands for a signal that a phase does not give: unlike NaN it equals itself, so that two states can be compared."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some of a phase's turns: medians over them, and how its weights stood at their end."""

    step: int
    """Of the first of these turns."""
    loss: float
    noise: float
    """The median distance of a turn's loss from theirs."""
    gradient_norm: float
    real: float
    drawn: float
    wins: float
    active_units: float
    weight_norm: float
    moved: float
    """1 where any bit of the weights changed since the window before, else 0."""

    @property
    def gap(self) -> float:
        """By how much the critic's mean score of real photos lies above that of drawn ones."""
        return self.real - self.drawn


History = Sequence[Window]
"""A phase's windows, oldest first; the first holds its first turn alone, and the weights as they were before it."""

SIGNALS = ("real", "drawn", "wins", "active_units")


def close_window(turns: Tensor, weight_norm: float, *, moved: bool) -> Window:
    """The window of `turns`, float64 (T, 3 + SIGNALS): step, loss, gradient norm and the signals of each."""
    middle = turns.median(dim=0).values
    loss, gradient_norm, real, drawn, wins, active_units = middle[1:].tolist()
    noise = float((turns[:, 1] - middle[1]).abs().median())
    first = int(turns[0, 0])
    return Window(first, loss, noise, gradient_norm, real, drawn, wins, active_units, weight_norm, float(moved))


def pack_windows(windows: History) -> Tensor:
    """Windows as float64 (N, fields)."""
    return torch.tensor([astuple(window) for window in windows], dtype=torch.float64)


def unpack_windows(packed: Tensor) -> list[Window]:
    return [Window(int(step), *rest) for step, *rest in packed.tolist()]


def _reference(history: History) -> History:
    """The older half of what was before the last windows: a slow blow-up does not carry its own measure along."""
    before = history[:-SUSTAINED]
    return before[: max(1, (len(before) + 1) // 2)]


def weight_growth(history: History) -> float:
    """Times which the norm of the phase's weights grew within the last window."""
    if len(history) < 2 or not history[-2].weight_norm:
        return 1.0
    return history[-1].weight_norm / history[-2].weight_norm


def gradient_growth(history: History) -> float:
    """Times the largest gradient norm of the reference that the last windows' are."""
    if len(history) < SETTLED + SUSTAINED:
        return 1.0
    return _ratio(min(window.gradient_norm for window in history[-SUSTAINED:]), _largest_gradient(_reference(history)))


def loss_growth(history: History) -> float:
    """Times the largest loss of the reference, in size, that the last windows' are."""
    if len(history) < SETTLED + SUSTAINED:
        return 1.0
    now = min(abs(window.loss) for window in history[-SUSTAINED:])
    return _ratio(now, max(abs(window.loss) for window in _reference(history)))


def lost_progress(history: History) -> float:
    """The share of all that a phase had gained over its first turn that the last windows have lost; 0 before it gained much."""
    if len(history) < 2 + SUSTAINED:
        return 0.0
    best = min(history[1:], key=lambda window: window.loss)
    gained = history[0].loss - best.loss
    if gained <= 5 * max(window.noise for window in history[1:]):
        return 0.0
    return (min(window.loss for window in history[-SUSTAINED:]) - best.loss) / gained


def winning_gap(critic: History) -> float:
    """How far apart, in logits, a critic that is right in every pair holds its scores, where it does so more and more; else 0."""
    last = critic[-CERTAIN:]
    if len(critic) <= CERTAIN or min(window.wins for window in last) < SURE:
        return 0.0
    return min(window.gap for window in last) if last[-1].gap >= 0.8 * last[0].gap else 0.0


def starvation(critic: History, generator: History) -> float:
    """Times which the generator's gradient was larger before, while the critic is right in every pair; else 0."""
    last = critic[-CERTAIN:]
    if min(len(critic), len(generator)) <= CERTAIN or min(window.wins for window in last) < SURE:
        return 0.0
    return _ratio(_largest_gradient(_reference(generator)), _largest_gradient(generator[-CERTAIN:]))


def wrongness(critic: History) -> float:
    """The share of pairs in which the critic is wrong, in the best of the last windows."""
    return 1 - max(window.wins for window in critic[-CERTAIN:]) if len(critic) > CERTAIN else 0.0


def numbness(critic: History) -> float:
    """Times which the critic's gradient was larger before; infinite where its weights do not move, or it scores all alike.

    A critic that is right in every pair has little left to learn: of that alone it is not numb.
    """
    last = critic[-SUSTAINED:]
    if len(critic) <= SUSTAINED:
        return 1.0
    if not any(window.moved for window in last) or all(window.real == window.drawn for window in last):
        return math.inf
    if min(window.wins for window in last) >= SURE:
        return 1.0
    return _ratio(_largest_gradient(_reference(critic)), _largest_gradient(last))


def active_share(history: History, latent_size: int) -> float:
    """The share of the latent numbers that say something of a photo, in the best of the last windows."""
    return max(window.active_units for window in history[-SUSTAINED:]) / latent_size


def _largest_gradient(history: History) -> float:
    return max(window.gradient_norm for window in history)


def _ratio(now: float, before: float) -> float:
    if before:
        return now / before
    return math.inf if now else 1.0
