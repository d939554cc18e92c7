"""A training that is killed with SIGKILL anywhere, and run again, ends in the bytes of a straight one."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from functools import cache
from pathlib import Path

import pytest
import torch

from packshot.training.params import WatchParams
from packshot.training.state import Setback, TrainState
from packshot.training.watch import Trouble, Watch
from tests.children import forkserver
from tests.models.families import SMALL
from tests.training.campaign import campaign
from tests.training.kills import KINDS, SAVE_EVERY, STEPS, TROUBLE_AT, Trial, digest, killed, run_child
from tests.training.runs import Heard, params, run_through

Context = multiprocessing.context.ForkServerContext
A_KILL_EACH = (
    ("train.step", 11),
    ("records.drafted", 5),
    ("train.kept", 2),
    ("records.written", 4),
    ("train.step", STEPS),
    ("records.renamed", 6),
    ("train.saved", 3),
)
"""Between steps in the middle of an epoch, while a file is written, between file and name, after the last step ..."""


@pytest.fixture(scope="module")
def context() -> Context:
    return forkserver()


@pytest.fixture(scope="module")
def straight(context: Context, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    @cache
    def run(trial: Trial) -> Path:
        folder = tmp_path_factory.mktemp("straight")
        assert run_child(context, folder, trial) == 0
        return folder

    return run


@pytest.mark.parametrize(("family", "place"), list(zip(SMALL, A_KILL_EACH * len(SMALL), strict=False)), ids=list(SMALL))
def test_a_killed_training_of_every_family_ends_in_the_same_bytes(
    family: str, place: tuple[str, int], context: Context, straight, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    trial = Trial(family)
    assert killed(run_child(context, tmp_path / "killed", trial, f"{place[0]}:{place[1]}:kill"))
    assert run_child(context, tmp_path / "killed", trial) == 0
    assert digest(tmp_path / "killed") == digest(straight(trial))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_so_does_one_with_attributes_in_parts_in_bfloat16_or_in_trouble(
    kind: str, context: Context, straight, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    trial = Trial("gan-adaptive", kind)  # type: ignore[arg-type]
    assert killed(run_child(context, tmp_path, trial, f"train.step:{TROUBLE_AT - 1}:kill"))
    assert killed(run_child(context, tmp_path, trial, "train.step:6:kill"))
    assert run_child(context, tmp_path, trial) == 0
    assert digest(tmp_path) == digest(straight(trial))


@pytest.mark.parametrize("place", ["train.buried", "train.rewound", "train.saved:4", "records.drafted:10"])
def test_a_kill_in_the_middle_of_a_setback_changes_nothing(place: str, context: Context, straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trial = Trial("vae-gaussians", "setback")
    assert killed(run_child(context, tmp_path, trial, f"{place}:kill"))
    assert run_child(context, tmp_path, trial) == 0
    assert digest(tmp_path) == digest(straight(trial))


def test_a_training_killed_at_every_few_steps_ends_the_same(context: Context, straight, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trial, kills = Trial("vae-flow"), 0
    while killed(run_child(context, tmp_path, trial, f"train.step:{SAVE_EVERY + 1}:kill")):
        kills += 1
    assert kills == STEPS // SAVE_EVERY
    assert digest(tmp_path) == digest(straight(trial))


def test_half_a_dozen_kills_anywhere(tmp_path: Path) -> None:
    equal, done, _ = campaign(6, seed=1, folder=tmp_path)
    assert (equal, done) == (6, 6)


def test_clocks_play_no_part(straight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    trial = Trial("gan")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86_400)
    monkeypatch.setattr(time, "time_ns", lambda: int((now() - 86_400) * 1e9))
    monkeypatch.setattr("packshot.training.identity._code_digest", lambda: _code(straight(trial)))
    trial.run(tmp_path)
    assert digest(tmp_path) == digest(straight(trial))


def _code(_: Path) -> str:
    from tests.training.kills import CODE

    return CODE


def test_a_resumed_training_tells_again_what_it_told_and_nothing_else(context: Context, tmp_path: Path) -> None:
    trial, heard, again = Trial("gan"), Heard(), Heard()
    trial.run(tmp_path / "straight", heard)
    assert killed(run_child(context, tmp_path / "killed", trial, "train.step:17:kill"))
    trial.run(tmp_path / "killed", again)
    assert again.values == heard.values


def test_kept_weights_that_are_lost_are_made_again(straight, tmp_path: Path, context: Context) -> None:  # type: ignore[no-untyped-def]
    trial = Trial("vae-gaussians")
    for lost in ("vae-gaussians-16", "vae-gaussians-24"):
        shutil.copytree(straight(trial), tmp_path / lost)
        (tmp_path / lost / "weights" / f"{lost}.safetensors").unlink()
        assert run_child(context, tmp_path / lost, trial) == 0
        assert digest(tmp_path / lost / "weights") == digest(straight(trial) / "weights")


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    settings = params("gan", steps=2)
    mine, other = (run_through(tmp_path / str(seed), settings, seed=seed).tensors() for seed in (11, 12))
    assert not torch.equal(mine["model.generator.begin.weight"], other["model.generator.begin.weight"])


# --- what is told of steps that are taken twice


def test_steps_that_are_told_twice_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, told = Heard(), []
    monkeypatch.setattr(Heard, "metrics", lambda self, step, values: told.extend((name, step) for name in values))
    watch, troubles = Watch.step, [13, 11]

    def be_troubled(self: Watch, state: TrainState, *, kept: bool) -> None:
        watch(self, state, kept=kept)
        if troubles and state.step == troubles[0] and len(state.setbacks) == 2 - len(troubles):
            raise Trouble("DIVERGED", f"at {troubles.pop(0)}")

    monkeypatch.setattr(Watch, "step", be_troubled)
    settings = params("gan", steps=20, save_every=5, report_every=3, watch=WatchParams(retries=3))
    state = run_through(tmp_path, settings, heard)
    assert [(setback.step, setback.back_to) for setback in state.setbacks] == [(13, 10), (11, 5)]
    steps: dict[str, list[int]] = {}
    for name, step in told:
        steps.setdefault(name, []).append(step)
    losses = {name: taken for name, taken in steps.items() if name.endswith("generator/gradient_norm")}
    # First 3 to 12; then from 10 on, to 11: nothing new; then from 5 on: 6, 9 and 12 once more, and what was never told.
    assert losses == {"generator/gradient_norm": [3, 6, 9, 12, 15, 18, 20], "setback-2/generator/gradient_norm": [6, 9, 12]}
    assert len(told) == len(set(told))


def test_what_was_told_before_is_known_from_the_setbacks_alone() -> None:
    state = TrainState.__new__(TrainState)
    state.setbacks = [Setback(step=30, reason="DIVERGED", back_to=20), Setback(step=45, reason="DIVERGED", back_to=10)]
    names = {step: state.retold(step) for step in (5, 10, 15, 25, 40, 45, 50)}
    assert names == {5: "", 10: "", 15: "setback-2/", 25: "setback-2/", 40: "setback-2/", 45: "setback-2/", 50: ""}
    state.setbacks = state.setbacks[:1]
    assert {step: state.retold(step) for step in (20, 25, 31)} == {20: "", 25: "setback-1/", 31: ""}
