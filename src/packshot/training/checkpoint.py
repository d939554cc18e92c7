"""The states of one training that is not finished, in a folder of their own: all or nothing, digests checked, four at most.

A state is one file, `state-<number>-<step>-<sha256>.safetensors`: its name is its promise, and the rename that gives it is the
commit. Numbers only rise, so that the newest is known where a training went back to an earlier step. A training that was asked to
stop between two states leaves a `pause-...` too: it goes on from there, but no trouble brings it back there, since a straight one
could not go there either.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from packshot.errors import IntegrityError, OutOfResources
from packshot.failpoints import failpoint
from packshot.models.base import ImageModel
from packshot.models.tensors import write_tensors
from packshot.models.weights import KEY, WeightsCard, save_training, save_weights, training_path
from packshot.records import Checkpoint, Record, file_digest, write_bytes
from packshot.training.evidence import bury
from packshot.training.identity import Identity
from packshot.training.interruption import undisturbed
from packshot.training.state import Facts, Kept, TrainState, state_size
from packshot.training.watch import Trouble

KEPT_STATES = 3
logger = logging.getLogger(__name__)


class Memo(Record):
    """What a state's file says beside its tensors."""

    identity: Identity
    facts: Facts


class Checkpoints:
    """The folder of one run: its states, the weights that it keeps, and its failure."""

    def __init__(self, folder: Path, identity: Identity, card: WeightsCard) -> None:
        self.folder, self.identity, self.card = folder, identity, card

    def resumable(self) -> bool:
        """Whether there is a state to go on from. What a killed process left half done is tidied first."""
        for draft in self.folder.glob("**/.*.draft"):
            draft.unlink()
        self._drop_old()
        return any(memo is not None and memo.identity == self.identity for memo in map(_try_memo, self._states()))

    def room(self, model: ImageModel, weights: int) -> int:
        """The bytes that this training still needs on the disk for its states, and for `weights` that are kept and published."""
        settings = self.identity.recipe.settings
        states = (KEPT_STATES + 3) * state_size(model, int(settings["steps"]) // int(settings["report_every"]) + 1)
        kept: int = 2 * weights * sum(4 * tensor.numel() for tensor in model.state_dict().values())
        there = sum(path.stat().st_size for path in self.folder.glob("**/*.safetensors"))
        return max(0, states + kept - there)

    # --- what the loop asks for

    def restore(self, state: TrainState) -> bool:
        """Bring `state` to the newest good state of the same training; False where there is none.

        A state whose bytes are not those its name promises, or whose weights are gone, is dropped for the one before it: what
        comes next is what came when a straight training was there. (A trouble that then goes back more than two states may go
        back further, since those that had been dropped as old stay gone.)
        """
        paths = self._states()
        found = self._restore(state, paths)
        for path in paths[: paths.index(found) if found else None]:
            path.unlink()
        if found:
            logger.info("%s goes on from step %d", self.card.run, state.step)
        return found is not None

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        """Bring `state` to the `back`-th newest step of those up to `before` that are kept, or to the oldest of them.

        A step that was reached twice, since the training went back before it, counts once.
        """
        good = {_step(path): path for path in self._states("state")[::-1] if _step(path) <= before}
        paths = [good[step] for step in sorted(good, reverse=True)]
        found = self._restore(state, paths[back - 1 :]) or self._restore(state, paths[::-1])
        failpoint("train.rewound")
        return found is not None

    def save(self, state: TrainState) -> None:
        """Write the state, then drop all but the first and the last three. Raises OutOfResources where the disk refuses."""
        self._write(state, "state")
        failpoint("train.saved")
        self._drop_old()

    def pause(self, state: TrainState) -> None:
        """Write where the training is asked to stop. Raises OutOfResources where the disk refuses."""
        self._write(state, "pause")
        self._drop_old()

    def keep(self, state: TrainState) -> None:
        """Write the weights that would be deployed now, and beside them what only training needs."""
        card = self.card.model_copy(update={"step": state.step})
        with _disk(self.folder):
            digest = save_weights(self._weights(state.step), state.average, card)
            training = save_training(self._training(state.step), state.model, card)
        state.kept.append(Kept(step=state.step, sha256=digest, training=training))
        failpoint("train.kept")

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        """Write what the training failed of: a record, its curves, its last samples."""
        with _disk(self.folder):
            bury(self.folder, self.card.run, state, trouble)
        failpoint("train.buried")

    # --- what the stage asks for

    def publish(self, state: TrainState, folder: Path) -> tuple[Checkpoint, ...]:
        """Copy the kept weights into `folder`/weights, and name them as the stage's report does.

        Raises IntegrityError where the bytes of one are no longer those that were kept.
        """
        checkpoints = []
        for kept in state.kept:
            source = self._weights(kept.step)
            self._require_kept(kept)
            with _disk(folder):
                write_bytes(folder / "weights" / source.name, source.read_bytes())
                if kept.training:
                    write_bytes(training_path(folder / "weights" / source.name), self._training(kept.step).read_bytes())
            checkpoints.append(
                Checkpoint(
                    run=self.card.run,
                    family=self.card.config.family,
                    step=kept.step,
                    path=f"weights/{source.name}",
                    sha256=kept.sha256,
                    training=kept.training,
                )
            )
        return tuple(checkpoints)

    def clear(self) -> None:
        """Drop the folder: the training is finished and published."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- its files

    def _weights(self, step: int) -> Path:
        return self.folder / "weights" / f"{self.card.run}-{step}.safetensors"

    def _training(self, step: int) -> Path:
        return self.folder / "training" / f"{self.card.run}-{step}.safetensors"

    def _states(self, kind: str = "*") -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"{kind}-*-*-*.safetensors"), key=_number, reverse=True)

    def _write(self, state: TrainState, kind: str) -> None:
        number = 1 + max(map(_number, self._states()), default=0)
        memo = Memo(identity=self.identity, facts=state.facts())
        path = self.folder / f"{kind}-{number:06d}-{state.step:09d}.safetensors"
        with _disk(self.folder):
            write_tensors(path, state.live_tensors(), KEY, memo.model_dump_json(), seal=True)

    def _drop_old(self) -> None:
        """All states but the first and the last three, a pause that was gone on from, and the weights that no state left kept.

        A trouble that brewed for longer than the last three reach back is begun again from the first.
        """
        states, pauses = self._states("state"), self._states("pause")
        newest = self._states()[:1]
        with _disk(self.folder):
            for path in [*states[KEPT_STATES:-1], *(pause for pause in pauses if pause not in newest)]:
                path.unlink()
            kept = {f"{self.card.run}-{step}.safetensors" for path in self._states() for step in _kept_steps(path)}
            for path in (*self.folder.glob("weights/*.safetensors"), *self.folder.glob("training/*.safetensors")):
                if path.name not in kept:
                    path.unlink()

    def _restore(self, state: TrainState, paths: Sequence[Path]) -> Path | None:
        """Bring `state` to the first of `paths` that is good, and say which."""
        for path in paths:
            try:
                memo = _read_memo(path)
                if memo.identity != self.identity:
                    continue
                for kept in memo.facts.kept:
                    self._require_kept(kept)
                state.restore(_read_tensors(path), memo.facts)
            except IntegrityError as error:
                logger.warning("skipped a state: %s", error)
                continue
            return path
        return None

    def _require_kept(self, kept: Kept) -> None:
        for path, sha256 in ((self._weights(kept.step), kept.sha256), (self._training(kept.step), kept.training)):
            if sha256 and (not path.is_file() or file_digest(path) != sha256):
                advice = "run it again: it goes on from before they were kept"
                raise IntegrityError("kept weights are gone or changed", where=str(path), advice=advice)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Around a write: no signal ends it half way, and what the disk refuses becomes OutOfResources."""
    try:
        with undisturbed():
            yield
    except OSError as error:
        raise OutOfResources(
            f"cannot write: {error.strerror}", where=str(folder), advice="see to the disk, then run again"
        ) from error


def _number(path: Path) -> int:
    return int(path.name.split("-")[1])


def _step(path: Path) -> int:
    return int(path.name.split("-")[2])


def _parse_memo(path: Path) -> Memo:
    with path.open("rb") as file:
        header = file.read(min(int.from_bytes(file.read(8), "little"), path.stat().st_size))
    return Memo.model_validate_json(json.loads(header)["__metadata__"][KEY])


def _read_memo(path: Path) -> Memo:
    """What a state says, whose bytes are those that its name promises, else IntegrityError."""
    try:
        if file_digest(path) != path.stem.rpartition("-")[2]:
            raise IntegrityError("the bytes are not those that were written", where=str(path))
        return _parse_memo(path)
    except OSError as error:
        raise IntegrityError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError) as error:
        raise IntegrityError("it was written by another version of packshot", where=str(path)) from error


def _kept_steps(path: Path) -> list[int]:
    """The steps whose weights a state has kept, by its word alone: one whose bytes have changed is found out when it is read."""
    try:
        return [kept.step for kept in _parse_memo(path).facts.kept]
    except (ValueError, KeyError, OSError):
        return []


def _try_memo(path: Path) -> Memo | None:
    try:
        return _read_memo(path)
    except IntegrityError as error:
        logger.warning("%s", error)
        return None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"it cannot be read: {error}", where=str(path)) from error
