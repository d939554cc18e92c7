"""Augmentation against other implementations, and what makes it fit to stand before a critic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from packshot.models.augment import Adaptive, AnyAugment, Diff, Translation
from packshot.models.augment.augmenter import AdaptiveAugmenter, build_augmenter
from packshot.models.augment.transforms import (
    Colours,
    Frame,
    colour_chances,
    cut_out,
    frame_chances,
    jitter,
    recolour,
    reframe,
    rotate,
    translate_blank,
    turn,
    turn_chances,
)
from packshot.models.base import Batch

EVERY: tuple[AnyAugment, ...] = (
    Translation(chance=1.0),
    Diff(),
    Adaptive(),
    Adaptive(parts=("blit",)),
    Adaptive(parts=("geometry",)),
    Adaptive(parts=("colour",)),
)


def _batch(count: int) -> Batch:
    """Photos of which only the number matters."""
    return Batch(torch.zeros(count, 1, 1, 1), torch.zeros(count, dtype=torch.int64), torch.arange(count), torch.zeros(count))


def _pictures(count: int = 6, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


def _strong(config: AnyAugment, strength: float = 0.8) -> Callable[[torch.Tensor, Batch], torch.Tensor]:
    augmenter = build_augmenter(config)
    if isinstance(augmenter, AdaptiveAugmenter):
        augmenter.strength.fill_(strength)
    return augmenter


def _grid(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    return rows, columns


def _frame(side: int, scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)) -> Frame:
    places, middle = torch.arange(side) - (side - 1) / 2, (side - 1) / 2
    rows, columns = (((places - move) / size + middle)[None] for size, move in zip(scale, shift, strict=True))
    return Frame(rows, columns, torch.tensor([scale]))


# --- each transform


@pytest.mark.parametrize("quarters", range(4))
def test_quarter_turns_are_those_of_torch(quarters: int) -> None:
    images = _pictures()
    assert torch.equal(turn(images, torch.full((6,), quarters)), torch.rot90(images, quarters, (-2, -1)))


@pytest.mark.parametrize("angle", [0.1, -0.5, math.pi / 4])
def test_a_turned_blob_is_where_geometry_has_it(angle: float) -> None:
    rows, columns = _grid(32)

    def blob(right: float, down: float) -> torch.Tensor:
        return torch.exp(-((columns - right) ** 2 + (rows - down) ** 2) / 8)

    turned = rotate(blob(6.0, -4.0)[None, None], torch.tensor([angle], dtype=torch.float64))
    cosine, sine = math.cos(angle), math.sin(angle)
    torch.testing.assert_close(turned[0, 0], blob(6 * cosine - 4 * sine, -6 * sine - 4 * cosine), atol=3e-3, rtol=0)


def test_turning_back_restores_the_middle_of_a_smooth_picture() -> None:
    rows, columns = _grid(32)
    image = (torch.exp(-(rows**2 + columns**2) / 20) * torch.sin(columns + rows / 2))[None, None]
    angle = torch.tensor([0.4], dtype=torch.float64)
    torch.testing.assert_close(rotate(rotate(image, angle), -angle), image, atol=2e-3, rtol=0)


def test_a_shift_by_whole_pixels_moves_them_unchanged_and_mirrors_the_border() -> None:
    images = _pictures(1)
    moved = reframe(images, _frame(16, shift=(3.0, -2.0)))
    assert torch.equal(moved[:, :, 3:, :-2], images[:, :, :-3, 2:])
    assert torch.equal(moved[:, :, :3, :-2], images[:, :, :3, 2:].flip(2))


def test_enlarging_is_bilinear_interpolation() -> None:
    images = _pictures(1)
    affine = torch.tensor([[[1 / 1.5, 0.0, 0.0], [0.0, 1 / 1.25, 0.0]]])
    grid = torch.nn.functional.affine_grid(affine, [1, 3, 16, 16], align_corners=False)
    oracle = torch.nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(reframe(images, _frame(16, scale=(1.25, 1.5))), oracle, atol=1e-5, rtol=0)


def test_shrinking_is_antialiased() -> None:
    """What alternates from pixel to pixel is grey at half the size, and does not become a pattern of its own."""
    stripes = (torch.arange(32) % 2 * 2.0 - 1).expand(1, 3, 32, 32)
    assert float(reframe(stripes, _frame(32, scale=(0.5, 0.5)))[..., 10:22, 10:22].abs().max()) < 1e-5
    assert float(reframe(stripes, _frame(32)).abs().min()) == 1.0


def test_diffaugments_colours_follow_the_papers_order() -> None:
    images = _pictures(4)
    chances = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    for image, (brightness, saturation, contrast), found in zip(images, chances, jitter(images, chances), strict=True):
        bright = image + brightness - 0.5
        vivid = bright.mean(dim=0) + (bright - bright.mean(dim=0)) * 2 * saturation
        torch.testing.assert_close(found, vivid.mean() + (vivid - vivid.mean()) * (contrast + 0.5))
    still = torch.tensor([[0.5, 0.5, 0.5]]).expand(4, -1)
    torch.testing.assert_close(jitter(images, still), images)


def test_a_shift_leaves_nothing_behind_and_stays_within_an_eighth() -> None:
    images = torch.ones(400, 1, 16, 16)
    moved = translate_blank(images, torch.rand(400, 2, generator=torch.Generator().manual_seed(0)))
    rows, columns = (moved.amax(dim=(1, axis)) for axis in (3, 2))
    lost = {(int(16 - row.sum()), int(16 - column.sum())) for row, column in zip(rows, columns, strict=True)}
    assert lost == {(row, column) for row in range(3) for column in range(3)}


def test_a_hole_is_half_a_side_wide_and_may_hang_over_the_border() -> None:
    chances = torch.tensor([[0.5, 0.5], [0.0, 0.99]])
    left = cut_out(torch.ones(2, 1, 16, 16), chances)
    assert float((1 - left[0]).sum()) == 64
    assert float(left[0, :, 4:12, 4:12].sum()) == 0
    assert float((1 - left[1]).sum()) == 4 * 5


def _only(column: int) -> Colours:
    """Chances of colour where one transform happens to every picture and the others to none."""

    class One(Batch):
        def uniform(self, *shape: int) -> torch.Tensor:
            chances = super().uniform(*shape)
            return torch.where(torch.arange(5) == column, 0.0, 1.0).expand(len(self), 5) if shape == (5,) else chances

    torch.manual_seed(2)
    told = _batch(64)
    return colour_chances(One(told.images, told.categories, told.rows, told.flipped), torch.tensor(0.5))


def test_each_change_of_colour_keeps_what_it_should() -> None:
    images = _pictures(64)
    grey = images.mean(dim=1)
    brighter = recolour(images, _only(0))
    added = (brighter - images).flatten(1)
    torch.testing.assert_close(added, added[:, :1].expand_as(added), atol=1e-5, rtol=0)
    assert 0.1 < float(added[:, 0].std()) < 0.3
    stretched = recolour(images, _only(1)) / images
    torch.testing.assert_close(stretched, stretched[:, :1, :1, :1].expand_as(stretched), atol=1e-3, rtol=1e-3)
    flipped = recolour(images, _only(2)).mean(dim=1)
    signs = (flipped / grey).flatten(1).mean(dim=1).round()
    assert set(signs.tolist()) == {-1.0, 1.0}
    for column in (3, 4):
        torch.testing.assert_close(recolour(images, _only(column)).mean(dim=1), grey, atol=1e-5, rtol=0)
    turned = recolour(images, _only(3))
    torch.testing.assert_close(turned.square().sum(dim=1), images.square().sum(dim=1), atol=1e-4, rtol=0)
    assert float((turned - images).abs().mean()) > 0.1
    torch.testing.assert_close(_only(3).matrix.det(), torch.ones(64))  # turned, not mirrored


# --- the pipeline


def test_transforms_happen_as_often_as_the_chance_says() -> None:
    torch.manual_seed(0)
    batch, chance = _batch(20_000), torch.tensor(0.4)
    frame, (quarters, angles) = frame_chances(batch, 32, chance, chance), turn_chances(batch, chance, chance)
    assert float((frame.columns[:, 1] < frame.columns[:, 0]).float().mean()) == pytest.approx(0.4 / 2, abs=0.01)
    assert float((quarters[:, 1] != 0).float().mean()) == pytest.approx((1 - 0.6**0.5) * 3 / 4, abs=0.01)
    turned = (angles != 0).any(dim=1)
    assert float(turned.float().mean()) == pytest.approx(0.4, abs=0.01)
    scaled = frame.closeness.log2()
    assert float((scaled.abs().sum(dim=1) > 0).float().mean()) == pytest.approx(1 - 0.6**2, abs=0.01)
    assert float(scaled.square().mean()) == pytest.approx(2 * 0.4 * 0.2**2, abs=0.002)
    matrix = colour_chances(batch, chance).matrix
    assert float((matrix != torch.eye(3)).flatten(1).any(dim=1).float().mean()) == pytest.approx(
        1 - 0.6**3 * (1 - 0.4 / 2), abs=0.03
    )


@pytest.mark.parametrize("config", [config for config in EVERY if isinstance(config, Adaptive)], ids=str)
def test_nothing_happens_where_the_chance_is_nought(config: Adaptive) -> None:
    images = _pictures()
    assert torch.equal(_strong(config, 0.0)(images, _batch(6)), images)
    assert torch.equal(build_augmenter(None)(images, _batch(6)), images)


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_the_same_chances_show_the_same_pictures_however_a_batch_is_shared_out(config: AnyAugment) -> None:
    images, augment = _pictures(12), _strong(config)

    def shown(batch: Batch) -> torch.Tensor:
        torch.manual_seed(4)
        return augment(images[batch.first : batch.first + len(batch)], batch)

    whole = shown(_batch(12))
    assert torch.equal(whole, shown(_batch(12)))
    parts = [replace(_batch(rows), first=first, whole=12) for first, rows in ((0, 5), (5, 7))]
    torch.testing.assert_close(torch.cat([shown(part) for part in parts]), whole, atol=1e-5, rtol=0)
    assert not torch.equal(whole, images)


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_augmentation_can_be_differentiated_twice(config: AnyAugment) -> None:
    images = (torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1).requires_grad_()
    augment = _strong(config)

    def shown(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(11)
        mixed: torch.Tensor = augment(images, _batch(2)).square()[:, :, ::3, ::3]
        return mixed

    assert shown(images).dtype == torch.float64
    assert torch.autograd.gradcheck(shown, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(shown, images, fast_mode=True)


def test_what_is_shown_is_float32_whatever_the_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for config in EVERY:
            assert _strong(config)(_pictures(2).bfloat16(), _batch(2)).dtype == torch.float32


# --- the strength


def _hear(augmenter: AdaptiveAugmenter, right: float, steps: int, size: int = 16) -> None:
    for _ in range(steps):
        augmenter.hear(torch.where(torch.arange(size) < right * size, 1.0, -1.0), _batch(size))


def test_the_chance_rises_while_the_critic_is_too_sure_and_falls_otherwise() -> None:
    augmenter = AdaptiveAugmenter(Adaptive(images=640, every=4, target=0.6))
    assert float(augmenter.strength) == 0
    _hear(augmenter, 0.6, 8)
    assert float(augmenter.strength) == 0  # below the target, and there is nothing below nought
    _hear(augmenter, 1.0, 3)
    assert float(augmenter.strength) == 0  # a move is due every fourth step alone
    _hear(augmenter, 1.0, 1)
    assert float(augmenter.strength) == pytest.approx(64 / 640)
    _hear(augmenter, 1.0, 100)
    assert float(augmenter.strength) == pytest.approx(0.8)  # and no further, or it leaks
    _hear(augmenter, 0.5, 4)
    assert float(augmenter.strength) == pytest.approx(0.8 - 64 / 640)
    assert augmenter.signals().keys() == {"augmentation"}


def test_the_chance_moves_alike_however_a_step_is_shared_out() -> None:
    whole, shared = (AdaptiveAugmenter(Adaptive(images=500, every=2, target=0.2)) for _ in range(2))
    torch.manual_seed(0)
    for _ in range(20):
        leads = torch.randn(12) + 0.2
        whole.hear(leads, _batch(12))
        for first, rows in ((0, 5), (5, 7)):
            shared.hear(leads[first : first + rows], replace(_batch(rows), first=first, whole=12))
    assert 0 < float(whole.strength) < 0.8
    assert all(torch.equal(one, other) for one, other in zip(whole.buffers(), shared.buffers(), strict=True))


def test_the_strength_is_saved_and_taken_over() -> None:
    before, after = (AdaptiveAugmenter(Adaptive(images=640)) for _ in range(2))
    _hear(before, 1.0, 6)
    after.load_state_dict(before.state_dict())
    for augmenter in (before, after):
        _hear(augmenter, 1.0, 2)
    assert float(before.strength) == float(after.strength) == pytest.approx(2 * 64 / 640)
