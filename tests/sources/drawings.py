"""What draws, dies, hangs or takes all memory when a worker calls it; a module of its own, since workers import it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packshot.images.decode import PictureError
from packshot.sources.base import Encoded
from tests.images.files import jpeg, product

HERE = "PACKSHOT_TEST_HERE"


def draw(seed: int) -> NDArray[np.uint8]:
    return product(seed)


def draw_late(seed: int) -> NDArray[np.uint8]:
    time.sleep(0.2)
    return product(seed)


def die(sign: int = signal.SIGKILL) -> NDArray[np.uint8]:
    os.kill(os.getpid(), sign)
    return product()


def die_once(mark: Path) -> NDArray[np.uint8]:
    """Be killed, as by a machine that runs out of memory, the first time only."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return product()


def block() -> NDArray[np.uint8]:
    """Wait for ever, with less patience than there is."""
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    while True:
        time.sleep(0.05)


def compute() -> NDArray[np.uint8]:
    while True:
        pass


def gorge() -> NDArray[np.uint8]:
    return np.ones(1 << 31, dtype=np.uint8)


def fail() -> NDArray[np.uint8]:
    raise ZeroDivisionError("by zero")


@dataclass(frozen=True)
class OnlyHere(Encoded):
    """A file that is read where the environment says so."""

    @property
    def suffix(self) -> str:
        return ".jpg"

    def read(self) -> bytes:
        if HERE not in os.environ:
            raise PictureError("UNREADABLE", "No such file or directory")
        return jpeg()


class Killer(Encoded):
    """Bytes over which a process dies when they are asked what they are, after they were read."""

    @property
    def suffix(self) -> str:
        os.kill(os.getpid(), signal.SIGSEGV)
        return ".jpg"

    def read(self) -> bytes:
        return b"killer"
