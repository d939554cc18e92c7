"""What the training loop asks of whoever keeps its states."""

from __future__ import annotations

from typing import Protocol

from packshot.training.state import TrainState
from packshot.training.watch import Trouble


class Keeper(Protocol):
    """What keeps a training's states and weights, and the evidence where it fails."""

    def restore(self, state: TrainState) -> bool:
        """Bring `state` to where the training was stopped; False where there is nothing to go on from."""

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        """Bring `state` to the `back`-th newest state of step `before` or earlier, or the oldest; False where there is none."""

    def save(self, state: TrainState) -> None:
        """Keep all that a resumed run needs."""

    def pause(self, state: TrainState) -> None:
        """Keep where the training is asked to stop: it goes on from there, but is never brought back there."""

    def keep(self, state: TrainState) -> None:
        """Keep the weights that would be deployed now."""

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        """Keep what shows why the training failed."""


class NoKeeper:
    """A Keeper that keeps nothing: a measurement leaves nothing to go on from."""

    def restore(self, state: TrainState) -> bool:
        return False

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        return False

    def save(self, state: TrainState) -> None:
        pass

    def pause(self, state: TrainState) -> None:
        pass

    def keep(self, state: TrainState) -> None:
        pass

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        pass
