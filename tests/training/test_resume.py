"""A training that is killed with SIGKILL anywhere, and run again, ends in the bits of a straight one."""

from __future__ import annotations

import multiprocessing
import signal
from functools import cache
from pathlib import Path

import pytest
import torch

from packshot.records import file_digest
from packshot.training.state import TrainState
from tests.models.families import CONDITIONS
from tests.training.runs import Heard, params, run_in_a_child, run_through

PLACES = ("train.step:9", "train.step:23", "train.step:40", "train.saved:2", "train.kept:1")


@pytest.fixture(scope="module")
def children() -> multiprocessing.context.ForkServerContext:
    """Real processes, forked from one that has imported everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["packshot.training.checkpoint", "torch._dynamo", "matplotlib"])
    return context


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    @cache
    def run(name: str) -> tuple[TrainState, Path, Heard]:
        folder, heard = tmp_path_factory.mktemp(name), Heard()
        return run_through(folder, params(name), heard), folder, heard

    return run


def _assert_equal(one: TrainState, other: TrainState) -> None:
    mine, theirs = one.tensors(), other.tensors()
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert one.facts() == other.facts()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["vae-flow", "gan"])
def test_a_killed_training_repeats_the_straight_one(name: str, place: str, children, straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    child = children.Process(target=run_in_a_child, args=(str(tmp_path), name, f"{place}:kill"))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    state, folder, heard = straight(name)
    told = Heard()
    resumed = run_through(tmp_path, params(name), told)
    _assert_equal(resumed, state)
    weights = sorted(path.name for path in folder.glob("weights/*"))
    assert weights == sorted(path.name for path in tmp_path.glob("weights/*"))
    assert all(file_digest(tmp_path / "weights" / path) == file_digest(folder / "weights" / path) for path in weights)
    assert told.values == heard.values


def test_a_training_killed_again_and_again_ends_the_same(children, straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for _ in range(3):
        child = children.Process(target=run_in_a_child, args=(str(tmp_path), "vae-flow", "train.step:10:kill"))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    _assert_equal(run_through(tmp_path, params("vae-flow")), straight("vae-flow")[0])


@pytest.mark.parametrize("name", ["vae-flow", "vae-gaussians", "gan"])
def test_a_training_with_attributes_that_is_killed_repeats_the_straight_one(name: str, children, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    child = children.Process(
        target=run_in_a_child, args=(str(tmp_path / "killed"), name, "train.step:32:kill"), kwargs={"conditioned": True}
    )
    child.start()
    straight = run_through(tmp_path / "straight", params(name), conditions=CONDITIONS)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    _assert_equal(run_through(tmp_path / "killed", params(name), conditions=CONDITIONS), straight)


def test_class_gaussians_survive_a_stop_too(straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run_through(tmp_path, params("vae-gaussians"))
    (tmp_path / "weights" / "vae-gaussians-40.safetensors").unlink()
    _assert_equal(run_through(tmp_path, params("vae-gaussians")), straight("vae-gaussians")[0])


def test_another_seed_is_another_training(straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = run_through(tmp_path, params("gan"), seed=12).tensors()
    mine = straight("gan")[0].tensors()
    assert not torch.equal(mine["model.generator.begin.weight"], other["model.generator.begin.weight"])
