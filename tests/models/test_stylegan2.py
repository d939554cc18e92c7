"""StyleGAN2's parts against what the papers define them to be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from packshot.models import stylegan2
from packshot.models.adversarial import gradient_penalty
from packshot.models.augment import Adaptive, Translation
from packshot.models.base import Batch, Phase
from packshot.models.stylegan2.critic import GROUP, StyleCritic, group_deviation
from packshot.models.stylegan2.layers import GAIN, LARGEST, EqualConv, EqualLinear, activate
from packshot.models.stylegan2.mapping import Mapping
from packshot.models.stylegan2.model import StyleGAN2, lazy_adam
from packshot.models.stylegan2.paths import DECAY, path_lengths
from packshot.models.stylegan2.presets import PRESETS
from packshot.models.stylegan2.resample import TAPS, Double, Halve, LowPass, Smooth
from packshot.models.stylegan2.synthesis import ModulatedConv, StyledLayer, grid_channels
from packshot.records import ImageSpec
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, toy_batch, toy_conditions


def make(**changes: object) -> StyleGAN2:
    torch.manual_seed(3)
    config = stylegan2.Config.model_validate({**SMALL["stylegan2"].model_dump(), **changes})
    return config.build(IMAGE, CATEGORIES)


def stir(model: torch.nn.Module) -> None:
    """Let what begins at nothing say something."""
    rng = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "strength")):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))


# --- the filter


def filtered(grid: Tensor, up: int, down: int, before: int, after: int, gain: float) -> Tensor:
    """What scipy makes of the last two axes: zeros in between, zeros around, the filter, every other one."""
    taps = np.array(TAPS) / sum(TAPS) * math.sqrt(gain)
    values = grid.double().numpy()
    for axis in (2, 3):
        raw = upfirdn(taps, values, up=up, down=1, axis=axis)
        length = values.shape[axis] * up
        # Of the full convolution, what the filter sees with so many zeros before and after.
        start, stop = len(taps) - 1 - before, length + after
        values = np.take(raw, range(start, stop), axis=axis)
        values = np.take(values, range(0, values.shape[axis], down), axis=axis)
    return torch.from_numpy(values)


def test_resampling_is_what_scipy_makes_of_it() -> None:
    grid = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Double(3)(grid).double(), filtered(grid, 2, 1, 2, 1, 4.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(Halve(3)(grid).double(), filtered(grid, 1, 2, 1, 1, 1.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(Smooth(3, 2, 3.0)(grid).double(), filtered(grid, 1, 1, 2, 2, 3.0), atol=1e-6, rtol=0)


def test_resampling_keeps_a_plain_grid_plain() -> None:
    grid = torch.full((1, 2, 12, 12), 0.7)
    torch.testing.assert_close(Double(2)(grid)[:, :, 2:-2, 2:-2], torch.full((1, 2, 20, 20), 0.7))
    torch.testing.assert_close(Halve(2)(grid)[:, :, 1:-1, 1:-1], torch.full((1, 2, 4, 4), 0.7))


def test_resampling_is_twice_differentiable() -> None:
    grid = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    changes: tuple[LowPass, ...] = (Double(2), Halve(2), Smooth(2, 1, 2.0))
    for change in changes:
        assert torch.autograd.gradgradcheck(lambda rows, change=change: change(rows).square(), grid)


# --- layers


@pytest.mark.parametrize("doubling", [False, True])
def test_scaling_grids_equals_scaling_weights(doubling: bool) -> None:
    """Equations 1 to 3 as they are written: weights of each picture's own, scaled, normalised, and then convolved."""
    torch.manual_seed(0)
    layer = StyledLayer(5, 7, 16 if doubling else 8, 6, doubling=doubling)
    stir(layer)
    grid, w, noise = torch.randn(3, 5, 8, 8), torch.randn(3, 6), torch.randn(3, 1, layer.side, layer.side)
    got = layer(grid, w, noise)
    convolve, wanted = layer.convolve, []
    for row in range(3):
        styles = convolve.style(w[row : row + 1])[0]
        weight = convolve.weight.transpose(0, 1) if doubling else convolve.weight
        modulated = weight * styles[None, :, None, None]
        modulated = modulated / (modulated.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = grid[row : row + 1]
        if doubling:
            one = Smooth(7, 1, 4.0)(conv_transpose2d(one, modulated.transpose(0, 1), stride=2))
        else:
            one = conv2d(one, modulated, padding=1)
        one = one + noise[row] * layer.strength + layer.bias[:, None, None]
        wanted.append(torch.nn.functional.leaky_relu(one, 0.2) * math.sqrt(2))
    torch.testing.assert_close(got, torch.cat(wanted), atol=1e-5, rtol=1e-5)


def test_demodulated_outputs_have_a_deviation_of_one_whatever_the_styles() -> None:
    torch.manual_seed(1)
    convolve = ModulatedConv(16, 64, 3, 8)
    styles = torch.exp(2 * torch.randn(8, 16))
    grown = convolve(torch.randn(8, 16, 24, 24), styles) * convolve.demodulation(styles)[:, :, None, None]
    inner = grown[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(inner.std(dim=(1, 2, 3)), torch.ones(8), atol=0.05, rtol=0)


def test_layers_keep_the_mean_square_of_their_inputs() -> None:
    torch.manual_seed(2)
    rows, grid = torch.randn(512, 256), torch.randn(16, 64, 16, 16)
    for speed in (1.0, 0.01):
        assert float(EqualLinear(256, 256, speed=speed)(rows).square().mean().detach()) == pytest.approx(1, abs=0.05)
    assert EqualConv(64, 64, 3)(grid)[:, :, 1:-1, 1:-1].square().mean().item() == pytest.approx(1, abs=0.1)
    assert activate(EqualLinear(256, 256, gain=GAIN)(rows)).square().mean().item() == pytest.approx(1.04, abs=0.06)
    assert EqualConv(64, 8, 3, halving=True)(grid).shape == (16, 8, 8, 8)
    assert EqualConv(64, 8, 1, halving=True)(grid).shape == (16, 8, 8, 8)


def test_one_step_of_adam_moves_every_layer_alike_and_the_mapping_a_hundredth() -> None:
    """The equalised learning rate: an effective weight moves by the rate times its own initial deviation."""
    moved = []
    for inputs, speed in ((16, 1.0), (256, 1.0), (256, 0.01)):
        torch.manual_seed(0)
        layer = EqualLinear(inputs, 64, speed=speed)
        before = (layer.weight * layer.weight_scale).detach()
        adam = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.0, 0.99))
        layer(torch.randn(32, inputs)).square().sum().backward()
        adam.step()
        change = (layer.weight * layer.weight_scale).detach() - before
        moved.append(float(change.abs().mean() / before.std()))
    assert moved[0] == pytest.approx(0.01, rel=0.1)
    assert moved[1] == pytest.approx(moved[0], rel=0.1)
    assert moved[2] == pytest.approx(moved[0] / 100, rel=0.1)


