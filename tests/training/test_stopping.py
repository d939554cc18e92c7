"""Measuring a model while it trains, and stopping once it gets no better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import TrainingFailed, UsageError
from packshot.evaluation.dev import DevJudge
from packshot.evaluation.kid import kernel_distance
from packshot.evaluation.protocol import ExtractorParams
from packshot.evaluation.scoring import draw
from packshot.models.base import ImageModel
from packshot.records import Dataset, Estimate
from packshot.training.params import DevParams, TrainParams
from packshot.training.progress import curves_csv
from packshot.training.state import Scoring, TrainState
from packshot.training.stopping import Scores
from tests.children import forkserver
from tests.models.families import CATEGORIES, IMAGE, build, toy_pixels, toy_split
from tests.training.kills import Trial, digest, killed, run_child
from tests.training.runs import Heard, params, run_through

PHOTOS = (toy_pixels(48, seed=9)[0].float() / 127.5 - 1).mean(dim=0)


@dataclass
class Nearness:
    """A judge that is quick: how far the mean picture is from the photos' mean, which falls while a model learns."""

    metric: str = "kid"
    higher_is_better: bool = False
    digest: str = "e" * 64

    def measure(self, model: ImageModel) -> Estimate:
        drawn = model.sample(torch.arange(48) % 3, range(48))
        value = float((drawn.mean(dim=0) - PHOTOS).square().mean())
        return Estimate(value=value, low=value - 0.001, high=value + 0.001, n=48)


@dataclass
class Dictated:
    """A judge whose answers are known beforehand."""

    answers: Sequence[float | None]
    metric: str = "coverage"
    higher_is_better: bool = True
    digest: str = "f" * 64
    times: int = 0

    def measure(self, model: ImageModel) -> Estimate:
        self.times += 1
        value = self.answers[self.times - 1]
        note = "" if value is not None else "a picture is no picture"
        return Estimate(value=value, low=value, high=value, n=9) if value is not None else Estimate(value=None, note=note)


def dev(**settings: object) -> DevParams:
    return DevParams.model_validate({"every": 0.1, "patience": 2, "minimum": 0.5, **settings})


def scores(settings: DevParams, *, higher: bool = True, steps: int = 100, mature: int = 0) -> Scores:
    return Scores(Dictated((), higher_is_better=higher), settings, "run", steps, mature)


def _scorings(values: Sequence[float], error: float = 0.0) -> list[Scoring]:
    return [Scoring(step=10 * (index + 1), value=value, error=error) for index, value in enumerate(values)]


# --- when, and what follows


def test_a_run_is_measured_at_even_shares_once_it_is_mature_and_at_its_end() -> None:
    due = [step for step in range(1, 101) if scores(dev(every=0.3), mature=40).due(step)]
    assert due == [60, 90, 100]
    assert [step for step in range(1, 8) if scores(dev(every=0.05), steps=7).due(step)] == [1, 2, 3, 4, 5, 6, 7]
    assert not any(Scores(None, None, "run", 100, 0).due(step) for step in range(1, 101))


def test_it_stops_after_so_many_looks_without_a_gain_and_not_before_its_minimum() -> None:
    told = scores(dev(patience=2, minimum=0.5))
    rising_then_flat = [1.0, 2.0, 2.0, 2.0, 2.0]
    assert [told.stalled(_scorings(rising_then_flat[:count])) for count in range(6)] == [False] * 5 + [True]
    patient = scores(dev(patience=4, minimum=0.0))
    assert not patient.stalled(_scorings(rising_then_flat))
    assert patient.stalled(_scorings([*rising_then_flat, 1.9]))
    assert not scores(dev(patience=None, minimum=0.0)).stalled(_scorings([1.0] * 50))


def test_a_gain_within_the_noise_is_none_and_many_small_ones_add_up() -> None:
    told = scores(dev(patience=3, minimum=0.0))
    assert told.stalled(_scorings([1.0, 1.05, 1.02, 1.08], error=0.1))
    slow = _scorings([1.0 + 0.04 * index for index in range(30)], error=0.1)
    assert not any(told.stalled(slow[:count]) for count in range(30))
    slower = _scorings([1.0 + 0.02 * index for index in range(30)], error=0.1)
    assert next(count for count in range(30) if told.stalled(slower[:count])) == 4


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(0, 1))
def test_lower_is_better_is_the_same_upside_down(values: list[float], error: float) -> None:
    up, down = _scorings(values, error), _scorings([-value for value in values], error)
    settings = dev(minimum=0.0)
    higher, lower = scores(settings, higher=True), scores(settings, higher=False)
    assert higher.stalled(up) == lower.stalled(down)
    assert higher.best(up).step == lower.best(down).step


# --- in a training


def settings_of(name: str = "vae-gaussians", **changes: object) -> TrainParams:
    return params(name, steps=60, **{"checkpoints": 1, "dev": dev(), **changes})


def kept(state: TrainState) -> list[int]:
    return [one.step for one in state.kept]


