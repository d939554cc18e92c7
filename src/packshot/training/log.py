"""What a training tells the world while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture, uint8 (H, W, 3), RGB."""


class Log(Protocol):
    """Where losses and pictures go: MLflow, a progress line, a list in a test."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Note `values` at `step`. The same (name, step) twice counts once: a resumed run repeats some steps."""

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Note a picture at `step`."""


class Silence:
    """A Log that tells nobody: of the processes that train one model, the first one's is enough."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        pass
