"""The watch stops what is broken, for the right reason, and nothing else; and a training finds its way back."""

from __future__ import annotations

import csv
import json
import logging
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from packshot.errors import TrainingFailed
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.looks import DRAWN, ENOUGH, Looks
from packshot.training.loop import train
from packshot.training.state import TrainState
from packshot.training.watch import ADVICE, Trouble, require_sound
from tests.models.families import SMALL, build, toy_split
from tests.training.runs import CPU, Heard, desk, params, photos, run_through
from tests.training.zoo import BROKEN, HEALTHY, Member, Nobody, run_wild, run_wild_in_a_child


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_is_stopped_for_the_right_reason(name: str) -> None:
    member, keeper = BROKEN[name], Nobody()
    assert member.reason
    with pytest.raises(TrainingFailed, match=f"^{member.reason}: ") as failed:
        member.train(keeper)
    assert failed.value.exit_code == 11
    assert ADVICE[member.reason] in failed.value.advice
    assert keeper.trouble.reason == member.reason
    assert keeper.trouble.values.keys() >= ({member.symptom} if member.symptom else set())


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_is_not_stopped(name: str) -> None:
    member = HEALTHY[name]
    assert member.train().step == member.steps


def test_a_collapse_names_its_category_alone() -> None:
    keeper = Nobody()
    with pytest.raises(TrainingFailed, match="pictures of 'mug' are all alike"):
        BROKEN["one category that is constant"].train(keeper)
    assert keeper.trouble.values["mug"] < 0.01
    assert min(keeper.trouble.values["hat"], keeper.trouble.values["shoe"]) > 0.2