def test_the_curves_have_the_scores_at_their_steps(tmp_path: Path) -> None:
    heard = Heard()
    state = run_through(tmp_path, settings_of(dev=dev(patience=None)), heard, judge=Nearness())
    told = {step: value for (name, step), value in heard.values.items() if name == "dev/kid"}
    assert list(told) == [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    assert [(scoring.step, scoring.value) for scoring in state.scorings] == list(told.items())
    assert told[60] < told[6]
    assert "dev/kid" in curves_csv(state.history).splitlines()[0].split(",")
    assert kept(state) == [60], "measured only: nothing else is kept for it"


def test_measuring_changes_nothing_of_what_is_learnt(tmp_path: Path) -> None:
    settings = {"steps": 20, "checkpoints": 1, "picture_every": 1000}
    measured = run_through(tmp_path / "a", params("gan", dev=dev(patience=None), **settings), judge=Nearness()).model.state_dict()
    plain = run_through(tmp_path / "b", params("gan", **settings)).model.state_dict()
    assert all(torch.equal(tensor, measured[name]) for name, tensor in plain.items())


def test_a_run_that_gets_no_better_ends_early_with_its_best_weights_and_its_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard = Heard()
    state = run_through(tmp_path, settings_of(), heard, judge=Dictated((0.1, 0.3, 0.7, 0.5, 0.6, 0.7, 0.9)))
    assert state.step == 30, "the minimum; the third look was the best"
    assert kept(state) == [18, 30]
    assert {path.name for path in tmp_path.glob("weights/*")} == {"vae-gaussians-18.safetensors", "vae-gaussians-30.safetensors"}
    assert heard.pictures.keys() >= {("samples", 30)}
    assert state.history[-1].step == 30
    assert "stops after step 30 of 60: it gets no better; its best dev/coverage was 0.7, after step 18" in caplog.text
    again = run_through(tmp_path, settings_of(), judge=Dictated(()))
    assert again.facts() == state.facts(), "what ended early has ended"


def test_the_best_weights_are_let_go_for_better_ones_but_planned_ones_stay(tmp_path: Path) -> None:
    judge = Dictated((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 0.8, 0.8))
    # No state that is left, those of the steps 0, 52, 56 and 60, could go back to when others were the best.
    state = run_through(tmp_path, settings_of(checkpoints=2, save_every=4), judge=judge)
    assert kept(state) == [30, 48, 60]
    assert sorted(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("weights/*")) == [30, 48, 60]


def test_it_is_not_measured_before_its_samples_mean_something(tmp_path: Path) -> None:
    state = run_through(tmp_path, settings_of("vae-flow"), judge=Nearness())
    assert state.scorings[0].step > 60 * state.model.matures > 30


def test_a_model_that_cannot_be_measured_is_in_trouble(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="cannot be measured: a picture is no picture"):
        run_through(tmp_path, settings_of(), judge=Dictated((None,) * 9))


@dataclass(frozen=True, slots=True)
class Measured(Trial):
    """A training that is measured, and may end early."""

    @property
    def settings(self) -> TrainParams:
        return settings_of(self.family, save_every=7, dev=dev(patience=1, minimum=0.3))

    def run(self, folder: Path, heard: Heard | None = None) -> TrainState:
        return run_through(folder, self.settings, heard, judge=Nearness())


def test_a_killed_run_that_is_measured_ends_in_the_same_bytes(tmp_path: Path) -> None:
    context, trial = forkserver(), Measured("gan")
    assert run_child(context, tmp_path / "straight", trial) == 0
    for place in ("train.step:17", "train.kept:2"):
        folder = tmp_path / place.partition(":")[0]
        assert killed(run_child(context, folder, trial, f"{place}:kill"))
        assert run_child(context, folder, trial) == 0
        assert digest(folder) == digest(tmp_path / "straight")


# --- the judge of the stage


def _judge(tmp_path: Path, metric: str, val: int = 60) -> DevJudge:
    dataset = Dataset(image=IMAGE, categories=CATEGORIES, splits=(), catalog="c" * 64, digest="d" * 64)
    extractor = ExtractorParams(epochs=1, width=4, seed=1)
    training, held_out = toy_split(96), toy_split(val)
    return DevJudge.gather(metric, dataset, training, held_out, samples=60, seed=3, extractor=extractor, cache=tmp_path)


def test_the_judge_measures_against_the_photos_of_the_dev_split(tmp_path: Path) -> None:
    judge = _judge(tmp_path, "kid")
    model = build("gan")
    asked = np.array([0, 1, 2] * 20)
    drawn = judge.real.catalog.see(draw(model, asked, range(3, 63)))
    photos = judge.real.catalog.see(toy_split(60).images)
    scale = np.sqrt(np.mean(np.square(photos)))
    expected = kernel_distance(photos / scale, drawn / scale)
    found = judge.measure(model)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert judge.measure(model) == found
    assert not judge.higher_is_better


def test_the_judges_digest_tells_what_it_measures_with(tmp_path: Path) -> None:
    assert _judge(tmp_path, "kid").digest == _judge(tmp_path, "kid").digest
    assert _judge(tmp_path, "kid").digest != _judge(tmp_path, "coverage").digest


def test_photos_drawn_again_are_measured_where_the_model_encodes(tmp_path: Path) -> None:
    judge = _judge(tmp_path, "psnr")
    assert judge.higher_is_better
    assert (judge.measure(build("vae-gaussians")).value or 0) > 0
    judge.require_measurable(build("vae-gaussians"))
    with pytest.raises(UsageError, match="does not encode photos"):
        judge.require_measurable(build("gan"))


def test_with_too_few_dev_photos_nothing_is_measured(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the split 'val' has 49 photos, fewer than 50"):
        _judge(tmp_path, "kid", val=49)
    with pytest.raises(UsageError, match="models are told no label attribute"):
        _judge(tmp_path, "attribute_consistency")


def test_pixels_that_are_no_numbers_are_withheld_with_the_reason(tmp_path: Path) -> None:
    model = build("gan")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    found = _judge(tmp_path, "kid").measure(model)
    assert found.value is None
    assert "not finite" in found.note
