"""What draws, dies or hangs when a worker calls it; a module of its own, since workers import it."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from numpy.typing import NDArray

from tests.images.files import product


def draw(seed: int) -> NDArray[np.uint8]:
    return product(seed)


def draw_late(seed: int) -> NDArray[np.uint8]:
    time.sleep(0.2)
    return product(seed)


def die() -> NDArray[np.uint8]:
    os.kill(os.getpid(), signal.SIGKILL)
    return product()


def hang() -> NDArray[np.uint8]:
    signal.alarm(1)
    while True:
        time.sleep(0.05)
