"""The states of a training that is not finished, in a folder of their own: all or nothing, digests checked, three at most.

A state is one file, `state-<number>-<step>-<sha256>.safetensors`: its name is its promise, and the rename that gives it is the
commit. Numbers only rise, so that the newest is known where a training went back to an earlier step.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

import packshot
from packshot.errors import IntegrityError, Locked, OutOfResources
from packshot.failpoints import failpoint
from packshot.models.weights import KEY, WeightsCard, save_weights
from packshot.records import Checkpoint, Digest, Record, file_digest, write_bytes
from packshot.training.hardware import Machine
from packshot.training.params import Run, TrainParams
from packshot.training.progress import curves_csv
from packshot.training.state import Facts, Kept, TrainState
from packshot.training.watch import Trouble

KEPT_STATES = 3
logger = logging.getLogger(__name__)


class Recipe(Record):
    """Every setting that a run's result depends on, apart from the photos and the machine."""

    run: Run
    steps: int
    batch_size: int
    accumulate: int
    flips: bool
    checkpoints: int
    report_every: int
    seed: int

    @classmethod
    def of(cls, run: Run, params: TrainParams, seed: int) -> Recipe:
        return cls(
            run=run,
            steps=params.steps_of(run),
            batch_size=params.batch_size_of(run),
            accumulate=params.accumulate,
            flips=params.flips,
            checkpoints=params.checkpoints,
            report_every=params.report_every,
            seed=seed,
        )


class Identity(Record):
    """What must be equal for a stopped training to go on: only then does it end in the bits of a straight one."""

    recipe: Recipe
    dataset: Digest
    code: str
    torch_version: str
    device: str
    threads: int
    processes: int
    precision: str
    compiled: bool

    @classmethod
    def here(cls, recipe: Recipe, dataset: str, machine: Machine) -> Identity:
        return cls(
            recipe=recipe,
            dataset=dataset,
            code=_code_digest(),
            torch_version=torch.__version__,
            device=machine.name,
            threads=machine.threads,
            processes=machine.processes,
            precision=machine.precision,
            compiled=machine.compiles,
        )

    def differences(self, other: Identity) -> tuple[str, ...]:
        """One text for each field that is not the same, as 'recipe.run.model.latent: 64, then 32'."""
        mine, theirs = dict(leaves("", other.model_dump(mode="json"))), dict(leaves("", self.model_dump(mode="json")))
        fields = sorted({*mine, *theirs})
        return tuple(
            f"{name}: {mine.get(name)}, then {theirs.get(name)}" for name in fields if mine.get(name) != theirs.get(name)
        )


class Memo(Record):
    """What a state's file says beside its tensors."""

    identity: Identity
    facts: Facts


class Failure(Record):
    """Why a training ended: beside the last curves, what a person needs to find the photo or the setting to blame."""

    run: str
    step: int
    reason: str
    detail: str
    phase: str
    values: dict[str, str]
    """As text: what failed is rarely a number."""
    rows: tuple[int, ...]
    """Of the training split."""


