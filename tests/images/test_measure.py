from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from packshot.images.measure import measure


def cut_out(share: float) -> np.ndarray:
    canvas = np.full((100, 100, 3), 255, dtype=np.uint8)
    side = round(100 * share**0.5)
    start = (100 - side) // 2
    canvas[start : start + side, start : start + side] = (30, 60, 120)
    return canvas


def test_a_cut_out_on_white_measures_as_it_was_made() -> None:
    found = measure(cut_out(0.25))
    luma = 0.299 * 30 + 0.587 * 60 + 0.114 * 120
    assert found.whiteness == 1.0
    assert found.fill == pytest.approx(0.25, abs=1e-6)
    assert found.brightness == pytest.approx((0.25 * luma + 0.75 * 255) / 255, abs=0.005)
    assert found.contrast == pytest.approx((255 - luma) / 255 * (0.25 * 0.75) ** 0.5, abs=0.005)


def test_a_blank_picture_shows_nothing() -> None:
    found = measure(np.full((50, 80, 3), 17, dtype=np.uint8))
    assert (found.sharpness, found.contrast, found.fill, found.whiteness) == (0.0, 0.0, 0.0, 0.0)


def test_blur_lowers_sharpness_step_by_step() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8))
    values = [measure(np.asarray(photo.filter(ImageFilter.GaussianBlur(radius)))).sharpness for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 100 * values[-1]


def test_large_and_small_versions_of_a_photo_measure_alike() -> None:
    photo = Image.fromarray(cut_out(0.3))
    small, large = (measure(np.asarray(photo.resize((side, side), Image.Resampling.BICUBIC))) for side in (128, 512))
    assert small.fill == pytest.approx(large.fill, abs=0.03)
    assert small.brightness == pytest.approx(large.brightness, abs=0.01)


def test_the_smallest_picture_is_measured() -> None:
    assert measure(np.zeros((1, 1, 3), dtype=np.uint8)).brightness == 0.0
