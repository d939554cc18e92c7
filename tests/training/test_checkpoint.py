"""States are all or nothing, and only those of the very same training are believed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from packshot.errors import Locked, OutOfResources
from packshot.training.identity import differences
from packshot.training.loop import build
from packshot.training.state import state_size
from packshot.training.stopped import sole_owner
from tests.models.families import CATEGORIES, IMAGE, SMALL
from tests.training.runs import CPU, SEED, desk, params, run_through


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"))


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("through")
    run_through(folder, params("gan"))
    return folder


@pytest.fixture
def stopped(through: Path, tmp_path: Path) -> Path:
    return shutil.copytree(through, tmp_path / "stopped")


def test_the_first_and_the_last_three_states_are_kept_and_no_draft(stopped: Path) -> None:
    assert [path.name.split("-")[2] for path in _states(stopped)] == ["000000000", "000000027", "000000036", "000000040"]
    assert not list(stopped.rglob("*.draft"))


@pytest.mark.parametrize("place", [0, 100, 5000, -1])
def test_a_state_with_a_flipped_bit_is_skipped_for_the_one_before(
    stopped: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    straight = run_through(stopped, params("gan"))
    newest = _states(stopped)[-1]
    content = bytearray(newest.read_bytes())
    content[place] ^= 4
    newest.write_bytes(content)
    again = run_through(stopped, params("gan"))
    assert "goes on from step 36" in caplog.text or "skipped a state" in caplog.text
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in straight.tensors().items())


def test_with_every_state_broken_the_training_starts_anew(stopped: Path) -> None:
    straight = run_through(stopped, params("gan"))
    for path in _states(stopped):
        path.write_bytes(path.read_bytes()[:-7])
    assert not desk(stopped, params("gan")).resumable()
    again = run_through(stopped, params("gan"))
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in straight.tensors().items())


def test_a_draft_of_a_killed_write_is_removed(stopped: Path) -> None:
    draft = stopped / ".state-000004-000000040-ab.safetensors.17.draft"
    draft.write_bytes(b"half")
    assert desk(stopped, params("gan")).resumable()
    assert not draft.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dataset", "e" * 64),
        ("code", "other"),
        ("torch_version", "1.0"),
        ("device", "cuda H200"),
        ("threads", 2),
        ("precision", "bfloat16"),
    ],
)
def test_each_part_of_the_identity_counts(stopped: Path, field: str, value: object) -> None:
    mine = desk(stopped, params("gan")).identity
    other = mine.model_copy(update={field: value})
    (difference,) = differences(mine.told(), other.told())
    assert difference.startswith(f"{field}: ")
    assert difference.endswith(f", then {value}")
    assert differences(mine.told(), mine.told()) == ()


def test_settings_that_change_no_weight_do_not_stop_a_training_from_going_on(stopped: Path) -> None:
    assert desk(stopped, params("gan", stall_minutes=5.0)).resumable()


def test_a_full_disk_is_told_and_the_state_before_stays(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [path.name for path in _states(stopped)]
    keeper, state = desk(stopped, params("gan")), run_through(stopped, params("gan"))
    state.step += 1

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutOfResources, match=r"No space left on device: [\d,]+ bytes are needed, [\d,]+ are free"):
        keeper.save(state)
    monkeypatch.undo()
    assert [path.name for path in _states(stopped)] == before
    assert keeper.resumable()


def test_a_second_training_in_the_same_place_is_refused_at_once(tmp_path: Path) -> None:
    with sole_owner(tmp_path), pytest.raises(Locked), sole_owner(tmp_path):
        pass
    with sole_owner(tmp_path):
        pass


@pytest.mark.parametrize("name", SMALL)
def test_the_size_of_a_state_is_known_before_it_is_written(name: str, tmp_path: Path) -> None:
    """Rather more than less; the optimisers' slots, which come with their first steps, are counted too."""
    settings = params(name, steps=3, save_every=1)
    run_through(tmp_path, settings)
    model = build(settings.runs[0], IMAGE, CATEGORIES, (), seed=SEED, device=CPU)
    largest = max(path.stat().st_size for path in _states(tmp_path))
    assert largest <= state_size(model, rows=1) <= 1.3 * largest + 400_000
    keeper = desk(tmp_path, settings)
    assert keeper.room(model, 1) < desk(tmp_path / "elsewhere", settings).room(model, 1), "what is there needs no room"