def test_low_precision_is_bounded_and_ends_in_float32() -> None:
    assert float(activate(torch.full((1,), 1e4, dtype=torch.bfloat16))) == LARGEST
    assert float(activate(torch.full((1,), 1e4))) == 1e4
    model, batch = make(), toy_batch(4)
    stir(model)
    exact = model.synthesis(model.mapping(torch.ones(4, 8), batch.categories)[:, None].expand(-1, model.synthesis.styles, -1))
    scores = model.critic(batch.images, batch.categories)
    with torch.autocast("cpu", torch.bfloat16):
        w = model.mapping(torch.ones(4, 8), batch.categories)
        drawn = model.synthesis(w[:, None].expand(-1, model.synthesis.styles, -1))
        judged = model.critic(batch.images, batch.categories)
        losses = [phase.loss(batch).total for phase in model.phases()]
    assert w.dtype == drawn.dtype == judged.dtype == torch.float32
    assert all(loss.dtype == torch.float32 and bool(loss.isfinite()) for loss in losses)
    torch.testing.assert_close(drawn, exact, atol=0.1, rtol=0.05)
    torch.testing.assert_close(judged, scores, atol=0.1, rtol=0.05)
    assert not torch.equal(drawn, exact)
    rows = torch.randn(8, 40)
    with torch.autocast("cpu", torch.bfloat16):
        deviation = group_deviation(rows)
    assert torch.equal(deviation, group_deviation(rows))


def test_grids_stay_channels_last_from_layer_to_layer() -> None:
    """Otherwise every convolution on a CPU, and those of bfloat16 on a GPU, would turn its grid around first."""
    model, batch = make().to(memory_format=torch.channels_last), toy_batch(4)
    images = batch.images.to(memory_format=torch.channels_last)
    laid: list[bool] = []

    def note(module: torch.nn.Module, given: object, grid: Tensor) -> None:
        laid.append(grid.is_contiguous(memory_format=torch.channels_last))

    for module in (*model.synthesis.layers, model.critic.begin, *model.critic.blocks):
        module.register_forward_hook(note)
    torch.manual_seed(0)
    drawn = model.synthesis(model.mix(batch), [batch.normal(*shape) for shape in model.synthesis.noises])
    model.critic(drawn, batch.categories)
    model.critic(images, batch.categories)
    assert len(laid) == 5 + 2 * 3
    assert all(laid)


