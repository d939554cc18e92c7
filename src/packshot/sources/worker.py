"""What runs in a process that may die without harm: chunks of items, one after another, within bounds that the kernel keeps."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from ctypes import c_int64
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

COMPUTING_SECONDS = 4
"""CPU time for one item: what a hostile file may cost at most, however busy the machine is."""
WAITING_SECONDS = 60
"""Wall time for one item: against what blocks and computes nothing."""
MEMORY_BYTES = 1536 * 1024 * 1024
"""Address space that a process may have beyond what it had at its start."""
IDLE_SECONDS = 60
"""A process that nobody has asked for anything for so long ends itself."""

NOWHERE = -1
"""The place of a process that is at no item."""
OUT_OF_MEMORY = 75
"""The exit code of a process that could not have as much as it needed."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def serve(work: Callable[[Item], Outcome], socket: Connection, place: c_int64) -> None:
    """Answer each chunk of items with what they became, until nobody asks any more; `place` always says which one is at work."""
    _begin()
    try:
        while socket.poll(IDLE_SECONDS):
            outcomes: list[Outcome] = []
            for at, item in enumerate(socket.recv()):
                place.value = at
                _allow(COMPUTING_SECONDS, WAITING_SECONDS)
                outcomes.append(work(item))
            _allow(0, 0)
            place.value = NOWHERE
            socket.send(outcomes)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except (EOFError, ConnectionError):
        os._exit(0)


def _allow(computing: int, waiting: int) -> None:
    """Seconds until the kernel ends this process, from now; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, computing)
    signal.setitimer(signal.ITIMER_REAL, waiting)


def _begin() -> None:
    """One thread, bounds, no core dumps; Ctrl-C is the parent's to answer, and no process outlives a parent that was killed."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGPROF, signal.SIGALRM, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if (statm := Path("/proc/self/statm")).is_file():
        size = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
