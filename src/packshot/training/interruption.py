"""How a training ends before its time: asked to by a signal, or because it hangs.

SIGTERM or SIGINT: the state is kept at the end of the step, and the process ends within five seconds; a second one ends it now.
A step that hangs: every thread's stack is written down, and the process ends so that it can be run again. Neither needs the
training's own thread: signals reach another one too, which ends the process where the training cannot.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packshot.errors import PackshotError, Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 4.5
"""From the first signal to the end, whatever the training is at; but a file that is being written is written to its end."""
ECHO_SECONDS = 0.2
"""A signal that comes so soon after the first is the same: a terminal and a launcher may both hand it on."""
LOOKS = 20
"""At a step that hangs, before it is given up: while the whole process stands still, as a suspended one does, nobody looks."""
_WRITING = threading.RLock()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, nothing but a second signal ends the process."""
    with _WRITING:
        yield


@dataclass(slots=True, eq=False)
class Interruption:
    """What the training and the thread that watches over it know of each other."""

    signal: int = 0
    """The first one that came; 0 while none has."""
    told: str = "stopped; run it again to go on"
    beats: int = 0
    """Steps that this process has taken."""
    limit: float = float("inf")
    """Seconds that one may take."""
    evidence: Path = Path()
    """Where it is told of one that takes longer."""

    @contextmanager
    def watching(self, folder: Path, minutes: float) -> Iterator[None]:
        """Within it, a step that takes longer than `minutes` ends the process with 70; 0 allows any time.

        Every thread's stack is then in `folder`/stalled.txt.
        """
        self.evidence, self.limit = folder, minutes * 60 or float("inf")
        try:
            yield
        finally:
            self.limit = float("inf")

    def stop(self, step: int) -> Stopped:
        """What to raise once the state of `step` is kept."""
        self.told = f"stopped at step {step}; run it again to go on"
        return Stopped(self.told, self.signal or signal.SIGTERM)

    def check(self) -> None:
        """Between two trainings: raise Stopped where a signal came."""
        if self.signal:
            raise Stopped(self.told, self.signal)


@contextmanager
def heed_signals() -> Iterator[Interruption]:
    """Within it, SIGTERM and SIGINT ask for an end and what hangs is ended; afterwards everything is as it was before.

    Outside of the main thread signals go where they went.
    """
    interruption, before, waker = Interruption(), {}, -1
    mouth, ears = socket.socketpair()
    mouth.settimeout(0)  # as signal.set_wakeup_fd asks for
    main = threading.current_thread() is threading.main_thread()
    if main:
        waker = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            # What is ignored, as by nohup, or was set outside of Python, stays as it is.
            if signal.getsignal(number) not in {signal.SIG_IGN, None}:
                before[number] = signal.signal(number, lambda *_: None)
    watcher = threading.Thread(target=_watch, args=(interruption, ears), name="packshot-interruption", daemon=True)
    watcher.start()
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if main:
            signal.set_wakeup_fd(waker)
        mouth.close()
        watcher.join()
        ears.close()


def _watch(interruption: Interruption, ears: socket.socket) -> None:
    """What the thread does, until nobody can speak to it any more."""
    first, deadline = float("inf"), float("inf")
    beats, looks, looked = -1, 0, time.monotonic()
    while True:
        tick = interruption.limit / LOOKS
        ready, _, _ = select.select([ears], [], [], max(0.0, min(tick, deadline - time.monotonic(), 1.0)))
        heard, now = ears.recv(256) if ready else None, time.monotonic()
        if heard == b"":
            return
        for number in heard or b"":
            if number in SIGNALS and not interruption.signal:
                interruption.signal, first, deadline = number, now, now + GRACE_SECONDS
            elif number in SIGNALS and now - first > ECHO_SECONDS:
                _end(128 + interruption.signal, "stopped at once; run it again to go on")
        if now >= deadline:
            with _WRITING:
                _end(128 + interruption.signal, interruption.told)
        if interruption.beats != beats:
            beats, looks, looked = interruption.beats, 0, now
        elif now - looked >= tick:
            looks, looked = looks + 1, now
            if looks > LOOKS:
                _give_up(interruption)


def _give_up(interruption: Interruption) -> None:
    path = interruption.evidence / "stalled.txt"
    with path.open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    error = PackshotError(
        f"no step for {interruption.limit / 60:g} minutes",
        where=str(path),
        advice="every thread's stack is there; run it again to go on, and raise train.stall_minutes where a step takes that long",
    )
    _end(error.exit_code, error.line.removeprefix("packshot: "))


def _end(code: int, told: str) -> None:
    """End the process now: nothing is tidied, and nothing needs to be."""
    os.write(2, f"packshot: {told}\n".encode())
    os._exit(code)
