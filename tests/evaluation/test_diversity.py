import numpy as np
import pytest

from packshot.evaluation.diversity import estimate_alikeness, estimate_worst_excess, measure_alikeness
from packshot.evaluation.ssim import ssim
from tests.evaluation.shapes import KINDS, draw_shapes


def test_the_mean_is_near_that_of_every_pair_of_a_category():
    shop = draw_shapes(80)
    alike = measure_alikeness(shop.images, shop.categories, seed=0)
    pairs = [(i, j) for i in range(80) for j in range(i) if shop.categories[i] == shop.categories[j]]
    one, other = (np.array(column) for column in zip(*pairs, strict=True))
    truth = ssim(shop.images[one], shop.images[other], data_range=255).mean()
    found = estimate_alikeness(alike)
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, abs=0.03)


def test_one_collapsed_category_is_named_among_sound_ones():
    real, drawn = draw_shapes(160, seed=1), draw_shapes(160, seed=2)
    collapsed = drawn.images.copy()
    ring = KINDS.index("ring")
    collapsed[drawn.categories == ring] = collapsed[ring]
    real_alike = measure_alikeness(real.images, real.categories, seed=0)
    sound = estimate_worst_excess(measure_alikeness(drawn.images, drawn.categories, seed=0), real_alike, KINDS)
    found = estimate_worst_excess(measure_alikeness(collapsed, drawn.categories, seed=0), real_alike, KINDS)
    assert sound.low < 0.05
    assert found.low > 0.2
    assert found.note == "worst: ring"


def test_lonely_pictures_and_small_categories_are_left_out():
    shop = draw_shapes(5)
    assert len(measure_alikeness(shop.images, shop.categories, seed=0).values) == 2
    assert estimate_alikeness(measure_alikeness(shop.images[:4], shop.categories[:4], seed=0)).value is None