@pytest.mark.parametrize("every", [5, 1000])
def test_weights_that_are_numbers_and_draw_none_are_a_trouble_at_a_look_and_at_a_picture(every: int) -> None:
    settings = params("vae-gaussians", watch={"every": every})
    (run,) = settings.runs
    model, keeper = build("vae-gaussians"), Nobody()

    def sample(categories: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return torch.full((len(categories), *model.image.shape), torch.nan)

    model.sample = sample  # type: ignore[method-assign]
    with pytest.raises(TrainingFailed, match=r"^NOT_FINITE: what the model draws holds what is no number"):
        train(model, photos(), run, settings, seed=1, machine=Machine.choose(settings), log=Heard(), keeper=keeper)


def test_a_training_in_trouble_goes_back_and_on_more_slowly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    state = run_wild(tmp_path)
    (setback,) = state.setbacks
    assert (setback.reason, setback.back_to) == ("DIVERGED", 0)
    assert "vae-gaussians: DIVERGED at step 9" in caplog.text
    assert "it goes back to step 0, and on at 0.001 of the rates" in caplog.text
    assert state.step == 30
    require_sound(state)
    assert [path.name for path in tmp_path.glob("weights/*")] == ["vae-gaussians-30.safetensors"]


@pytest.mark.parametrize("place", ["train.rewound:1", "train.step:20"])
def test_a_training_killed_amid_a_setback_ends_the_same(place: str, tmp_path: Path) -> None:
    exitcode = run_wild_in_a_child(tmp_path / "killed", f"{place}:kill")
    assert exitcode == -signal.SIGKILL
    straight, resumed = run_wild(tmp_path / "straight"), run_wild(tmp_path / "killed")
    mine, theirs = straight.tensors(), resumed.tensors()
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert straight.facts() == resumed.facts()


def test_a_training_that_no_setback_helps_fails_with_all_that_shows_why(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="it had gone back 2 times, DIVERGED at step 9, DIVERGED at step 9") as failed:
        run_wild(tmp_path, slow_down=0.9, retries=2)
    assert failed.value.where == "vae-gaussians, step 9, phase 'autoencoder'"
    evidence = json.loads((tmp_path / "failure.json").read_text())
    assert (evidence["reason"], evidence["phase"], len(evidence["setbacks"])) == ("DIVERGED", "autoencoder", 2)
    assert evidence["since"] <= evidence["step"] == 9
    assert float(evidence["values"]["weight_growth"]) > 2.5
    header, *rows = csv.reader((tmp_path / "failure.csv").read_text().splitlines())
    assert header[:2] == ["step", "autoencoder/reconstruction"]
    assert [row[0] for row in rows] == ["4", "8", "9"]
    for name in ("failure-curves.png", "failure-samples.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 60
    assert not list(tmp_path.glob("weights/*"))


def test_a_training_goes_back_to_before_its_trouble_began_and_further_each_time(tmp_path: Path) -> None:
    settings = params("gan")
    run_through(tmp_path, settings)  # leaves states at the steps 0, 27, 36 and 40
    keeper, state = desk(tmp_path, settings), TrainState.begin(build("gan"))
    for back, before, found in ((1, 40, 40), (1, 39, 36), (1, 30, 27), (2, 39, 27), (3, 39, 0), (9, 40, 0), (1, 26, 0)):
        assert keeper.rewind(state, back, before)
        assert state.step == found


@pytest.mark.parametrize("where", ["model", "average", "buffer", "optimizer"])
def test_nothing_is_kept_that_is_no_number(where: str) -> None:
    state = replace(HEALTHY["gan"], steps=2).train()
    require_sound(state)
    slots = next(iter(state.optimizers["critic"].state.values()))
    broken = {
        "model": next(state.model.parameters()),
        "average": next(state.average.parameters()),
        "buffer": next(buffer for buffer in state.model.buffers() if buffer.is_floating_point()),
        "optimizer": slots["exp_avg_sq"],
    }[where]
    broken.data[(0,) * broken.ndim] = float("inf")
    with pytest.raises(Trouble, match="NOT_FINITE"):
        require_sound(state)


@pytest.mark.parametrize("name", SMALL)
def test_a_look_leaves_everything_as_it_was_and_sees_the_same_twice(name: str) -> None:
    model = build(name)
    model.train()
    torch.manual_seed(3)
    chances = torch.get_rng_state()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    looks = Looks(photos())
    first, second = (looks.look(model, looks.judged) for _ in range(2))
    assert first == second
    assert set(first.each) == {0, 1, 2}
    assert torch.equal(torch.get_rng_state(), chances)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


def test_diversity_is_one_where_photos_themselves_are_drawn_and_none_where_one_is_drawn_always() -> None:
    looks, model = Looks(photos()), build("gan")
    rows = torch.arange(96).view(-1, 3).T[:, :DRAWN].flatten()
    real = looks.photos.at(rows.numpy()).images
    model.sample = lambda categories, seeds, conditions=None: real  # type: ignore[method-assign]
    assert all(0.7 < value < 1.3 for value in looks.look(model, (0, 1, 2)).each.values())
    model.sample = lambda categories, seeds, conditions=None: real[:1].expand(len(real), -1, -1, -1)  # type: ignore[method-assign]
    assert looks.look(model, (0, 1, 2)).each == {0: 0.0, 1: 0.0, 2: 0.0}


def test_nothing_is_said_of_a_category_with_few_photos_or_with_photos_that_are_all_alike() -> None:
    split = toy_split(3 * ENOUGH - 1)  # the last category is one photo short
    split.images[split.categories == 0] = 128
    assert Looks(Photos.resident(split, (), CPU)).judged == [1]


def test_many_categories_take_turns_and_suspects_come_first() -> None:
    looks = Looks(photos())
    looks.judged, looks.spreads = list(range(40)), dict.fromkeys(range(40), 1.0)
    assert looks.choose(0, []) == list(range(16))
    assert looks.choose(1, [3, 5])[:4] == [3, 5, 16, 17]
    seen = {category for number in range(5) for category in looks.choose(number, [])}
    assert seen == set(range(40))
    assert max(len(looks.choose(number, [])) for number in range(9)) == 16


def test_what_the_watch_remembers_stays_bounded() -> None:
    state = Member("vae-gaussians", steps=300, batch_size=2, model={"latent": 2, "width": 4}).train()
    windows, turns = state.watched["autoencoder.windows"], state.watched["autoencoder.turns"]
    assert len(windows) == 1 + 299 // 15
    assert len(turns) == 299 % 15
