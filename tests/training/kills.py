"""Small trainings that are killed: what is trained, where it dies, and by which bytes two of them are told apart."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from packshot.errors import Stopped
from packshot.records import file_digest
from packshot.training import identity
from packshot.training.interruption import heed_signals
from packshot.training.params import TrainParams
from packshot.training.state import TrainState
from packshot.training.watch import Trouble, Watch
from tests.models.families import CONDITIONS
from tests.training.runs import Heard, desk, params, run_through

STEPS, SAVE_EVERY, TROUBLE_AT = 24, 5, 13
Kind = Literal["plain", "attributes", "accumulate", "bfloat16", "setback"]
KINDS: tuple[Kind, ...] = ("plain", "attributes", "accumulate", "bfloat16", "setback")

PLACES = (
    "train.step",
    "train.saved",
    "train.kept",
    "records.written",
    "records.drafted",
    "records.renamed",
)
"""Of every training: between steps, and at every moment of writing a state or weights down."""
PLACES_OF_A_SETBACK = ("train.buried", "train.rewound")


@dataclass(frozen=True, slots=True)
class Trial:
    """One family, trained in one way."""

    family: str
    kind: Kind = "plain"

    @property
    def settings(self) -> TrainParams:
        changes: dict[str, object] = {"accumulate": {"accumulate": 2}, "bfloat16": {"precision": "bfloat16"}}.get(self.kind, {})
        return params(self.family, STEPS, save_every=SAVE_EVERY, report_every=3, picture_every=10, checkpoints=3, **changes)

    @property
    def places(self) -> tuple[str, ...]:
        return PLACES + (PLACES_OF_A_SETBACK if self.kind == "setback" else ())

    def run(self, folder: Path, heard: Heard | None = None) -> TrainState:
        """Train from where `folder` has it to the end; Stopped where a signal came."""
        if self.kind == "setback":
            Watch.step = _be_troubled  # type: ignore[method-assign]
        with heed_signals() as interruption:
            conditions = CONDITIONS if self.kind == "attributes" else ()
            return run_through(folder, self.settings, heard, conditions=conditions, interruption=interruption)


CODE = desk(Path(), params("gan")).identity.code
"""All processes of one campaign are of the same code, whatever is edited meanwhile."""

_watch = Watch.step


def _be_troubled(self: Watch, state: TrainState, *, kept: bool) -> None:
    """Once, whatever the training is like."""
    _watch(self, state, kept=kept)
    if state.step == TROUBLE_AT and not state.setbacks:
        raise Trouble("DIVERGED", "as the test wants it")


def _child(folder: str, trial: Trial, failpoint: str, code: str) -> None:
    os.environ["PACKSHOT_FAILPOINT"] = failpoint
    identity._code_digest = lambda: code  # type: ignore[assignment]
    try:
        trial.run(Path(folder))
    except Stopped as stopped:
        os._exit(stopped.exit_code)


def run_child(context: multiprocessing.context.ForkServerContext, folder: Path, trial: Trial, failpoint: str = "") -> int:
    """The exit status of a process that trains to its end, or to where `failpoint` ends it: -9 where it was killed."""
    child = context.Process(target=_child, args=(str(folder), trial, failpoint, CODE))
    child.start()
    child.join(120)
    assert child.exitcode is not None, "it hangs"
    return child.exitcode


def cpu_seconds() -> float:
    """Of this process and of all that it started, also through the fork server."""

    mine = psutil.Process()
    times = [process.cpu_times() for process in (mine, *mine.children(recursive=True))]
    return sum(time.user + time.system + time.children_user + time.children_system for time in times)


def killed(code: int) -> bool:
    return code == -signal.SIGKILL


def digest(folder: Path) -> str:
    """Of every byte that a training leaves for others: its states (their numbers and steps too), its weights, its evidence."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    told = [f"{path.relative_to(folder)} {file_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
