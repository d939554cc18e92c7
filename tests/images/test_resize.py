from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from packshot.images.resize import fit_square, fit_within
from tests.images.files import product


@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 128))
def test_a_photo_fits_keeps_its_aspect_and_is_never_enlarged(width: int, height: int, side: int) -> None:
    fitted = fit_within(np.zeros((height, width, 3), dtype=np.uint8), side)
    assert max(fitted.shape[:2]) == min(side, max(width, height))
    scale = min(1.0, side / max(width, height))
    assert abs(fitted.shape[0] - height * scale) <= max(0.5, 1 - height * scale)
    assert abs(fitted.shape[1] - width * scale) <= max(0.5, 1 - width * scale)


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
