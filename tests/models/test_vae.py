"""The family `vae`: its grids, its transformer, its perceptual term, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from packshot.models import AnyModel, vae
from packshot.models.base import Batch
from packshot.models.perception import Perception, feature_distance
from packshot.models.residual import grid_widths
from packshot.models.transformer import GridFlow, TransformerBlock, heads_of, place_features
from packshot.models.vae.losses import active_units, kl_divergence, posterior_sample
from packshot.models.vae.model import VAE
from packshot.records import ImageSpec
from tests.models.families import CATEGORIES, IMAGE, SMALL, toy_batch

FLOW = vae.FlowPrior(width=16, blocks=1, steps=4)


def _vae(config: AnyModel, image: ImageSpec = IMAGE) -> VAE:
    torch.manual_seed(1)
    model = config.build(image, CATEGORIES).eval()
    assert isinstance(model, VAE)
    return model


def _photos() -> Iterator[Batch]:
    batch = toy_batch()
    yield batch
    yield replace(batch, images=batch.images.flip(-1), flipped=~batch.flipped)


# --- grids


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("size", [16, 32])
def test_a_grids_latent_has_the_shape_and_the_numbers_that_it_declares(factor: Literal[4, 8], size: int) -> None:
    image = ImageSpec(size=size)
    config = vae.Config(latent=vae.Grid(factor=factor, channels=3), width=4, polish=None, prior=FLOW)
    model = _vae(config, image)
    mean, log_variance = model.encode(torch.randn(2, *image.shape))
    assert mean.shape == log_variance.shape == (2, *model.noise_shape) == (2, 3, size // factor, size // factor)
    assert model.latent_size == 3 * (size // factor) ** 2
    assert model.decode(mean).shape == (2, *image.shape)


def test_widths_double_to_four_times_the_finest() -> None:
    assert grid_widths(64, 8) == (64, 128, 256, 256)
    assert grid_widths(16, 4) == (16, 32, 64)


def test_a_grid_says_where_something_is() -> None:
    """A place of the latent hears the pixels around it alone: what changes in a corner is not heard in the other one."""
    image = ImageSpec(size=128)
    model = _vae(vae.Config(latent=vae.Grid(factor=8, channels=2), width=4, polish=None, prior=FLOW), image)
    for module in model.modules():  # whose statistics are of the whole grid, by which a corner's change would be felt a little
        if isinstance(module, nn.GroupNorm):
            module.register_forward_hook(lambda _, given, made: given[0])
    images = torch.randn(1, *image.shape)
    changed = images.clone()
    changed[..., :8, :8] += 1.0
    apart = (model.encode(changed)[0] - model.encode(images)[0]).abs().amax(dim=(0, 1))
    assert apart[0, 0] > 0
    assert bool((apart[8:, 8:] == 0).all())


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 4))
def test_kl_and_active_units_of_a_grid_are_those_of_its_numbers(count: int, channels: int, side: int) -> None:
    torch.manual_seed(count)
    mean, log_variance = torch.randn(count, channels, side, side), torch.randn(count, channels, side, side)
    torch.testing.assert_close(kl_divergence(mean, log_variance), kl_divergence(mean.flatten(1), log_variance.flatten(1)))
    mean[:, 0, 0] *= 0.01
    assert active_units(mean) == active_units(mean.flatten(1)) <= mean[0].numel() - side


def test_samples_of_a_grids_posterior_take_the_chances_of_the_step() -> None:
    batch = toy_batch(6)
    part = replace(batch, categories=batch.categories[2:5], first=2, whole=6)
    torch.manual_seed(3)
    whole = posterior_sample(torch.zeros(6, 2, 4, 4), torch.zeros(6, 2, 4, 4), batch)
    torch.manual_seed(3)
    assert torch.equal(posterior_sample(torch.zeros(3, 2, 4, 4), torch.zeros(3, 2, 4, 4), part), whole[2:5])


def test_class_gaussians_of_a_grid_are_fitted_to_its_numbers() -> None:
    model = _vae(SMALL["vae-grid-gaussians"])
    model.finish(_photos)
    drawn = model.draw(torch.zeros(3, *model.noise_shape), torch.arange(3))
    means = [model.encode(batch.images)[0] for batch in _photos()]
    categories = torch.cat([batch.categories for batch in _photos()])
    for category in range(3):
        wanted = model.decode(torch.cat(means)[categories == category].mean(dim=0)[None])
        torch.testing.assert_close(drawn[[category]], wanted, atol=1e-4, rtol=0)


def test_many_pictures_are_coded_in_parts_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _vae(SMALL["vae-grid"])
    images, categories = toy_batch(9).images, toy_batch(9).categories
    at_once = model.reconstruct(images, categories)
    monkeypatch.setattr("packshot.models.vae.model.PIXELS_AT_ONCE", 2 * IMAGE.size**2)
    sizes: list[int] = []
    model.encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    torch.testing.assert_close(model.reconstruct(images, categories), at_once, atol=1e-5, rtol=0)
    assert sizes == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("name", [name for name in SMALL if name.startswith("vae")])
def test_in_bfloat16_whatever_leaves_a_network_is_float32(name: str) -> None:
    model, batch = _vae(SMALL[name]), toy_batch(6)
    for fit in model.fits():
        fit.run(_photos)
    model.finish(_photos)
    with torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = model.encode(batch.images)
        assert {mean.dtype, log_variance.dtype, model.decode(mean).dtype} == {torch.float32}
        assert model.draw(torch.randn(6, *model.noise_shape), batch.categories).dtype == torch.float32
        for phase in model.phases():
            for term in phase.loss(batch).terms.values():
                assert term.dtype == torch.float32
                assert bool(term.isfinite())


# --- the transformer


def test_an_untrained_transformer_has_no_velocity_and_its_blocks_change_nothing() -> None:
    torch.manual_seed(0)
    flow = GridFlow((3, 4, 4), 2, width=16, blocks=2, patch=2)
    latents, times, categories = torch.randn(5, 3, 4, 4), torch.rand(5), torch.tensor([0, 1, 2, 0, 1])
    assert bool((flow(latents, times, categories) == 0).all())
    block, tokens = TransformerBlock(16), torch.randn(2, 3, 16)
    assert torch.equal(block(tokens, torch.randn(2, 16)), tokens)


def _stir(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.2)


def test_a_block_is_adaln_attention_and_a_layer_by_the_paper() -> None:
    """Against torch's own multi-head attention, and DiT's block written out (Peebles and Xie 2023, figure 3)."""
    torch.manual_seed(0)
    width, block = 128, TransformerBlock(128)
    _stir(block)
    oracle = nn.MultiheadAttention(width, 2, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(block.look.weight)
        oracle.in_proj_bias.copy_(block.look.bias)
        oracle.out_proj.weight.copy_(block.tell.weight)
        oracle.out_proj.bias.copy_(block.tell.bias)
    tokens, condition = torch.randn(2, 5, width), torch.randn(2, width)
    shift, scale, gate, shift2, scale2, gate2 = (block.modulation(condition)[:, None]).chunk(6, dim=2)
    told = nn.functional.layer_norm(tokens, (width,), eps=1e-6) * (1 + scale) + shift
    middle = tokens + gate * oracle(told, told, told, need_weights=False)[0]
    raised = block.rise(nn.functional.layer_norm(middle, (width,), eps=1e-6) * (1 + scale2) + shift2)
    wanted = middle + gate2 * block.fall(nn.functional.gelu(raised, approximate="tanh"))
    torch.testing.assert_close(block(tokens, condition), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (384, 6), (768, 12), (200, 2), (67, 1)])
def test_heads_have_about_64_numbers_and_share_a_token_alike(width: int, heads: int) -> None:
    assert heads_of(width) == heads


def test_every_place_of_a_grid_is_told_apart_and_a_patch_is_put_back_where_it_was_taken() -> None:
    features = place_features(8)
    assert features.shape == (64, 64)
    assert float((features[:, None] - features).square().sum(dim=2).fill_diagonal_(9.0).min()) > 0.1
    torch.manual_seed(0)
    flow = GridFlow((2, 4, 4), 1, width=16, blocks=0, patch=2)
    _stir(flow)
    latents = torch.randn(1, 2, 4, 4)
    changed = latents.clone()
    changed[0, :, 2, 1] += 1.0  # of the square in the third and fourth row, the first and second column
    times, categories = torch.tensor([0.5]), torch.tensor([0])
    moved = (flow(changed, times, categories) - flow(latents, times, categories)).abs().sum(dim=1)[0] > 0
    assert moved.tolist() == [[False] * 4, [False] * 4, [True, True, False, False], [True, True, False, False]]


def test_a_flow_over_grids_learns_where_a_category_has_its_mass() -> None:
    """Two categories, one bright at the top and one at the bottom: within a few hundred steps pictures land on their own."""
    torch.manual_seed(0)
    flow = GridFlow((1, 2, 2), 2, width=32, blocks=1, patch=1)
    adam = torch.optim.Adam(flow.parameters(), lr=3e-3)
    categories = torch.arange(64) % 2
    centres = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[-1.0, -1.0], [1.0, 1.0]]])[:, None]
    batch = Batch(torch.zeros(64, 1, 1, 1), categories, torch.arange(64), torch.zeros(64))
    for _ in range(150):
        loss = flow.loss(centres[categories] + 0.1 * torch.randn(64, 1, 2, 2), batch, drop=0.1)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        drawn = flow.transport(torch.randn(64, 1, 2, 2), categories, steps=10, guidance=1.0)
    assert float((drawn - centres[categories]).square().mean()) < 0.15


# --- the perceptual term


def test_the_distance_of_features_is_that_of_the_paper() -> None:
    one, other = torch.randn(2, 5, 3, 3), torch.randn(2, 5, 3, 3)
    cosine = nn.functional.cosine_similarity(one, other, dim=1)
    assert float(feature_distance(one, other)) == pytest.approx(float((2 - 2 * cosine).mean()), rel=1e-5)
    assert float(feature_distance(one, 7 * one)) == pytest.approx(0.0, abs=1e-6)
    assert float(feature_distance(one, -one)) == pytest.approx(4.0, rel=1e-5)


def test_a_perception_learns_the_categories_then_sees_a_wrong_colour_as_unlike() -> None:
    torch.manual_seed(0)
    perception, batch = Perception(IMAGE, len(CATEGORIES), 8), toy_batch(48)
    adam = torch.optim.Adam(perception.parameters(), lr=5e-3)
    for _ in range(40):
        loss = perception.loss(batch)
        adam.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        adam.step()
    assert float(perception.loss(batch).signals["right"]) > 0.9
    images = batch.images
    noisy, recoloured = images + 0.1 * torch.randn_like(images), images.roll(1, dims=1)
    with torch.no_grad():
        same, near, far = (float(perception.distance(drawn, images)) for drawn in (images, noisy, recoloured))
    assert same == pytest.approx(0.0, abs=1e-6)
    assert 0 < near < far


def test_the_perceptual_term_moves_the_picture_and_neither_the_photo_nor_the_classifier() -> None:
    model, batch = _vae(SMALL["vae-grid"]), toy_batch(4)
    model.requires_grad_(requires_grad=False)
    drawn, photo = batch.images.clone().requires_grad_(), batch.images.flip(0).clone().requires_grad_()
    model.perception.distance(drawn, photo).backward()  # type: ignore[no-untyped-call]
    assert drawn.grad is not None
    assert float(drawn.grad.abs().sum()) > 0
    assert photo.grad is None
    phases = {phase.name: phase for phase in model.phases()}
    assert phases["perception"].stop == phases["autoencoder"].start > 0
    early = _vae(vae.Config(latent=8, width=4, perceptual=vae.Perceptual(width=4), prior=vae.GaussianPrior()))
    assert early.matures == early.seen > 0, "while the classifier learns, there is nothing to see"
    for name in ("autoencoder", "polish"):
        assert model.perception not in phases[name].modules
        assert "perceptual" in phases[name].loss(batch).terms


# --- what is refused


def test_what_cannot_be_learnt_is_refused_in_words() -> None:
    grid = vae.Config(latent=vae.Grid(factor=4, channels=4), prior=vae.GaussianPrior())
    assert grid.refuse(ImageSpec(size=32), 3) == ""
    assert "256 numbers of a grid at most, not 1024" in grid.refuse(ImageSpec(size=64), 3)
    assert "two categories" in vae.Config(perceptual=vae.Perceptual()).refuse(IMAGE, 1)
    assert vae.Config().refuse(ImageSpec(size=1024), 1) == ""


@pytest.mark.parametrize(
    ("latent", "place"),
    [
        (1, ("latent", "vector")),
        ("many", ("latent", "vector")),
        ({"factor": 5}, ("latent", "grid", "factor")),
        ({"facter": 4}, ("latent", "grid", "facter")),
    ],
)
def test_a_latent_is_a_number_or_a_grid_and_a_mistake_is_told_at_its_place(latent: object, place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        vae.Config.model_validate_json(json.dumps({"latent": latent}))
    assert [fault["loc"] for fault in caught.value.errors()] == [place]


def test_patches_are_of_grids() -> None:
    with pytest.raises(ValidationError, match="this one is a vector"):
        vae.Config(latent=8, prior=vae.FlowPrior(patch=2))


def test_presets_build_for_the_pictures_that_they_are_for() -> None:
    for preset in vae.Config.presets().values():
        assert isinstance(preset.model, vae.Config)
        for size in preset.sizes:
            assert preset.model.refuse(ImageSpec(size=size), 2) == ""
            with torch.device("meta"):
                model = preset.model.build(ImageSpec(size=size), ("hat", "mug"))
            assert model.latent_size == math.prod(model.noise_shape)


def test_a_polish_without_a_penalty_has_no_such_phase() -> None:
    model = vae.Config(latent=4, width=4, polish=vae.Polish(penalty=0.0, critic_width=4)).build(IMAGE, CATEGORIES)
    assert [phase.name for phase in model.phases()] == ["autoencoder", "critic", "polish", "flow"]