class Checkpoints:
    """The folder of one run: its states, the weights that it keeps, and its failure."""

    def __init__(self, folder: Path, identity: Identity, card: WeightsCard) -> None:
        self.folder, self.identity, self.card = folder, identity, card

    def resumable(self) -> bool:
        """Whether there is a state to go on from.

        States of a training that differs in anything are dropped, and the differences told: going on from them could not end
        where a straight run does.
        """
        for draft in self.folder.glob("**/.*.draft"):
            draft.unlink()
        for path in self._states():
            try:
                memo, _ = _read_state(path)
            except IntegrityError as error:
                logger.warning("%s", error)
                continue
            if not (differences := self.identity.differences(memo.identity)):
                return True
            logger.warning("%s starts anew; since it was stopped there changed: %s", self.folder.name, "; ".join(differences))
            break
        self.clear()
        return False

    # --- what the loop asks for

    def restore(self, state: TrainState) -> bool:
        """Bring `state` to the newest good state of the same training; False where there is none.

        A state whose bytes are not those its name promises, or whose weights are gone, is skipped for the one before it.
        """
        return self._restore(state, self._states())

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        """Bring `state` to the `back`-th newest step of those up to `before` that are kept, or to the oldest of them.

        A step that was reached twice, since the training went back before it, counts once.
        """
        good = {step: path for path in self._states()[::-1] if (step := int(path.name.split("-")[2])) <= before}
        paths = [good[step] for step in sorted(good, reverse=True)]
        return self._restore(state, paths[back - 1 :]) or self._restore(state, paths[::-1])

    def _restore(self, state: TrainState, paths: Sequence[Path]) -> bool:
        for path in paths:
            try:
                memo, tensors = _read_state(path)
                if self.identity.differences(memo.identity):
                    continue
                for kept in memo.facts.kept:
                    if _digest(self._weights(kept.step)) != kept.sha256:
                        raise IntegrityError("kept weights are gone or changed", where=str(self._weights(kept.step)))
            except IntegrityError as error:
                logger.warning("skipped a state: %s", error)
                continue
            state.restore(tensors, memo.facts)
            logger.info("%s goes on from step %d", self.folder.name, state.step)
            return True
        return False

    def save(self, state: TrainState) -> None:
        """Write the state, then drop all but the last three. Raises OutOfResources where the disk refuses."""
        memo = Memo(identity=self.identity, facts=state.facts())
        content = save(state.tensors(), metadata={KEY: memo.model_dump_json()})
        number = 1 + max((int(path.name.split("-")[1]) for path in self._states()), default=0)
        name = f"state-{number:06d}-{state.step:09d}-{hashlib.sha256(content).hexdigest()}.safetensors"
        with _disk(self.folder):
            write_bytes(self.folder / name, content)
            failpoint("train.saved")
            for path in self._states()[KEPT_STATES:]:
                path.unlink()

    def keep(self, state: TrainState) -> None:
        """Write the weights that would be deployed now."""
        card = self.card.model_copy(update={"step": state.step})
        with _disk(self.folder):
            digest = save_weights(self._weights(state.step), state.average, card)
        state.kept.append(Kept(step=state.step, sha256=digest))
        failpoint("train.kept")

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        """Write what the training failed of, beside its curves."""
        failure = Failure(
            run=self.card.run,
            step=state.step,
            reason=trouble.reason,
            detail=trouble.detail,
            phase=trouble.phase,
            values={name: str(value) for name, value in trouble.values.items()},
            rows=tuple(trouble.rows),
        )
        with _disk(self.folder):
            failure.write(self.folder / "failure.json")
            write_bytes(self.folder / "failure.csv", curves_csv(state.history).encode())

    # --- what the stage asks for

    def publish(self, state: TrainState, folder: Path) -> tuple[Checkpoint, ...]:
        """Copy the kept weights into `folder`/weights, and name them as the stage's report does."""
        checkpoints = []
        for kept in state.kept:
            source = self._weights(kept.step)
            with _disk(folder):
                write_bytes(folder / "weights" / source.name, source.read_bytes())
            checkpoints.append(
                Checkpoint(
                    run=self.card.run,
                    family=self.card.config.family,
                    step=kept.step,
                    path=f"weights/{source.name}",
                    sha256=kept.sha256,
                )
            )
        return tuple(checkpoints)

    def clear(self) -> None:
        """Drop the folder: the training is finished and published, or can never go on."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _weights(self, step: int) -> Path:
        return self.folder / "weights" / f"{self.card.run}-{step}.safetensors"

    def _states(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("state-*.safetensors"), reverse=True)


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone. Raises Locked where another one has it; the system lets go when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked("another training is under way here", where=str(folder), advice="wait for it, or stop it") from None
        yield


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutOfResources(
            f"cannot write: {error.strerror}", where=str(folder), advice="see to the disk, then run again"
        ) from error


def _read_state(path: Path) -> tuple[Memo, dict[str, Tensor]]:
    """The parts of a state whose bytes are those that its name promises, else IntegrityError."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.stem.rpartition("-")[2]:
        raise IntegrityError("the bytes are not those that were written", where=str(path))
    length = int.from_bytes(content[:8], "little")
    try:
        memo = Memo.model_validate_json(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    except (ValueError, KeyError) as error:
        raise IntegrityError("it was written by another version of packshot", where=str(path)) from error
    return memo, load(content)


def _digest(path: Path) -> str:
    """The sha256 of a file's bytes; empty where there is no such file."""
    return file_digest(path) if path.is_file() else ""


def leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The leaves of nested JSON objects by dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}" if name else key, inner)
    else:
        yield name, value


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Of the sources that a training runs through."""
    root = Path(packshot.__file__).parent
    sources = [*sorted(root.glob("models/**/*.py")), *sorted(root.glob("training/**/*.py")), root / "images" / "pixels.py"]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(root)} {file_digest(path)}\n".encode())
    return digest.hexdigest()[:16]
