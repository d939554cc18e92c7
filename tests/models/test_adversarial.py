"""The games that a generator and its critic play, against torch's own losses and closed forms."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, hinge_embedding_loss

from packshot.models import gan
from packshot.models.adversarial import (
    compare_scores,
    critic_loss,
    critic_objective,
    generator_loss,
    generator_objective,
    penalty_loss,
    recognition_loss,
)
from packshot.models.base import Batch
from packshot.models.blocks import ComparingCritic, Critic, NormalisedCritic, ResizedConvolution
from packshot.models.config import Game
from packshot.records import ImageSpec
from tests.models.families import CATEGORIES, IMAGE, toy_batch

GAMES = get_args(Game)


def _scores() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return 3 * torch.randn(50, generator=rng), 3 * torch.randn(50, generator=rng)


def test_the_cross_entropies_are_torchs() -> None:
    real, drawn = _scores()
    ones, zeros = torch.ones(50), torch.zeros(50)
    told_apart = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(drawn, zeros)
    for game in ("bce", "non_saturating"):
        torch.testing.assert_close(critic_objective(game, real, drawn), told_apart)
    torch.testing.assert_close(generator_objective("non_saturating", drawn, real), binary_cross_entropy_with_logits(drawn, ones))
    torch.testing.assert_close(generator_objective("bce", drawn, real), -binary_cross_entropy_with_logits(drawn, zeros))


def test_the_minimax_generator_hardly_moves_while_the_critic_is_sure_and_the_other_one_does() -> None:
    drawn = torch.full((1,), -9.0, requires_grad=True)
    slopes = {
        game: float(torch.autograd.grad(generator_objective(game, drawn, drawn.detach()), drawn)[0])
        for game in ("bce", "non_saturating")
    }
    assert slopes["bce"] == pytest.approx(-1 / (1 + math.exp(9.0)), rel=1e-3)
    assert slopes["non_saturating"] == pytest.approx(-1.0, abs=1e-3)


def test_the_hinge_is_torchs_and_has_nothing_to_gain_beyond_one() -> None:
    real, drawn = _scores()
    short = [hinge_embedding_loss(scores, -torch.ones(50), margin=1.0) for scores in (real, -drawn)]
    torch.testing.assert_close(critic_objective("hinge", real, drawn), short[0] + short[1])
    assert float(critic_objective("hinge", torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -3.0]))) == 0
    torch.testing.assert_close(generator_objective("hinge", drawn, real), -drawn.mean())


def test_only_the_relativistic_game_is_blind_to_where_scores_lie() -> None:
    real, drawn = _scores()
    for game in GAMES:
        here, there = (critic_objective(game, real + shift, drawn + shift) for shift in (0.0, 2.0))
        assert torch.allclose(here, there, atol=1e-5) == (game == "relativistic")


@pytest.mark.parametrize("game", GAMES)
def test_the_critic_wants_photos_above_drawn_pictures_and_the_generator_wants_these_higher(game: Game) -> None:
    real, drawn = (scores.requires_grad_() for scores in _scores())
    up, down = torch.autograd.grad(critic_objective(game, real, drawn), (real, drawn))
    assert float(up.max()) <= 0 <= float(down.min())
    (rise,) = torch.autograd.grad(generator_objective(game, drawn, real.detach()), drawn)
    assert float(rise.max()) < 0


def test_the_signals_are_mean_scores_and_the_share_of_pairs_won() -> None:
    told = compare_scores(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 5.0, 3.0, 1.0]))
    assert {name: float(value) for name, value in told.items()} == {"real": 2.5, "drawn": 2.25, "wins": 0.5}


class _Sum:
    """A critic that sums a picture's pixels, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Tensor, categories: Tensor, conditions: Tensor | None) -> Tensor:
        self.asked += 1
        return images.sum(dim=(1, 2, 3))


def _halved(images: Tensor, batch: Batch) -> Tensor:
    return images / 2


def test_whatever_a_critic_sees_is_augmented() -> None:
    batch, critic = toy_batch(4), _Sum()
    drawn = batch.images.flip(0)
    real_scores = batch.images.sum(dim=(1, 2, 3)) / 2
    drawn_scores = real_scores.flip(0)
    wanted = critic_objective("relativistic", real_scores, drawn_scores)
    torch.testing.assert_close(critic_loss(critic, batch, drawn, augment=_halved).total, wanted)
    found = generator_loss(critic, batch, drawn, augment=_halved, game="hinge")
    torch.testing.assert_close(found, -drawn_scores.mean())
    assert critic.asked == 3  # photos are scored where the game compares with them, and not otherwise


