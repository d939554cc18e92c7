"""Each symptom, worked out by hand from a few windows."""

from __future__ import annotations

import math
from dataclasses import astuple
from statistics import median_low

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from packshot.training import symptoms
from packshot.training.symptoms import CERTAIN, NOTHING, SETTLED, SIGNALS, SUSTAINED, Window


def window(
    *,
    step: int = 0,
    loss: float = 1.0,
    noise: float = 0.0,
    gradient_norm: float = 1.0,
    real: float = 1.0,
    drawn: float = 0.0,
    wins: float = 1.0,
    active_units: float = NOTHING,
    weight_norm: float = 1.0,
    moved: bool = True,
) -> Window:
    return Window(step, loss, noise, gradient_norm, real, drawn, wins, active_units, weight_norm, float(moved))


def norms(*values: float) -> list[Window]:
    """Windows in which only the gradient changes; the critic is wrong in some pairs."""
    return [window(gradient_norm=value, wins=0.9) for value in values]


def losses(*values: float, noise: float = 0.0) -> list[Window]:
    return [window(loss=value, noise=noise) for value in values]


def gaps(*values: float, wins: float = 1.0) -> list[Window]:
    return [window(real=value, wins=wins) for value in values]


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(*[numbers] * 6), min_size=1, max_size=9))
def test_a_window_holds_the_medians_of_its_turns_and_the_first_ones_step(turns: list[tuple[float, ...]]) -> None:
    packed = torch.tensor([(100 + row, *turn) for row, turn in enumerate(turns)], dtype=torch.float64)
    found = symptoms.close_window(packed, 3.5, moved=False)
    loss, norm, *signals = (median_low(column) for column in zip(*turns, strict=True))
    assert (found.step, found.loss, found.gradient_norm) == (100, loss, norm)
    assert [getattr(found, name) for name in SIGNALS] == signals
    assert found.noise == median_low(abs(turn[0] - loss) for turn in turns)
    assert (found.weight_norm, found.moved) == (3.5, 0.0)
    assert found.gap == found.real - found.drawn


def test_windows_are_packed_and_unpacked_bit_for_bit() -> None:
    windows = [window(step=2**40, loss=1 / 3, active_units=2.0), window(moved=False)]
    packed = symptoms.pack_windows(windows)
    assert packed.dtype == torch.float64
    assert packed.shape == (2, len(astuple(windows[0])))
    assert symptoms.unpack_windows(packed) == windows, "what a phase does not give is equal too"


def test_weights_grow_from_one_window_to_the_next() -> None:
    grown = [window(weight_norm=value) for value in (7.0, 2.0, 5.0)]
    assert symptoms.weight_growth(grown) == 2.5
    assert symptoms.weight_growth(grown[:2]) == 2 / 7
    assert symptoms.weight_growth(grown[:1]) == 1.0
    assert symptoms.weight_growth([window(weight_norm=0.0), window()]) == 1.0


def test_a_gradient_is_measured_by_the_largest_of_the_older_half_before_the_last_windows() -> None:
    before = norms(1.0, 4.0, 2.0, 50.0, 60.0, 70.0)
    assert len(before) == SETTLED
    assert symptoms.gradient_growth([*before, *norms(12.0, 8.0)]) == 8 / 4
    assert symptoms.gradient_growth([*before, *norms(12.0, 800.0)]) == 12 / 4, "both must agree"
    assert symptoms.gradient_growth([*before[1:], *norms(12.0, 8.0)]) == 1.0, "what it was is no measure yet"
    assert symptoms.gradient_growth(norms(*[0.0] * SETTLED, 1.0, 1.0)) == math.inf
    assert symptoms.gradient_growth(norms(*[0.0] * SETTLED, 0.0, 0.0)) == 1.0


def test_so_is_a_loss_in_size() -> None:
    before = losses(1.0, -4.0, 2.0, 50.0, 60.0, 70.0)
    assert symptoms.loss_growth([*before, *losses(-12.0, 8.0)]) == 8 / 4
    assert symptoms.loss_growth([*before[1:], *losses(-12.0, 8.0)]) == 1.0
    assert symptoms.loss_growth(losses(*[0.0] * SETTLED, 1.0, 1.0)) == math.inf


