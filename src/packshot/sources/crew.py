"""Processes that may die without harm: each works through one chunk after another, within bounds of memory and of time.

Reason codes: CRASHED (the process died over it) · TIMEOUT (it needed more time than there is) · BUDGET (more memory).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int64
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Generic, TypeVar, cast

from packshot.errors import PackshotError
from packshot.sources.worker import COMPUTING_SECONDS, MEMORY_BYTES, NOWHERE, OUT_OF_MEMORY, WAITING_SECONDS, serve

_STARTS = 3
_PAUSES = (0.0, 0.25, 1.0)
"""Seconds before each trial of an item alone. Only what is killed is tried more than once: nothing kills itself like that, but a
system that runs out of memory does, and not for long."""
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Of the server: libraries make no threads in it, and in what is forked from it."""

_starting = threading.Lock()

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended: over which item of its chunk (-1: none), and with which exit code (negative: a signal)."""

    place: int
    code: int | None

    @property
    def reason(self) -> str:
        if self.code in {-signal.SIGPROF, -signal.SIGALRM}:
            return "TIMEOUT"
        return "BUDGET" if self.code == OUT_OF_MEMORY else "CRASHED"

    @property
    def detail(self) -> str:
        if self.code == -signal.SIGPROF:
            return f"not done after {COMPUTING_SECONDS} s of computing"
        if self.code == -signal.SIGALRM:
            return f"not done after {WAITING_SECONDS} s"
        if self.code == OUT_OF_MEMORY:
            return f"it needs more than {MEMORY_BYTES // 1024**2:,} MB of memory"
        if self.code is not None and self.code < 0:
            names = (known.name for known in signal.Signals if known == -(self.code or 0))
            return f"the process that decoded it died of {next(names, f'signal {-self.code}')}"
        return f"the process that decoded it ended with status {self.code}"

    @property
    def is_certain(self) -> bool:
        """Whether the next process would end over the same item in the same way: computing time is the same on a busy machine."""
        return self.code == -signal.SIGPROF


class Crew(Generic[Item, Outcome]):
    """As many processes as there are threads that call `take`, each forked from a clean server and replaced when it dies.

    `work` runs in the processes, on one thread. `refuse` says, here, what an item becomes over which one died.
    """

    def __init__(
        self, work: Callable[[Item], Outcome], refuse: Callable[[Item, Death], Outcome], *, preload: Sequence[str]
    ) -> None:
        self._work, self._refuse, self._preload = work, refuse, list(preload)
        self._lock = threading.Lock()
        self._idle: list[_Worker[Item, Outcome]] = []
        self._busy: set[_Worker[Item, Outcome]] = set()
        self._closed = False

    def take(self, items: Sequence[Item]) -> list[Outcome]:
        """What each item becomes, in order; an item is refused when a process of its own, too, dies over it.

        Raises PackshotError where no process can even begin, or the crew was closed meanwhile.
        """
        if not items:
            return []
        found = self._run(items)
        if not isinstance(found, Death):
            return found
        at = found.place
        return [*self.take(items[:at]), self._suspect(items[at], found), *self.take(items[at + 1 :])]

    def close(self) -> None:
        """End every process at once, whatever it is at."""
        with self._lock:
            self._closed = True
            workers = [*self._idle, *self._busy]
            self._idle.clear()
        for worker in workers:
            worker.kill()

    def _suspect(self, item: Item, death: Death) -> Outcome:
        """Try an item again in a fresh process of its own: the one that died may have been killed for another's sake."""
        for pause in () if death.is_certain else _PAUSES:
            time.sleep(pause)
            found = self._run([item])
            if not isinstance(found, Death):
                log.info("a process died and was replaced, no photo was lost: %s", death.detail)
                return found[0]
            death = found
            if death.code != -signal.SIGKILL:
                break
        return self._refuse(item, death)

    def _run(self, items: Sequence[Item]) -> list[Outcome] | Death:
        for _ in range(_STARTS):
            worker = self._hire()
            found = worker.take(items)
            with self._lock:
                self._busy.discard(worker)
                if self._closed:
                    worker.kill()
                    raise PackshotError("the crew was sent home while it worked")
                if not isinstance(found, Death):
                    self._idle.append(worker)
            if not isinstance(found, Death) or found.place != NOWHERE:
                return found
        raise PackshotError("worker processes do not start", advice="start packshot from a file or its command")

    def _hire(self) -> _Worker[Item, Outcome]:
        """An idle process, or a new one. A process that waited too long has ended itself."""
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
                if worker is not None:
                    self._busy.add(worker)
            if worker is None:
                worker = _Worker(self._work, self._preload)
                with self._lock:
                    self._busy.add(worker)
                    if self._closed:
                        worker.kill()
                return worker
            if worker.is_alive():
                return worker
            worker.end()
            with self._lock:
                self._busy.discard(worker)


class _Worker(Generic[Item, Outcome]):
    """One process, and the socket to it."""

    def __init__(self, work: Callable[[Item], Outcome], preload: list[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        self._place = context.RawValue(c_int64, NOWHERE)
        with _starting, _no_daemon():
            _run_server(preload)
            self._socket, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(work, theirs, self._place), daemon=True)
            self._process.start()
            theirs.close()

    def take(self, items: Sequence[Item]) -> list[Outcome] | Death:
        """What the items become, or how the process died over them."""
        try:
            self._socket.send(items)
            return cast(list[Outcome], self._socket.recv())
        except (EOFError, OSError):
            return self.end()

    def is_alive(self) -> bool:
        with _starting:
            return self._process.is_alive()

    def kill(self) -> None:
        with _starting:
            self._process.kill()

    def end(self) -> Death:
        """Wait for a process that has hung up."""
        with _starting:
            self._process.join(10)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            code = self._process.exitcode
        self._socket.close()
        return Death(self._place.value, code)


def _run_server(preload: list[str]) -> None:
    """Start the server of clean forks, where it does not run; it imports what the work needs."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        forkserver.set_forkserver_preload(preload)
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_daemon() -> Iterator[None]:
    """Let a daemonic process (a Dask worker) have children: multiprocessing forbids it since most outlive it, and ours do not."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    daemonic = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemonic is not None:
            config["daemon"] = daemonic
