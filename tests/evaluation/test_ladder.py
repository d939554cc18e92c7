import numpy as np
import pytest

from packshot.evaluation.ladder import REFERENCE_NAMES, RUNGS
from packshot.evaluation.psnr import psnr
from tests.evaluation.shapes import draw_shapes


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_gives_as_many_pictures_and_always_the_same(rung: str):
    shop = draw_shapes(60)
    one, asked = RUNGS[rung](shop.images, shop.categories)
    other, _ = RUNGS[rung](shop.images, shop.categories)
    assert one.shape == shop.images.shape
    assert one.dtype == np.uint8
    assert asked.shape == (60,)
    np.testing.assert_array_equal(one, other)


def test_wider_blurs_lie_farther_from_the_photo():
    shop = draw_shapes(20)
    scores = [
        psnr(RUNGS[rung](shop.images, shop.categories)[0], shop.images, data_range=255).mean()
        for rung in ("blur_half_px", "blur_1px", "blur_2px")
    ]
    assert scores[0] > scores[1] > scores[2]


def test_the_largest_category_is_missing_and_few_are_repeated():
    shop = draw_shapes(61)
    _, asked = RUNGS["largest_category_missing"](shop.images, shop.categories)
    assert 0 not in asked
    repeated, _ = RUNGS["few_repeated"](shop.images, shop.categories)
    assert len(np.unique(repeated.reshape(61, -1), axis=0)) == 4


def test_every_reference_has_one_name():
    assert len(set(REFERENCE_NAMES)) == len(REFERENCE_NAMES)
