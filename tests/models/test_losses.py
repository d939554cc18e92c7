"""The losses against closed forms and other implementations."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import nn

from packshot.models.adversarial import gradient_penalty, relativistic_loss
from packshot.models.augment.transforms import translate
from packshot.models.base import Batch
from packshot.models.blocks import ComparingCritic, Critic, peer_deviation
from packshot.models.flow import VectorFlow
from packshot.models.gaussians import ClassGaussians
from packshot.models.vae.losses import calibrated_error, kl_divergence, posterior_sample
from packshot.records import ImageSpec


def _batch(count: int) -> Batch:
    """Photos of which only the number matters."""
    return Batch(torch.zeros(count, 1, 1, 1), torch.zeros(count, dtype=torch.int64), torch.arange(count), torch.zeros(count))


def test_kl_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    oracle = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), oracle)


def test_the_calibrated_error_is_the_likelihood_at_the_best_sigma() -> None:
    drawn, images = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    sigmas = torch.linspace(0.2, 4, 4000)
    errors = (drawn - images).square().mean()
    likelihoods = sigmas.log() + errors / (2 * sigmas.square()) + math.log(2 * math.pi) / 2
    assert float(likelihoods.min()) == pytest.approx(
        float(calibrated_error(drawn, images)) + (1 + math.log(2 * math.pi)) / 2, abs=1e-5
    )
    assert float(sigmas[likelihoods.argmin()]) == pytest.approx(float(errors.sqrt()), abs=2e-3)


def test_posterior_samples_have_the_posteriors_moments() -> None:
    torch.manual_seed(0)
    drawn = posterior_sample(torch.full((200_000, 1), 2.0), torch.full((200_000, 1), math.log(9.0)), _batch(200_000))
    assert float(drawn.mean()) == pytest.approx(2.0, abs=0.03)
    assert float(drawn.std()) == pytest.approx(3.0, abs=0.03)


class _Linear(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: torch.Tensor, categories: torch.Tensor, conditions: None) -> torch.Tensor:
        return (images * self.weight * (1 + categories)[:, None, None, None]).sum(dim=(1, 2, 3))


def test_the_gradient_penalty_of_a_linear_critic_is_half_its_squared_norm() -> None:
    weight = torch.randn(3, 4, 4)
    critic = cast("Critic", _Linear(weight))
    penalty = gradient_penalty(critic, torch.randn(2, 3, 4, 4), torch.tensor([0, 2]))
    norm = float(weight.square().sum())
    assert penalty.item() == pytest.approx((norm + 9 * norm) / 2 / 2, rel=1e-5)
    penalty.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(cast("_Linear", critic).weight.grad, weight * 10 / 2)


def test_a_picture_is_compared_with_the_others_of_its_category_alone() -> None:
    features, categories = torch.randn(7, 12), torch.tensor([0, 1, 0, 2, 0, 1, 0])
    wanted = torch.zeros(7)
    for row in range(7):
        others = [other for other in range(7) if other != row and categories[other] == categories[row]]
        if others:
            wanted[row] = (features[others] - features[row]).square().mean().sqrt()
    torch.testing.assert_close(peer_deviation(features, categories), wanted, atol=1e-3, rtol=1e-3)
    assert peer_deviation(features, categories)[3] == 0
    assert peer_deviation(torch.ones(4, 12), torch.zeros(4, dtype=torch.int64)).max() < 2e-3


def test_peers_that_hardly_differ_are_told_apart_in_low_precision_too() -> None:
    grid = (10 + 0.25 * torch.randn(8, 64, generator=torch.Generator().manual_seed(1))).bfloat16()
    categories = torch.arange(8) % 2
    with torch.autocast("cpu", torch.bfloat16):
        found = peer_deviation(grid, categories)
    torch.testing.assert_close(found, peer_deviation(grid.double(), categories).float(), atol=1e-3, rtol=1e-2)


def test_a_comparing_critic_tells_a_collapsed_category_from_one_that_varies() -> None:
    critic, categories = ComparingCritic(ImageSpec(size=16), 2, 8), torch.zeros(4, dtype=torch.int64)
    images = torch.randn(4, 3, 16, 16)
    collapsed = images[:1].expand(4, -1, -1, -1)
    alone = critic(images[:1], categories[:1])
    torch.testing.assert_close(critic(collapsed, categories)[:1], alone, atol=1e-2, rtol=1e-2)
    assert not torch.allclose(critic(images, categories)[:1], alone, atol=1e-2, rtol=1e-2)


def test_relativistic_pairing_is_antisymmetric_and_log_two_at_a_draw() -> None:
    scores, others = torch.randn(9), torch.randn(9)
    assert float(relativistic_loss(scores, scores)) == pytest.approx(math.log(2))
    wins = relativistic_loss(scores, others) - relativistic_loss(others, scores)
    assert float(wins) == pytest.approx(float((others - scores).mean()), abs=1e-6)


def test_translation_moves_whole_pictures_by_an_eighth_at_most_and_repeats_the_border() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 16, 16)
    moved = translate(images, _batch(64), 1.0)
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    shifts = [(y, x) for y in range(5) for x in range(5)]
    found = set()
    for row in range(64):
        matches = [(y, x) for y, x in shifts if torch.equal(padded[row, :, y : y + 16, x : x + 16], moved[row])]
        assert matches
        found.add(matches[0])
    assert len(found) > 15
    assert torch.equal(translate(images, _batch(64), 0.0), images)
    still = (translate(images, _batch(64), 0.5) == images).flatten(1).all(dim=1).float().mean()
    assert 0.3 < float(still) < 0.75


def test_translation_can_be_differentiated_twice() -> None:
    torch.manual_seed(1)
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def shifted(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return translate(images, _batch(2), 1.0).square()

    assert torch.autograd.gradgradcheck(shifted, images)


def test_class_gaussians_have_the_moments_of_the_posteriors() -> None:
    torch.manual_seed(0)
    count, latent = 20_000, 3
    categories = torch.arange(count) % 2
    means = (
        torch.randn(count, latent) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.2]]) + categories[:, None] * 5.0
    )
    variances = torch.full((count, latent), 0.25)
    prior = ClassGaussians(latent, 2)
    prior.fit(means, variances, categories, torch.zeros(len(means), 0))
    drawn = prior.draw(torch.randn(100_000, latent), torch.ones(100_000, dtype=torch.int64), spread=1.0)
    mine = means[categories == 1]
    torch.testing.assert_close(drawn.mean(dim=0), mine.mean(dim=0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), mine.T.cov() + 0.25 * torch.eye(latent), atol=0.05, rtol=0.02)


def test_a_category_without_enough_photos_borrows_the_shape_of_the_others() -> None:
    torch.manual_seed(0)
    means = torch.cat((torch.randn(500, 4), torch.full((1, 4), 9.0)))
    categories = torch.cat((torch.zeros(500, dtype=torch.int64), torch.ones(1, dtype=torch.int64)))
    prior = ClassGaussians(4, 3)
    prior.fit(means, torch.full((501, 4), 1e-3), categories, torch.zeros(501, 0))
    drawn = prior.draw(torch.randn(2000, 4), torch.ones(2000, dtype=torch.int64), spread=1.0)
    assert 0.7 < float(drawn.std()) < 1.1
    assert float(drawn.mean()) == pytest.approx(9.0, abs=0.1)
    assert bool(prior.draw(torch.randn(5, 4), torch.full((5,), 2), spread=1.0).isfinite().all())


def test_what_is_known_of_attributes_moves_the_gaussians_as_it_moved_the_photos() -> None:
    torch.manual_seed(0)
    count = 20_000
    categories, shade = torch.arange(count) % 2, torch.arange(count) // 2 % 2
    known = torch.arange(count) % 5 != 0
    told = torch.nn.functional.one_hot(shade, 2) * known[:, None]
    number = torch.randn(count)
    told = torch.cat((told, torch.stack((number, torch.ones(count)), dim=1)), dim=1).float()
    moved = shade[:, None] * torch.tensor([4.0, 0.0, 0.0]) + number[:, None] * torch.tensor([0.0, 2.0, 0.0])
    means = torch.randn(count, 3) + categories[:, None] * 5.0 + moved
    prior = ClassGaussians(3, 2, (2, 2))
    prior.fit(means, torch.zeros(count, 3), categories, told)

    def draw(asked: list[float] | None) -> torch.Tensor:
        conditions = None if asked is None else torch.tensor([asked]).expand(50_000, -1)
        return prior.draw(torch.randn(50_000, 3), torch.ones(50_000, dtype=torch.int64), conditions, spread=1.0)

    torch.testing.assert_close(draw([1.0, 0.0, 0.0, 1.0]).mean(dim=0), torch.tensor([5.0, 5.0, 5.0]), atol=0.15, rtol=0)
    torch.testing.assert_close(draw([0.0, 1.0, 2.0, 1.0]).mean(dim=0), torch.tensor([9.0, 9.0, 5.0]), atol=0.15, rtol=0)
    anything = draw(None)
    torch.testing.assert_close(anything.mean(dim=0), torch.tensor([7.0, 5.0, 5.0]), atol=0.15, rtol=0)
    torch.testing.assert_close(anything.std(dim=0), torch.tensor([5.0, 5.0, 1.0]).sqrt(), atol=0.1, rtol=0)
    assert float(draw([0.0, 1.0, 0.0, 1.0]).std(dim=0)[1]) < 1.2
    noise, ones = torch.randn(4, 3), torch.ones(4, dtype=torch.int64)
    unsaid = prior.draw(noise, ones, torch.zeros(4, 4), spread=1.0)
    torch.testing.assert_close(unsaid, prior.draw(noise, ones, spread=1.0))


def test_unsaid_attributes_are_those_of_any_picture_for_the_flow() -> None:
    torch.manual_seed(0)
    flow = VectorFlow(4, 2, width=8, blocks=1, attributes=3)
    nn.init.normal_(flow.leave.weight)
    noise, categories = torch.randn(6, 4), torch.tensor([0, 1] * 3)
    anything = flow.transport(noise, categories, steps=3, guidance=1.5)
    assert torch.equal(flow.transport(noise, categories, torch.zeros(6, 3), steps=3, guidance=1.5), anything)
    told = torch.eye(3).repeat(2, 1)
    free = flow.transport(noise, categories, steps=3, guidance=0.0)
    torch.testing.assert_close(flow.transport(noise, categories, told, steps=3, guidance=0.0), free)
    assert not torch.allclose(flow.transport(noise, categories, told, steps=3, guidance=1.5), anything)


class _Straight(VectorFlow):
    """A flow whose velocity is known: towards 3 for a category, and towards 1 for none in particular."""

    def forward(
        self, latents: torch.Tensor, times: torch.Tensor, categories: torch.Tensor, conditions: torch.Tensor | None = None
    ) -> torch.Tensor:
        goal = torch.where(categories == self.anything, 1.0, 3.0)[:, None]
        return (goal - latents) / (1 - times[:, None])


def test_transport_follows_a_known_field_and_guidance_extrapolates() -> None:
    flow = _Straight(4, 2, width=8, blocks=1)
    flow.standardise(torch.full((4,), 10.0), torch.full((4,), 4.0))
    noise, categories = torch.randn(6, 4), torch.tensor([0, 1] * 3)
    plain = flow.transport(noise, categories, steps=7, guidance=1.0)
    torch.testing.assert_close(plain, torch.full((6, 4), 10.0 + 2 * 3.0))
    free = flow.transport(noise, categories, steps=7, guidance=0.0)
    torch.testing.assert_close(free, torch.full((6, 4), 10.0 + 2 * 1.0))
    torch.testing.assert_close(flow.transport(noise, categories, steps=7, guidance=2.0), torch.full((6, 4), 10.0 + 2 * 5.0))


def test_the_flow_loss_of_an_unmoved_flow_is_the_variance_of_its_target() -> None:
    """Its output layer starts at nothing, so the error is that of target minus noise: one each."""
    torch.manual_seed(0)
    flow = VectorFlow(4, 2, width=8, blocks=1)
    flow.standardise(torch.full((4,), 3.0), torch.full((4,), 4.0))
    loss = flow.loss(3 + 2 * torch.randn(50_000, 4), _batch(50_000), drop=0.1)
    assert loss.item() == pytest.approx(2.0, abs=0.03)
