from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from packshot.images.decode import VERSION
from packshot.images.fingerprint import pixel_digest
from packshot.images.resize import _blend, _plan, fit_square, fit_within
from tests.images.files import product


@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 128))
def test_a_photo_fits_keeps_its_aspect_and_is_never_enlarged(width: int, height: int, side: int) -> None:
    fitted = fit_within(np.zeros((height, width, 3), dtype=np.uint8), side)
    assert max(fitted.shape[:2]) == min(side, max(width, height))
    scale = min(1.0, side / max(width, height))
    assert abs(fitted.shape[0] - height * scale) <= max(0.5, 1 - height * scale)
    assert abs(fitted.shape[1] - width * scale) <= max(0.5, 1 - width * scale)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC)).astype(int)


@settings(max_examples=150, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.integers(1, 130), seed=st.integers(0, 3))
def test_a_fitted_photo_has_pillow_s_pixels(width: int, height: int, side: int, seed: int) -> None:
    photo = noise(height, width, seed)
    fitted = fit_within(photo, side)
    apart = np.abs(fitted - by_pillow(photo, fitted.shape[1], fitted.shape[0]))
    assert apart.max() <= 2  # a last bit between the passes may become two behind them
    assert (apart > 0).mean() <= 0.02 + 5 / apart.size


@pytest.mark.parametrize(("height", "width"), [(256, 192), (1067, 800), (800, 1067), (426, 192), (2000, 40), (8192, 8)])
def test_a_smooth_photo_is_within_70_decibels_of_pillow_s(height: int, width: int) -> None:
    photo = np.asarray(Image.fromarray(noise(17, 13)).resize((width, height), Image.Resampling.BICUBIC))
    fitted = fit_within(photo, 128)
    error = np.mean(np.square(fitted - by_pillow(photo, fitted.shape[1], fitted.shape[0])))
    assert error <= 255**2 / 10**7


@settings(max_examples=150, deadline=None)
@given(size=st.integers(1, 400), count=st.integers(1, 200))
def test_sums_are_exact_whatever_their_order(size: int, count: int) -> None:
    plan = _plan(size, count)
    units = plan.weights.astype(np.float64) * 2**15
    assert np.array_equal(units, np.rint(units))
    used = units.reshape(-1, units.shape[2])[:count]
    assert (used.sum(axis=1) == 2**15).all()
    assert np.abs(used).sum(axis=1).max() * 255 < 2**24


def test_scaling_is_whole_numbers_arithmetic() -> None:
    rows = noise(61, 40)[:, :, 0]
    plan = _plan(61, 23)
    padded = np.pad(rows.astype(np.int64), ((plan.before, plan.after), (0, 0)))
    units = np.rint(plan.weights.astype(np.float64) * 2**15).astype(np.int64)
    sums = np.concatenate([tile @ padded[at : at + tile.shape[1]] for tile, at in zip(units, plan.starts, strict=True)])[:23]
    assert np.array_equal(_blend(rows, 23), np.clip((sums + 2**14) >> 15, 0, 255))


def test_the_pixels_of_this_version_of_the_recipe_are_the_same_on_every_machine() -> None:
    ramp = (np.arange(97 * 61 * 3, dtype=np.uint64) ** 2 // 7 % 251).astype(np.uint8).reshape(97, 61, 3)
    assert VERSION == "2"
    assert pixel_digest(fit_within(ramp, 32)) == "2b7b39927a0c8b0cf16ca0f4fc99c6f3de37db21c1854dcf46911826b6cbf8fa"


def test_a_flat_photo_stays_flat() -> None:
    for level in (0, 1, 127, 254, 255):
        assert (fit_within(np.full((333, 222, 3), level, dtype=np.uint8), 100) == level).all()


def test_scaling_agrees_with_an_independent_antialiased_filter() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    ours = fit_within(photo, 40).astype(int)
    theirs = resize(torch.from_numpy(photo).permute(2, 0, 1), [40, 30], InterpolationMode.BICUBIC, antialias=True)
    assert np.abs(ours - theirs.permute(1, 2, 0).numpy()).max() <= 1


def test_fine_stripes_become_grey_not_other_stripes() -> None:
    stripes = np.zeros((128, 128, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_within(stripes, 32).astype(int) - 127.5)[2:-2, 2:-2].max() <= 3


def test_a_photo_is_padded_to_the_middle_of_its_square() -> None:
    photo = np.full((20, 10, 3), 9, dtype=np.uint8)
    square = fit_square(photo, 20, (1, 2, 3))
    assert np.array_equal(square[:, 5:15], photo)
    assert np.array_equal(square[:, :5], np.broadcast_to([1, 2, 3], (20, 5, 3)))
    assert np.array_equal(square[:, 15:], np.broadcast_to([1, 2, 3], (20, 5, 3)))


def test_every_photo_becomes_a_square_of_the_size_asked_for() -> None:
    for width, height in ((1, 1), (7, 300), (300, 7), (32, 32), (33, 31)):
        assert fit_square(product(0, width + 4, height + 4), 32, (255, 255, 255)).shape == (32, 32, 3)