# --- the critic


def test_the_deviation_within_groups_is_the_papers() -> None:
    rows = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    got = group_deviation(rows)
    for first, last in ((0, 4), (4, 8), (8, 10)):
        wanted = rows[first:last].var(dim=0, correction=0).add(1e-8).sqrt().mean()
        torch.testing.assert_close(got[first:last], wanted.expand(last - first))
    assert float(group_deviation(torch.ones(GROUP, 5)).max()) == pytest.approx(1e-4)
    alike = torch.ones(GROUP, 5, requires_grad=True)
    group_deviation(alike).sum().backward()  # type: ignore[no-untyped-call]
    assert bool(alike.grad.isfinite().all())  # type: ignore[union-attr]


def test_the_critic_hears_what_was_asked_for_and_whom_a_picture_stands_beside() -> None:
    torch.manual_seed(0)
    critic = StyleCritic(IMAGE, (8, 8, 4), len(CATEGORIES), 4)
    images, told = toy_batch(4).images, toy_conditions(4)
    scores = critic(images, torch.tensor([0, 1, 2, 0]), told).detach()
    assert float((scores - critic(images, torch.tensor([1, 2, 0, 1]), told)).abs().min()) > 1e-4
    assert float((scores - critic(images, torch.tensor([0, 1, 2, 0]), told.flip(0)))[0].abs()) > 1e-4
    alone = torch.cat(
        [critic(images[row : row + 1], torch.tensor([0, 1, 2, 0])[row : row + 1], told[row : row + 1]) for row in range(4)]
    )
    assert float((scores - alone).abs().min()) > 1e-4


# --- what training adds


def test_r1_is_half_gamma_times_the_squared_slope_as_often_stronger_as_it_is_rarer() -> None:
    model, batch = make(penalty=0.3, penalty_every=16, augment=None), toy_batch(8)
    once = gradient_penalty(model.critic, batch.images, batch.categories)
    images = batch.images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(images, batch.categories).sum(), images)
    assert float(once) == pytest.approx(float(slope.square().sum(dim=(1, 2, 3)).mean()) / 2, rel=1e-5)
    assert float(model.penalty(batch).total) == pytest.approx(0.3 * 16 * float(once), rel=1e-5)


def test_lazy_terms_take_their_part_of_the_rate_and_the_memory() -> None:
    config = stylegan2.Config(learning_rate=0.0025)
    adam = lazy_adam(config, 16)
    assert adam.learning_rate == pytest.approx(0.0025 * 16 / 17)
    # 17 updates of the lazy optimiser remember what 16 of the plain one do.
    assert adam.betas[0] == 0
    assert adam.betas[1] ** 17 == pytest.approx(0.99**16)
    phases = {phase.name: phase for phase in make(penalty_every=16, path_length_every=8).phases()}
    assert phases["r1"].shares == "critic"
    assert phases["path_length"].shares == phases["generator"].name
    assert phases["r1"].second_order
    assert phases["path_length"].second_order
    assert [phases[name].every for name in ("critic", "r1", "path_length", "generator")] == [1, 16, 8, 1]
    plain = make(path_length=0.0, penalty=0.0).phases()
    assert [phase.name for phase in plain] == ["critic", "generator"]
    assert {phase.optimizer.betas for phase in plain} == {(0.0, 0.99)}


def test_the_path_length_of_a_linear_generator_is_the_norm_of_its_transpose() -> None:
    """G(w) = A sum_k w_k: every place's slope is A^T y, so the length is |A^T y| / 16 for pictures of side 16."""
    torch.manual_seed(0)
    matrix, ws, directions = torch.randn(3 * 256, 5), torch.randn(4, 6, 5), torch.randn(4, 3, 16, 16)
    lengths = path_lengths(lambda rows: (rows.sum(dim=1) @ matrix.T).view(-1, 3, 16, 16), ws, directions)
    torch.testing.assert_close(lengths, (directions.flatten(1) @ matrix).norm(dim=1) / 16)