@pytest.mark.parametrize("kind", [Critic, ComparingCritic, NormalisedCritic])
def test_a_picture_scores_as_its_own_category_what_the_critic_says_of_it(kind: type[Critic]) -> None:
    batch = toy_batch(12, conditions=True)
    critic = kind(IMAGE, len(CATEGORIES), 8, 4).eval()
    every = critic.score_every(batch.images, batch.categories, batch.conditions)
    own = every.gather(1, batch.categories[:, None]).squeeze(1)
    torch.testing.assert_close(own, critic(batch.images, batch.categories, batch.conditions), atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        every, own = (see(batch.images, batch.categories, batch.conditions) for see in (critic.score_every, critic))
    assert every.dtype == own.dtype == torch.float32
    torch.testing.assert_close(every.gather(1, batch.categories[:, None]).squeeze(1), own, atol=1e-5, rtol=1e-4)


def test_recognition_is_the_cross_entropy_of_the_scores_and_blind_to_what_categories_share() -> None:
    every, categories = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    chosen = torch.distributions.Categorical(logits=every).log_prob(categories)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(recognition_loss(every, categories), -chosen.mean())
    torch.testing.assert_close(recognition_loss(every + torch.randn(7, 1), categories), -chosen.mean())


def test_the_second_penalty_is_there_where_pictures_are_given() -> None:
    batch = toy_batch(4)

    class Square(_Sum):
        def __call__(self, images: Tensor, categories: Tensor, conditions: Tensor | None) -> Tensor:
            return images.square().sum(dim=(1, 2, 3)) / 2

    both = penalty_loss(Square(), batch, 3 * batch.images, augment=_halved, weight=2.0).terms
    slope = (batch.images / 2).square().sum(dim=(1, 2, 3)).mean()  # of half a sum of squares: the picture itself
    torch.testing.assert_close(both["r1"], slope)
    torch.testing.assert_close(both["r2"], 9 * slope)
    assert penalty_loss(Square(), batch, None, augment=_halved, weight=2.0).terms.keys() == {"r1"}


def test_a_gan_without_a_penalty_has_no_such_phase_and_one_with_adas_tells_its_strength() -> None:
    plain = gan.Config(latent=4, width=4, penalty=0.0).build(IMAGE, CATEGORIES)
    assert [phase.name for phase in plain.phases()] == ["critic", "generator"]
    told = gan.Config(latent=4, width=4, augment=gan.Adaptive(images=100, every=1, target=-1.0)).build(IMAGE, CATEGORIES)
    assert [phase.name for phase in told.phases()] == ["critic", "penalty", "generator"]
    strengths = [float(told.phases()[0].loss(toy_batch(20)).signals["augmentation"]) for _ in range(3)]
    assert strengths == pytest.approx([0.0, 0.2, 0.4])


def test_a_resized_convolution_is_that_of_the_enlarged_grid() -> None:
    layer, grid = ResizedConvolution(5, 7), torch.randn(2, 5, 6, 6)
    large = torch.nn.functional.interpolate(grid, scale_factor=2.0, mode="nearest")
    kernel = layer.weight.transpose(0, 1).flip(-1, -2)  # a transposed convolution turns its kernel round
    torch.testing.assert_close(
        layer(grid), torch.nn.functional.conv2d(large, kernel, layer.bias, padding=1), atol=1e-5, rtol=1e-4
    )


def test_dcgans_critic_normalises_every_level_but_the_first() -> None:
    critic = NormalisedCritic(ImageSpec(size=32), 3, 8)
    assert len(critic.norms) == len(critic.layers) - 1 == 2
    seen: list[Tensor] = []
    critic.norms[-1].register_forward_hook(lambda module, given, made: seen.append(made))
    critic(5 * torch.randn(16, 3, 32, 32) + 2, torch.zeros(16, dtype=torch.int64))
    torch.testing.assert_close(seen[0].mean(dim=(0, 2, 3)), torch.zeros(32), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0].var(dim=(0, 2, 3), correction=0), torch.ones(32), atol=1e-2, rtol=0)