def test_progress_is_lost_in_shares_of_what_was_gained_over_the_first_turn() -> None:
    gained = losses(10.0, 6.0, 2.0, noise=1.0)
    assert symptoms.lost_progress([*gained, *losses(6.0, 7.0)]) == (6 - 2) / (10 - 2)
    assert symptoms.lost_progress([*gained, *losses(12.0, 11.0)]) == (11 - 2) / (10 - 2)
    assert symptoms.lost_progress([*gained, *losses(2.0, 90.0)]) == 0.0, "both must agree"
    assert symptoms.lost_progress([*losses(10.0, 6.0, 2.0, noise=1.6), *losses(90.0, 90.0)]) == 0.0, "a gain in the noise is none"
    assert symptoms.lost_progress(losses(10.0, 2.0, 90.0)) == 0.0, "too few windows to agree"
    assert symptoms.lost_progress(losses(*range(20, 0, -1))) == 0.0, "one that learns on has its last window for its best"


def test_a_critic_wins_by_the_narrowest_of_its_last_gaps_where_they_do_not_shrink() -> None:
    assert symptoms.winning_gap(gaps(99.0, 10.0, 11.0, 12.0)) == 10.0
    assert symptoms.winning_gap(gaps(1.0, 10.0, 9.0, 8.0)) == 8.0
    assert symptoms.winning_gap(gaps(1.0, 10.0, 9.0, 7.9)) == 0.0, "its generator catches up"
    assert symptoms.winning_gap([*gaps(1.0, 10.0, 11.0), *gaps(12.0, wins=0.98)]) == 0.0
    assert symptoms.winning_gap(gaps(*[10.0] * CERTAIN)) == 0.0, "its first turn does not count"


def test_a_generator_starves_where_its_gradient_is_gone_and_the_critic_is_always_right() -> None:
    sure, fed = gaps(*[5.0] * 7), norms(2.0, 6.0, 3.0, 90.0, 0.25, 0.5, 0.125)
    assert symptoms.starvation(sure, fed) == 6 / 0.5
    assert symptoms.starvation([*sure[:-1], *gaps(5.0, wins=0.9)], fed) == 0.0
    assert symptoms.starvation(sure, fed[:CERTAIN]) == symptoms.starvation(sure[:CERTAIN], fed) == 0.0
    assert symptoms.starvation(sure, norms(2.0, 6.0, 3.0, 90.0, 0.0, 0.0, 0.0)) == math.inf


def test_a_critic_is_as_wrong_as_in_the_best_of_its_last_windows() -> None:
    poor = [window(wins=value) for value in (1.0, 0.125, 0.25, 0.0)]
    assert symptoms.wrongness(poor) == 0.75
    assert symptoms.wrongness(poor[1:]) == 0.0, "too few windows to agree"


def test_a_critic_is_numb_where_its_gradient_is_gone_its_weights_stand_or_it_scores_all_alike() -> None:
    assert symptoms.numbness(norms(2.0, 6.0, 3.0, 0.5, 0.25)) == 6 / 0.5
    assert symptoms.numbness(norms(2.0, 6.0)) == 1.0
    stands = window(gradient_norm=1.0, wins=0.9, moved=False)
    assert symptoms.numbness([*norms(1.0, 1.0), stands, stands]) == math.inf
    assert symptoms.numbness([*norms(1.0, 1.0, 1.0), stands]) == 1.0, "both must agree"
    alike = window(real=0.5, drawn=0.5, wins=0.5)
    assert symptoms.numbness([*norms(1.0, 1.0), alike, alike]) == math.inf
    assert symptoms.numbness([*norms(1.0, 1.0, 1.0), alike]) == 1.0
    assert symptoms.numbness([*norms(2.0, 6.0, 3.0), *[window(gradient_norm=1e-9)] * SUSTAINED]) == 1.0, "right in every pair"


@pytest.mark.parametrize(("last", "share"), [((8.0, 2.0, 0.0), 2 / 8), ((8.0, 0.0, 4.0), 4 / 8), ((0.0,), 0.0)])
def test_latents_that_speak_are_counted_in_the_best_of_the_last_windows(last: tuple[float, ...], share: float) -> None:
    assert symptoms.active_share([window(active_units=value) for value in last], 8) == share