def test_the_path_length_is_lowered_towards_its_own_running_mean() -> None:
    model, batch = make(path_length=2.0, path_length_every=3), toy_batch(8)
    model.mean_length.mean.fill_(0.5)
    torch.manual_seed(5)
    loss = model.path_length(batch)
    torch.manual_seed(5)
    ws, noises = model.mix(batch), [batch.normal(*shape) for shape in model.synthesis.noises]
    directions = batch.normal(*IMAGE.shape)
    lengths = path_lengths(lambda rows: model.synthesis(rows, noises), ws, directions)[::2]
    mean = 0.5 + DECAY * (float(lengths.mean()) - 0.5)
    assert float(model.mean_length.mean) == pytest.approx(mean, rel=1e-5)
    assert float(loss.total) == pytest.approx(6 * float((lengths - mean).square().mean()), rel=1e-4)
    assert float(loss.signals["length"]) == pytest.approx(float(lengths.mean()), rel=1e-5)
    assert model.path_length(toy_batch(8)).total.requires_grad


def test_style_mixing_uses_both_latents_and_every_crossing() -> None:
    model = make(mixing=1.0)
    batch = replace(toy_batch(96), categories=torch.zeros(96, dtype=torch.int64))
    torch.manual_seed(0)
    ws = model.mix(batch)
    assert ws.shape == (96, model.synthesis.styles, 8)
    changes = (ws[:, 1:] != ws[:, :-1]).any(dim=2)
    assert bool((changes.sum(dim=1) == 1).all())
    assert bool(changes.any(dim=0).all())
    never = make(mixing=0.0).mix(batch)
    assert torch.equal(never, never[:, :1].expand_as(never))
    torch.manual_seed(0)
    usually = make(mixing=0.9).mix(batch)
    share = float((usually[:, 0] != usually[:, -1]).any(dim=1).float().mean())
    assert 0.8 < share < 1


def test_a_part_of_a_batch_is_mixed_as_in_the_whole() -> None:
    model, batch = make(), toy_batch(8)
    torch.manual_seed(0)
    whole = model.mix(batch)
    part = replace(batch, images=batch.images[3:7], categories=batch.categories[3:7], first=3, whole=8)
    torch.manual_seed(0)
    torch.testing.assert_close(model.mix(part), whole[3:7])


def _loss(phase: Phase, batch: Batch) -> float:
    torch.manual_seed(7)
    return float(phase.loss(batch).total.detach())


def test_the_turns_of_two_halves_come_to_that_of_the_whole() -> None:
    """All but what a batch's photos share, which is the critic's comparison of peers: with whole groups it makes none."""
    batch = toy_batch(16)
    halves = [
        replace(batch, images=batch.images[rows], categories=batch.categories[rows], first=rows.start, whole=16)
        for rows in (slice(0, 8), slice(8, 16))
    ]
    for name in ("critic", "r1", "generator"):
        (phase,) = (phase for phase in make(augment=None).phases() if phase.name == name)
        assert sum(_loss(phase, half) for half in halves) / 2 == pytest.approx(_loss(phase, batch), rel=1e-4)


def test_adaptive_augmentation_listens_to_the_critics_own_turn() -> None:
    model, batch = make(augment=Adaptive(every=1, images=100)), toy_batch(8)
    with torch.no_grad():
        model.critic.realism.bias.fill_(50.0)  # sure of every photo
    loss = model.critic_loss(batch)
    assert {"real", "drawn", "wins", "augmentation"} <= loss.signals.keys()
    raised = float(model.augment.state_dict()["strength"])
    assert raised > 0
    model.generator_loss(batch)
    model.penalty(batch)
    assert float(model.augment.state_dict()["strength"]) == raised


@pytest.mark.parametrize("game", ["relativistic", "hinge", "non_saturating"])
def test_both_sides_gain_by_what_they_play_for(game: str) -> None:
    """A step along its own slope lowers each side's loss, and leaves the other side's weights without one."""
    model, batch = make(game=game, augment=Translation(chance=0.5)), toy_batch(8)
    for name in ("critic", "generator"):
        (phase,) = (phase for phase in model.phases() if phase.name == name)
        model.requires_grad_(requires_grad=False)
        own = [parameter.requires_grad_() for part in phase.modules for parameter in part.parameters()]
        before = _loss(phase, batch)
        torch.manual_seed(7)
        slopes = torch.autograd.grad(phase.loss(batch).total, own, allow_unused=True)
        scale = 1e-3 / math.sqrt(sum(float(slope.square().sum()) for slope in slopes if slope is not None))
        with torch.no_grad():
            for parameter, slope in zip(own, slopes, strict=True):
                if slope is not None:
                    parameter -= scale * slope
        assert _loss(phase, batch) < before


# --- truncation, noise, presets


