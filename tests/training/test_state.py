"""The state's arithmetic: the average, the rates, the batches."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from packshot.images.shards import Split
from packshot.models.base import Optimizer
from packshot.training.batches import Photos
from packshot.training.state import TrainState, learning_rate
from tests.models.families import CONDITIONS, build, toy_conditions
from tests.training.runs import CPU, photos


def test_the_average_is_the_exponential_one_with_a_ramp() -> None:
    state = TrainState.begin(build("gan"))
    phase = next(phase for phase in state.model.phases() if phase.averaged)
    weight = state.model.get_parameter("generator.begin.weight")
    expected = np.zeros(weight.shape)
    rng = torch.Generator().manual_seed(0)
    for turn in range(30):
        weight.data.normal_(generator=rng)
        half_life = min(phase.half_life, 0.05 * turn * 64)
        keep = 0.5 ** (64 / half_life) if half_life else 0.0
        expected = keep * expected + (1 - keep) * weight.double().numpy()
        state.follow(phase, turn * 64, 64)
    np.testing.assert_allclose(state.average.get_parameter("generator.begin.weight").numpy(), expected, atol=1e-6)


def test_an_average_halves_what_it_held_in_its_half_life() -> None:
    state = TrainState.begin(build("gan"))
    phase = next(phase for phase in state.model.phases() if phase.averaged)
    mean, weight = state.average.get_parameter("generator.begin.weight"), state.model.get_parameter("generator.begin.weight")
    mean.data.fill_(1.0)
    weight.data.fill_(0.0)
    for turn in range(100):
        state.follow(phase, 10_000_000 + 100 * turn, 100)
    assert float(mean[0, 0]) == pytest.approx(0.5, abs=1e-5)


def test_the_rate_warms_up_then_follows_half_a_cosine() -> None:
    settings = Optimizer(2.0, (0.9, 0.99), warmup_steps=10, final_share=0.1)
    rates = [learning_rate(settings, turn, 1010) for turn in range(1010)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[510] == pytest.approx(0.2 + 1.8 / 2)
    assert rates[-1] == pytest.approx(0.2, abs=1e-4)
    assert all(later <= earlier for earlier, later in pairwise(rates[9:]))
    assert learning_rate(settings, 0, 3) == pytest.approx(2.0)
    assert math.isfinite(learning_rate(settings, 0, 1))


def test_an_epoch_shows_every_photo_once_and_the_next_in_another_order() -> None:
    data = photos(96)
    rows = torch.cat([data.batch(1, step, 16, flips=True).rows for step in range(12)])
    assert sorted(rows[:96].tolist()) == sorted(rows[96:].tolist()) == list(range(96))
    assert rows[:96].tolist() != rows[96:].tolist()


@pytest.mark.parametrize("size", [7, 96, 250])
def test_batches_of_any_size_follow_without_a_gap(size: int) -> None:
    data = photos(96)
    rows = torch.cat([data.batch(3, step, size, flips=False).rows for step in range(6)])
    assert all(len(set(rows[start : start + 96].tolist())) == 96 for start in range(0, len(rows) - 95, 96))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    data = photos(96)
    later = data.batch(1, 5, 16, flips=True)
    data.batch(1, 0, 16, flips=True)
    again = data.batch(1, 5, 16, flips=True)
    assert torch.equal(later.images, again.images)
    assert torch.equal(later.flipped, again.flipped)
    assert not torch.equal(later.rows, data.batch(2, 5, 16, flips=True).rows)


def test_a_batch_holds_the_photos_that_it_names_mirrored_where_it_says_so() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    categories = rng.integers(0, 5, 40)
    names = tuple(map(str, range(40)))
    data = Photos.resident(Split(images, categories, names, names), (), CPU)
    batch = data.batch(4, 2, 32, flips=True)
    assert 4 < int(batch.flipped.sum()) < 28
    for image, category, row, flipped in zip(batch.images, batch.categories, batch.rows, batch.flipped, strict=True):
        stored = images[row][:, :, ::-1] if flipped else images[row]
        np.testing.assert_array_equal(((image + 1) * 127.5).round().byte().numpy(), stored)
        assert int(category) == categories[row]
    assert not bool(data.batch(4, 2, 32, flips=False).flipped.any())


def test_every_photo_is_handed_over_plain_and_then_mirrored() -> None:
    data = photos(300)
    parts = list(data.every(flips=True))
    rows = torch.cat([part.rows for part in parts])
    flipped = torch.cat([part.flipped for part in parts])
    assert rows.tolist() == [*range(300), *range(300)]
    assert flipped.tolist() == [False] * 300 + [True] * 300
    assert max(len(part.rows) for part in parts) <= 256
    assert sum(len(part.rows) for part in data.every(flips=False)) == 300


def test_each_attribute_of_a_batch_is_left_unsaid_now_and_then_by_seed_and_step_alone() -> None:
    data = photos(96, conditions=CONDITIONS)
    whole = toy_conditions(96)
    forgotten = []
    for step in range(40):
        batch, again = data.batch(3, step, 64, flips=True), data.batch(3, step, 64, flips=True)
        assert batch.conditions is not None
        assert again.conditions is not None
        assert torch.equal(batch.conditions, again.conditions)
        full = whole[batch.rows]
        for start in (0, 2):  # a word and a number: said as they are, or not at all
            said, truth = batch.conditions[:, start : start + 2], full[:, start : start + 2]
            kept = (said == truth).all(dim=1)
            assert bool((kept | ~said.any(dim=1)).all())
            forgotten.append((~kept[truth.any(dim=1)]).float().mean())
    assert 0.27 < float(torch.stack(forgotten).mean()) < 0.33
    plain = photos(96).batch(3, 0, 64, flips=True)
    assert plain.conditions is None
    assert torch.equal(plain.rows, data.batch(3, 0, 64, flips=True).rows)
    told = torch.cat([batch.conditions for batch in data.every(flips=False) if batch.conditions is not None])
    assert torch.equal(told, whole)
