from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter
from skimage.feature import hog
from skimage.measure import shannon_entropy

from packshot.images.measure import SHAPE_BYTES, describe_shape, measure

GRAIN = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)


def flat(*colour: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def cut_out(share: float) -> np.ndarray:
    canvas = flat(255, 255, 255, height=100, width=100)
    side = round(100 * share**0.5)
    start = (100 - side) // 2
    canvas[start : start + side, start : start + side] = (30, 60, 120)
    return canvas


def luma(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))


def test_a_cut_out_on_white_measures_as_it_was_made() -> None:
    found = measure(cut_out(0.25))
    grey = 0.299 * 30 + 0.587 * 60 + 0.114 * 120
    assert found.whiteness == found.uniformity == 1.0
    assert found.border_touch == 0.0
    assert found.fill == pytest.approx(0.25, abs=1e-6)
    assert found.highlights == pytest.approx(0.75, abs=1e-6)
    assert found.brightness == pytest.approx((0.25 * grey + 0.75 * 255) / 255, abs=0.005)
    assert found.contrast == pytest.approx((255 - grey) / 255 * (0.25 * 0.75) ** 0.5, abs=0.005)
    assert found.entropy == pytest.approx(-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)), abs=1e-5)


def test_a_blank_picture_shows_nothing() -> None:
    found = measure(flat(17, 17, 17))
    nothing = ("sharpness", "contrast", "fill", "whiteness", "entropy", "colourfulness", "border_touch", "shadows", "highlights")
    assert [asdict(found)[name] for name in nothing] == [0.0] * len(nothing)
    assert found.uniformity == 1.0


def test_blur_lowers_sharpness_step_by_step() -> None:
    photo = Image.fromarray(GRAIN)
    values = [measure(np.asarray(photo.filter(ImageFilter.GaussianBlur(radius)))).sharpness for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 100 * values[-1]


def test_exposure_counts_what_is_clipped() -> None:
    halves = np.concatenate([flat(0, 0, 0, height=30), flat(255, 255, 255, height=10), flat(128, 128, 128, height=60)])
    found = measure(halves)
    assert (found.shadows, found.highlights) == (0.3, 0.1)
    edge = measure(np.concatenate([flat(tone, tone, tone, height=30) for tone in (5, 6, 249, 250)]))
    assert (edge.shadows, edge.highlights) == (0.25, 0.25)


@pytest.mark.parametrize("pixels", [GRAIN, cut_out(0.4), np.asarray(Image.fromarray(GRAIN).filter(ImageFilter.BoxBlur(3)))])
def test_entropy_is_that_of_the_lumas_histogram(pixels: np.ndarray) -> None:
    assert measure(pixels).entropy == pytest.approx(shannon_entropy(luma(pixels)), abs=0.01)


@pytest.mark.parametrize("pixels", [GRAIN, cut_out(0.3), flat(255, 0, 0), flat(90, 200, 40), GRAIN // 4 + 100])
def test_colourfulness_is_equation_8_of_hasler_and_suesstrunk(pixels: np.ndarray) -> None:
    red, green, blue = pixels.reshape(-1, 3).astype(np.float64).T
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert measure(pixels).colourfulness == pytest.approx(expected, abs=0.001)


def test_grey_is_without_colour_whatever_its_tones() -> None:
    grey = np.repeat(GRAIN[:, :, :1], 3, axis=2)
    assert measure(grey).colourfulness == 0.0


def test_a_backdrop_is_the_less_even_the_more_it_changes() -> None:
    slope = [np.linspace(200 - fall, 200, 100) for fall in (0, 20, 80, 200)]
    values = [measure(np.tile(one[:, None, None], (1, 100, 3)).astype(np.uint8)).uniformity for one in slope]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0
    assert values[-1] < 0.6


def test_a_product_that_is_cut_off_touches_the_border_and_leaves_the_backdrop_even() -> None:
    canvas = flat(240, 240, 240, height=100, width=100)
    canvas[40:, 30:70] = (20, 30, 40)
    found = measure(canvas)
    assert found.border_touch == pytest.approx(40 / 396, abs=1e-5)
    assert found.uniformity == 1.0
    assert found.fill == pytest.approx(0.24, abs=1e-6)


def test_a_white_backdrop_is_told_from_a_grey_one() -> None:
    assert measure(flat(232, 231, 230)).whiteness == 1.0
    assert measure(flat(232, 231, 229)).whiteness == 0.0


def test_large_and_small_versions_of_a_photo_measure_alike() -> None:
    photo = Image.fromarray(cut_out(0.3))
    small, large = (measure(np.asarray(photo.resize((side, side), Image.Resampling.BICUBIC))) for side in (128, 512))
    assert small.fill == pytest.approx(large.fill, abs=0.03)
    assert small.brightness == pytest.approx(large.brightness, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays(np.uint8, (*size, 3))))
def test_every_picture_is_measured_within_its_ranges(pixels: np.ndarray) -> None:
    found = measure(pixels)
    assert found.sharpness >= 0
    assert 0 <= found.contrast <= 0.50001
    assert 0 <= found.entropy <= 8
    assert 0 <= found.colourfulness <= 300
    shares = ("brightness", "shadows", "highlights", "whiteness", "uniformity", "fill", "border_touch")
    assert all(0 <= asdict(found)[name] <= 1 for name in shares), found
    assert len(describe_shape(pixels)) == SHAPE_BYTES


def test_the_smallest_picture_is_measured() -> None:
    assert measure(np.zeros((1, 1, 3), dtype=np.uint8)).brightness == 0.0


def shape(pixels: np.ndarray) -> np.ndarray:
    return np.frombuffer(describe_shape(pixels), dtype=np.uint8).reshape(4, 4, 8).astype(np.float64)


def test_stripes_run_in_one_direction() -> None:
    waves = np.tile((127 + 120 * np.sin(np.arange(64) / 2)).astype(np.uint8)[:, None], (1, 64))
    across, down = (shape(np.repeat(one[:, :, None], 3, axis=2)) for one in (waves.T, waves))
    assert (across.argmax(axis=2) == 0).all()  # gradients lie across the stripes
    assert (down.argmax(axis=2) == 4).all()


def test_the_shape_of_a_mirror_image_is_the_shape_in_a_mirror() -> None:
    ramp = np.asarray(Image.fromarray(GRAIN[:64, :64]).filter(ImageFilter.GaussianBlur(3)))
    one, other = shape(ramp), shape(np.ascontiguousarray(ramp[:, ::-1]))
    mirrored = other[:, ::-1][:, :, -np.arange(8) % 8]
    assert np.abs(one - mirrored).mean() < 2  # gradients on the border between two directions


@pytest.mark.parametrize("radius", [0.1, 2, 3, 5])
def test_the_shape_is_scikit_images_histogram_of_gradients(radius: float) -> None:
    photo = np.asarray(Image.fromarray(GRAIN[:64, :64]).filter(ImageFilter.GaussianBlur(radius)))
    halves = hog(luma(photo), orientations=16, pixels_per_cell=(16, 16), cells_per_block=(4, 4), block_norm="L1").reshape(
        4, 4, 16
    )
    block = np.roll(halves, 1, axis=2).reshape(4, 4, 8, 2).sum(axis=3)  # its bins begin at 0 degrees, these are centred there
    for _ in range(2):
        block = np.minimum(block / np.linalg.norm(block), 0.2)
    assert np.abs(shape(photo) - 255 * np.sqrt(block / 0.2)).mean() < 2


def test_a_flat_picture_has_no_shape() -> None:
    assert describe_shape(flat(90, 20, 30)) == bytes(SHAPE_BYTES)