def test_truncation_collapses_to_the_picture_of_what_is_asked_for() -> None:
    torch.manual_seed(3)
    model = SMALL["stylegan2"].build(IMAGE, CATEGORIES, CONDITIONS).eval()
    model.finish(lambda: iter(()))
    mapping = model.get_submodule("mapping")
    assert isinstance(mapping, Mapping)
    noise, categories = torch.randn(6, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    drawn = model.draw(noise, categories, truncation=1e-6)
    torch.testing.assert_close(drawn[:3], drawn[3:], atol=1e-4, rtol=0)
    assert float((drawn[0] - drawn[1]).abs().max()) > 1e-3
    rows = mapping(noise, categories)
    torch.testing.assert_close(
        mapping.truncate(rows, 0.25, categories, None), mapping.mean[categories] + 0.25 * (rows - mapping.mean[categories])
    )
    # Attributes are not unsaid: a row's mean is that of what it asks for, whatever the others ask for.
    told = toy_conditions(6)
    told[0] = 0
    mixed = model.draw(noise, categories, told, truncation=1e-6)
    torch.testing.assert_close(mixed[0], drawn[0], atol=1e-4, rtol=0)
    for row in range(1, 6):
        alone = model.draw(noise[[row]], categories[[row]], told[[row]], truncation=1e-6)
        torch.testing.assert_close(mixed[[row]], alone, atol=1e-4, rtol=0)
        assert float((mixed[row] - drawn[row]).abs().max()) > 1e-3


def test_the_means_are_those_of_w_and_always_the_same() -> None:
    model = make()
    model.finish(lambda: iter(()))
    first = model.mapping.mean.clone()
    model.finish(lambda: iter(()))
    assert torch.equal(first, model.mapping.mean)
    for category in range(len(CATEGORIES)):
        rows = model.mapping(torch.randn(20_000, 8), torch.full((20_000,), category)).detach()
        assert float((rows.mean(dim=0) - first[category]).abs().max()) < 5 * float(rows.std(dim=0).max()) / math.sqrt(1024)


def test_the_models_own_truncation_multiplies_what_is_asked_for() -> None:
    model, half = make(), make(truncation=0.5)
    model.finish(lambda: iter(()))
    half.finish(lambda: iter(()))
    noise, categories = torch.randn(3, 8), torch.tensor([0, 1, 2])
    torch.testing.assert_close(half.draw(noise, categories), model.draw(noise, categories, truncation=0.5))


def test_a_picture_in_training_has_noise_of_its_own_and_a_deployed_one_always_the_same() -> None:
    model = make()
    stir(model)
    batch = replace(toy_batch(2), categories=torch.zeros(2, dtype=torch.int64))
    ws = model.mapping(torch.ones(2, 8), batch.categories)[:, None].expand(-1, model.synthesis.styles, -1)
    torch.manual_seed(0)
    noises = [batch.normal(*shape) for shape in model.synthesis.noises]
    first, second = model.synthesis(ws, noises)
    assert float((first - second).abs().max().detach()) > 1e-3
    first, second = model.synthesis(ws)
    torch.testing.assert_close(first, second)
    assert {name for name in model.synthesis.state_dict() if "noise" in name} == {f"layers.{place}.noise" for place in range(5)}


def test_grids_have_the_channels_of_the_paper() -> None:
    assert grid_channels(1024, 32_768, 512) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    model = make()
    assert model.synthesis.styles == 2 * len(grid_channels(16, 64, 8))
    sides = [shape[-1] for shape in model.synthesis.noises]
    assert sides == [4, 8, 8, 16, 16]


def test_too_small_a_capacity_for_the_pictures_is_refused_in_words() -> None:
    config = stylegan2.Config(capacity=512)
    assert config.refuse(ImageSpec(size=128), 10) == ""
    assert "2 channels at 256 px; take 1024 or more" in config.refuse(ImageSpec(size=256), 10)
    assert all(preset.model.refuse(ImageSpec(size=preset.sizes[-1]), 10) == "" for preset in PRESETS.values())


def test_presets_are_for_the_pictures_that_they_name() -> None:
    assert {name: preset.sizes for name, preset in PRESETS.items()} == {
        "cpu-demo": (32,),
        "gpu-128": (128,),
        "gpu-256": (256,),
    }
    large = PRESETS["gpu-256"].model
    assert isinstance(large, stylegan2.Config)
    assert (PRESETS["gpu-256"].batch_size, large.penalty, large.half_life) == (16, 0.82, 5_000)
    assert (large.game, large.learning_rate, large.path_length, large.augment) == ("non_saturating", 0.0025, 2.0, Adaptive())
    assert grid_channels(256, large.capacity, large.widest) == (512, 512, 512, 512, 256, 128, 64)
