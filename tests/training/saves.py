"""A process that writes one state and one file of weights, while a test makes the disk fail or pulls the plug."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from packshot.errors import OutOfResources
from packshot.training import identity
from packshot.training.loop import build
from packshot.training.state import TrainState
from tests.models.families import CATEGORIES, IMAGE
from tests.training.kills import CODE
from tests.training.runs import CPU, SEED, desk, params

ANY_TRACER, SET_TRACER = ctypes.c_ulong(-1), 0x59616D61
NEW_STEP = 7


def fresh() -> TrainState:
    """The state of a training that begins: the same in every process."""
    return TrainState.begin(build(params("vae-gaussians").runs[0], IMAGE, CATEGORIES, (), seed=SEED, device=CPU))


def write_old(folder: Path) -> None:
    """A state and kept weights of step 3."""
    keeper, state = desk(folder, params("vae-gaussians")), fresh()
    state.step = 3
    keeper.keep(state)
    keeper.save(state)


def write_new(folder: Path) -> None:
    """Go on from there, and write what is due at step 7. Raises OutOfResources where the disk refuses."""
    keeper, state = desk(folder, params("vae-gaussians")), fresh()
    assert keeper.restore(state)
    state.step = NEW_STEP
    keeper.keep(state)
    keeper.save(state)


def write_in_a_child(folder: str, ready: Connection, limit: int | None, code: str) -> None:
    """Say that it is there, wait until it is told to go on, and write; 22 where the disk refuses."""
    identity._code_digest = lambda: code  # type: ignore[assignment]
    ctypes.CDLL(None).prctl(SET_TRACER, ANY_TRACER, 0, 0, 0)
    keeper, state = desk(Path(folder), params("vae-gaussians")), fresh()
    assert keeper.restore(state)
    ready.send_bytes(b"there")
    ready.recv_bytes()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    state.step = NEW_STEP
    try:
        keeper.keep(state)
        keeper.save(state)
    except OutOfResources as error:
        os._exit(error.exit_code)
    os._exit(0)


def write_while(
    context: multiprocessing.context.ForkServerContext,
    folder: Path,
    around: Callable[[int, Callable[[], None]], None],
    limit: int | None = None,
) -> int:
    """The exit status of such a process; `around` gets its number and what lets it go on."""
    mine, theirs = context.Pipe()
    child = context.Process(target=write_in_a_child, args=(str(folder), theirs, limit, CODE))
    child.start()
    theirs.close()
    assert mine.recv_bytes() == b"there"
    assert child.pid
    around(child.pid, lambda: mine.send_bytes(b"go"))
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode
