"""What every family owes, held against every member of the union."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
import torch

from packshot.models import AnyModel
from packshot.models.base import Batch, ImageModel
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, build, toy_batch, toy_conditions

MEMBERS = get_args(get_args(AnyModel)[0])


@pytest.fixture(params=[(name, conditions) for name in SMALL for conditions in ((), CONDITIONS)], ids=str)
def model(request: pytest.FixtureRequest) -> ImageModel:
    """Each family, by its category alone and with attributes beside it."""
    name, conditions = request.param
    return build(name, conditions=conditions)


@pytest.fixture(params=SMALL)
def conditioned(request: pytest.FixtureRequest) -> ImageModel:
    made = build(request.param, conditions=CONDITIONS)
    torch.manual_seed(0)
    with torch.no_grad():  # an untrained flow answers nothing to whatever it is asked
        for name, parameter in made.named_parameters():
            if "prior" in name:
                parameter.normal_(std=0.3)
    _fit(made)
    return made


def _told(model: ImageModel, count: int) -> torch.Tensor | None:
    return toy_conditions(count) if model.conditions else None


def _fit(model: ImageModel) -> None:
    def photos() -> Iterator[Batch]:
        batch = toy_batch(conditions=bool(model.conditions))
        yield batch
        yield replace(batch, images=batch.images.flip(-1), flipped=~batch.flipped)

    for fit in model.fits():
        fit.run(photos)
    model.finish(photos)


def test_every_member_of_the_union_is_tried_here() -> None:
    assert {type(config) for config in SMALL.values()} == set(MEMBERS)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__module__)
def test_a_family_needs_no_setting_but_its_name(member: type) -> None:
    model = member().build(IMAGE, CATEGORIES)
    assert model.latent_size > 0
    assert isinstance(model.encodes, bool)


def test_samples_are_finite_pictures_of_the_declared_shape(model: ImageModel) -> None:
    _fit(model)
    drawn = model.sample(torch.tensor([0, 1, 2, 1]), [5, 6, 7, 2**63 - 1], _told(model, 4))
    assert drawn.shape == (4, *IMAGE.shape)
    assert drawn.dtype == torch.float32
    assert bool(drawn.isfinite().all())
    assert float(drawn.abs().max()) <= 1.0


def test_a_picture_depends_on_its_category_and_seed_alone(model: ImageModel) -> None:
    _fit(model)
    categories, seeds = torch.tensor([0, 1, 2, 2, 1, 0]), [3, 1, 4, 15, 9, 2]
    told = toy_conditions(6) if model.conditions else torch.zeros(6, 0)
    together = model.sample(categories, seeds, told)
    alone = torch.cat([model.sample(categories[[row]], seeds[row : row + 1], told[[row]]) for row in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.sample(categories.flip(0), seeds[::-1], told.flip(0)).flip(0), together, atol=1e-5, rtol=0)


def test_an_attribute_changes_the_picture_and_one_that_is_not_known_may_be_any(conditioned: ImageModel) -> None:
    categories, seeds = torch.tensor([0, 1, 2, 0]), [3, 1, 4, 1]
    anything = conditioned.sample(categories, seeds)
    assert torch.equal(conditioned.sample(categories, seeds, torch.zeros(4, 4)), anything)
    dark, light = (torch.eye(4)[[column]].expand(4, -1) for column in (0, 1))
    dear = torch.tensor([[0.0, 0.0, 2.0, 1.0]]).expand(4, -1)
    drawn = [anything, *(conditioned.sample(categories, seeds, told) for told in (dark, light, dear))]
    for index, one in enumerate(drawn):
        for other in drawn[:index]:
            assert float((one - other).flatten(1).abs().amax(dim=1).min()) > 1e-4


def test_a_conditioned_model_has_the_other_ones_weights_and_its_attributes_own() -> None:
    for name in SMALL:
        plain, told = build(name).state_dict(), build(name, conditions=CONDITIONS).state_dict()
        assert plain.keys() < told.keys()
        assert all(told[key].shape == tensor.shape for key, tensor in plain.items())
        words = ("attributes.weight", "slopes", "centres", "residuals")
        assert all(key.endswith(words) for key in told.keys() - plain.keys())


def test_what_a_model_knows_of_no_attribute_is_not_heard() -> None:
    for name in SMALL:
        model = build(name)
        _fit(model)
        drawn = model.sample(torch.tensor([1]), [5])
        assert torch.equal(model.sample(torch.tensor([1]), [5], torch.zeros(1, 0)), drawn)


def test_sampling_and_reconstructing_leave_the_global_chances_alone(model: ImageModel) -> None:
    _fit(model)
    batch = toy_batch(4)
    before = torch.get_rng_state()
    model.sample(batch.categories, range(4))
    model.reconstruct(batch.images, batch.categories)
    assert torch.equal(before, torch.get_rng_state())


def test_truncation_pulls_pictures_together(model: ImageModel) -> None:
    _fit(model)
    noise, categories = torch.randn(24, *model.noise_shape), torch.zeros(24, dtype=torch.int64)
    spread = [float(model.draw(noise, categories, truncation=share).std(dim=0).mean()) for share in (1.0, 0.5, 0.05)]
    assert spread[0] > spread[1] > spread[2]


def test_the_chances_of_a_step_do_not_depend_on_how_it_is_shared_out(model: ImageModel) -> None:
    batch = toy_batch(12)
    parts = [
        replace(batch, categories=batch.categories[rows], first=rows.start, whole=12) for rows in (slice(0, 5), slice(5, 12))
    ]
    for chances in (Batch.normal, Batch.uniform):
        torch.manual_seed(4)
        whole, shared = chances(batch, 3), []
        for part in parts:
            torch.manual_seed(4)
            shared.append(chances(part, 3))
        assert torch.equal(torch.cat(shared), whole)


def test_another_seed_is_another_picture(model: ImageModel) -> None:
    _fit(model)
    first, second = model.sample(torch.tensor([1, 1]), [1, 1 + 2**32])
    assert float((first - second).abs().max()) > 1e-4


def test_reconstructions_do_not_depend_on_their_neighbours(model: ImageModel) -> None:
    batch = toy_batch(6)
    told = toy_conditions(6) if model.conditions else torch.zeros(6, 0)
    together = model.reconstruct(batch.images, batch.categories, told)
    assert together.shape == batch.images.shape
    assert not together.requires_grad
    alone = model.reconstruct(batch.images[2:3], batch.categories[2:3], told[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-3, rtol=0)


def test_phases_run_within_the_run_and_train_all_that_is_deployed(model: ImageModel) -> None:
    phases = model.phases()
    assert all(0 <= phase.start <= phase.stop <= 1 for phase in phases)
    assert len({phase.name for phase in phases}) == len(phases)
    trained = {id(parameter) for phase in phases for part in phase.modules for parameter in part.parameters()}
    averaged = {id(parameter) for phase in phases for part in phase.averaged for parameter in part.parameters()}
    deployed = {id(parameter) for name in model.deployed for parameter in model.get_submodule(name).parameters()}
    assert deployed <= trained
    assert deployed == averaged


def test_every_loss_is_finite_and_moves_the_parts_of_its_phase(model: ImageModel) -> None:
    _fit(model)
    torch.manual_seed(0)
    for phase in model.phases():
        model.zero_grad()
        total = phase.loss(toy_batch(conditions=bool(model.conditions))).total
        assert bool(total.isfinite()), phase.name
        total.backward()  # type: ignore[no-untyped-call]
        moved = [parameter.grad is not None for part in phase.modules for parameter in part.parameters()]
        assert any(moved), phase.name


def test_what_a_gan_deploys_is_normalised_by_its_own_statistics() -> None:
    """Those met in training belong to no average of weights; after `finish`, pictures in training and eval mode agree."""
    model = build("gan")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.fill_(7.0)  # type: ignore[union-attr]

    def photos() -> Iterator[Batch]:
        for _ in range(8):
            yield toy_batch(96)

    categories = toy_batch(96).categories
    foreign = model.sample(categories, range(96))
    model.finish(photos)
    assert not any(module.training for module in model.modules())
    drawn = model.sample(categories, range(96))
    first = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.finish(photos)
    assert all(torch.equal(first[name], buffer) for name, buffer in model.named_buffers())
    model.train()
    own = model.sample(categories, range(96))  # by the statistics of these 96 alone, hence not quite the same
    assert float((own - drawn).abs().mean()) < 0.02
    assert float((own - foreign).abs().mean()) > 0.1
