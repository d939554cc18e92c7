"""Stopped trainings stand side by side: none that differs is lost or gone on with, and only so many are kept."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from packshot.errors import Locked
from packshot.training.checkpoint import Checkpoints
from packshot.training.identity import ELSEWHERE, IDLE, Identity, Recipe
from packshot.training.params import TrainParams
from packshot.training.stopped import Trainings, sole_owner
from tests.children import forkserver
from tests.training.runs import desk, params
from tests.training.saves import fresh


def _identity(**changes: object) -> Identity:
    return desk(Path(), params("vae-gaussians", **changes)).identity  # type: ignore[arg-type]


def _stop(trainings: Trainings, identity: Identity, step: int = 5) -> Path:
    """Leave a state, as a training of this identity does."""
    trainings.begin(identity)
    folder = trainings.folder(identity)
    state = fresh()
    state.step = step
    Checkpoints(folder, identity, desk(Path(), params("vae-gaussians")).card).save(state)
    return folder


def test_a_training_that_differs_in_anything_has_another_folder(tmp_path: Path) -> None:
    trainings, first = Trainings(tmp_path), _identity()
    others = [_identity(batch_size=8), _identity(save_every=3), first.model_copy(update={"threads": 2})]
    folders = {trainings.folder(identity).name for identity in (first, *others)}
    assert len(folders) == 4
    assert all(name.startswith("vae-gaussians-") and len(name) == len("vae-gaussians-") + 12 for name in folders)
    assert trainings.folder(_identity(stall_minutes=1.0)) == trainings.folder(first)


def test_every_setting_of_train_counts_but_those_that_are_named() -> None:
    recipe = Recipe.of(params("gan").runs[0], params("gan"), seed=1)
    counted = {name.split(".")[0] for name in recipe.settings}
    assert counted | ELSEWHERE | IDLE == set(TrainParams.model_fields)
    assert not counted & (ELSEWHERE | IDLE)


def test_it_says_in_what_it_differs_from_the_newest_other_one(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    _stop(trainings, _identity(batch_size=8))
    _stop(trainings, _identity(batch_size=4, steps=50))
    now = _identity()
    assert trainings.compare(now) == ("train.batch_size: 4, then 16", "train.steps: 50, then 40")
    _stop(trainings, _identity(batch_size=8))  # it went on: now it is the newest
    assert trainings.compare(now) == ("train.batch_size: 8, then 16",)
    assert Trainings(tmp_path / "elsewhere").compare(now) == ()


def test_two_stopped_trainings_of_a_run_are_kept_and_the_clock_is_not_asked(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    folders = [_stop(trainings, _identity(batch_size=size)) for size in (4, 6, 8, 10)]
    for age, folder in enumerate(folders):
        os.utime(folder, (age - 10**6, age - 10**6) if age == 3 else None)
    trainings.drop_old(["vae-gaussians"])
    assert [folder.is_dir() for folder in folders] == [False, False, True, True]


def test_of_runs_that_are_no_more_two_are_kept_in_all(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    mine = _stop(trainings, _identity())
    gone = []
    for number in range(4):
        name = _identity()
        recipe = name.recipe.model_copy(update={"run": name.recipe.run.model_copy(update={"name": f"gone-{number}"})})
        gone.append(_stop(trainings, name.model_copy(update={"recipe": recipe})))
    (tmp_path / "of-another-version").mkdir()
    (tmp_path / "of-another-version" / "state-000001-000000000-ab.safetensors").touch()
    trainings.drop_old(["vae-gaussians"])
    assert mine.is_dir()
    assert [folder.is_dir() for folder in gone] == [False, False, True, True]
    assert not (tmp_path / "of-another-version").exists()


def test_what_never_got_to_a_state_pushes_nothing_out(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    folders = [_stop(trainings, _identity(batch_size=size)) for size in (4, 6)]
    for size in (8, 10, 12):
        trainings.begin(_identity(batch_size=size))
    trainings.drop_old(["vae-gaussians"])
    assert sorted(path for path in tmp_path.iterdir() if path.is_dir()) == sorted(folders)


def test_nothing_of_a_training_that_is_under_way_is_dropped(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    folders = [_stop(trainings, _identity(batch_size=size)) for size in (4, 6, 8, 10)]
    with sole_owner(folders[0]):
        trainings.drop_old(["vae-gaussians"])
    assert [folder.is_dir() for folder in folders] == [True, False, True, True]


def _own(folder: str, ready: Connection) -> None:
    with sole_owner(Path(folder)):
        ready.send(os.getpid())
        ready.recv()


def test_the_second_owner_is_refused_at_once_and_a_dead_one_lets_go(tmp_path: Path) -> None:
    folder, context = tmp_path / "gan-0123456789ab", forkserver()
    mine, theirs = context.Pipe()
    child = context.Process(target=_own, args=(str(folder), theirs))
    child.start()
    number = mine.recv()
    with pytest.raises(Locked, match=f"in process {number}:") as refused, sole_owner(folder):
        pass
    assert refused.value.exit_code == 23
    with sole_owner(tmp_path / "gan-ba9876543210"):
        pass
    os.kill(number, signal.SIGKILL)
    child.join()
    with sole_owner(folder):
        pass
    assert not list(tmp_path.iterdir()), "a lock leaves nothing"


def test_a_lock_on_a_file_that_was_taken_away_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / ".gan.lock"
    with path.open("w") as stale:
        fcntl.flock(stale, fcntl.LOCK_EX)
        path.unlink()
        with sole_owner(tmp_path / "gan"):
            assert path.read_text() == str(os.getpid())
            with pytest.raises(Locked), sole_owner(tmp_path / "gan"):
                pass


def test_a_note_that_cannot_be_read_makes_a_training_the_oldest_one(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    broken = _stop(trainings, _identity())
    (broken / "training.json").write_text("{}")
    assert trainings.compare(_identity(batch_size=8)) == ()
    assert trainings.folder(_identity()) == broken
    shutil.rmtree(broken)
