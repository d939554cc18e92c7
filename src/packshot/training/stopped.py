"""The trainings that are not finished, side by side under var/train/: one folder for each identity, and a bounded number of them.

A training whose settings, data, code or machine change begins beside the old one, which is kept: with the old settings it goes on
where it stood. Nothing here asks a clock: trainings are ordered by a number that rises whenever one begins or goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from packshot.errors import IntegrityError, Locked, MissingArtifact
from packshot.records import Record, sync_folder
from packshot.training.identity import Identity, differences

KEPT_TRAININGS = 2
"""Stopped ones of each run that is in params.yaml, and of all others together."""
NOTE = "training.json"
PATIENCE = timedelta(days=1)
"""How long an experiment waits for another one that trains the very same: as long as a long run takes."""
SECONDS_BETWEEN_LOOKS = 0.5
logger = logging.getLogger(__name__)


class Standing(Record):
    """What a training's folder says of itself: readable also where another version of packshot wrote it."""

    run: str
    number: int
    """Rises whenever a training begins or goes on."""
    told: dict[str, str]
    """Its identity, part by part."""


@dataclass(frozen=True, slots=True)
class Trainings:
    """All trainings under one folder."""

    root: Path

    def folder(self, identity: Identity) -> Path:
        """Where the training of this identity stands, or would."""
        return self.root / f"{identity.recipe.run.name}-{identity.content_digest()[:12]}"

    def begin(self, identity: Identity) -> None:
        """Note that this training begins or goes on: it is the newest now."""
        folder = self.folder(identity)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.root)
        with _turn(self.root):
            number = 1 + max((standing.number for _, standing in self._standing()), default=0)
            Standing(run=identity.recipe.run.name, number=number, told=identity.told()).write(folder / NOTE)

    def compare(self, identity: Identity) -> tuple[str, ...]:
        """How this training differs from the newest other one of its run that has a state; nothing where there is none."""
        mine, run = self.folder(identity), identity.recipe.run.name
        others = [standing for folder, standing in self._standing() if folder != mine and standing.run == run and _states(folder)]
        if not others:
            return ()
        return differences(max(others, key=lambda standing: standing.number).told, identity.told())

    def begun(self, identity: Identity, apart: Collection[str]) -> Path | None:
        """The folder of the newest training with a state that differs from this one in nothing but the parts named `apart`."""
        wanted = _without(identity.told(), apart)
        alike = [
            (standing.number, folder)
            for folder, standing in self._standing()
            if _without(standing.told, apart) == wanted and _states(folder)
        ]
        return max(alike)[1] if alike else None

    def drop_old(self, runs: Collection[str]) -> None:
        """Keep the newest two stopped trainings of each of `runs`, and two of all others; those that are under way stay."""
        kept: Counter[str] = Counter()
        with _turn(self.root):
            for folder, standing in sorted(self._standing(), key=lambda found: found[1].number, reverse=True):
                try:
                    with sole_owner(folder):
                        group = standing.run if standing.run in runs else ""
                        kept[group] += bool(_states(folder))
                        if kept[group] > KEPT_TRAININGS or not _states(folder):
                            shutil.rmtree(folder, ignore_errors=True)
                except Locked:
                    continue

    def _standing(self) -> list[tuple[Path, Standing]]:
        """Every training's folder and what it says; where it says nothing that can be read, it is the oldest, and of no run."""
        found = []
        for folder in self.root.glob("*/"):
            try:
                standing = Standing.read(folder / NOTE)
            except (MissingArtifact, IntegrityError, OSError):
                standing = Standing(run="", number=0, told={})
            found.append((folder, standing))
        return found


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold `folder`, which need not be there, for this process alone; the system lets go when the process dies.

    Raises Locked at once where another one has it.
    """
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise Locked(
                    f"another training is under way here, in process {file.read() or 'unknown'}",
                    where=str(folder),
                    advice="wait for it, or stop it",
                ) from None
            # Whoever held it until now may have taken the file away: then this is a lock on nothing.
            if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def own_in_turn(held: ExitStack, folders: Iterable[Path], check: Callable[[], None], patience: timedelta = PATIENCE) -> None:
    """Hold each of `folders` as `sole_owner` does, until `held` closes, once whoever has it is through.

    It says for whom it waits, and asks `check` meanwhile, which raises to end that. Two that want several of the same do not wait
    for each other: all take them in one order. Raises Locked where one is not free within `patience`.
    """
    until = time.monotonic() + patience.total_seconds()
    for folder in sorted(folders):
        told = False
        while True:
            try:
                held.enter_context(sole_owner(folder))
                break
            except Locked as locked:
                if time.monotonic() >= until:
                    raise
                if not told:
                    logger.warning("%s: %s: this one waits until that is over", locked.what, locked.where)
                    told = True
            check()
            time.sleep(SECONDS_BETWEEN_LOOKS)


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Wait for one's turn to look through all trainings: each is short."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _without(told: Mapping[str, str], apart: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in told.items() if name.split(".")[0] not in apart}


def _states(folder: Path) -> bool:
    """Whether there is anything to go on from."""
    return any(folder.glob("*-*-*.safetensors"))
