import numpy as np
import pytest

from packshot.evaluation.baselines import PrincipalComponents, mean_picture, nearest_photos
from packshot.evaluation.psnr import psnr
from tests.evaluation.shapes import draw_shapes


@pytest.mark.parametrize("size", [1, 8, 32])
def test_pca_draws_photos_again_as_a_full_decomposition_does(size: int):
    training, test = draw_shapes(200, side=16, seed=0).images, draw_shapes(40, side=16, seed=1).images
    rows = training.reshape(200, -1) / 255
    mean = rows.mean(axis=0)
    _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
    coded = (test.reshape(40, -1) / 255 - mean) @ directions[:size].T
    again = np.clip(coded @ directions[:size] + mean, 0, 1).reshape(test.shape)
    full = psnr(again, test / 255, data_range=1.0).mean()
    found = psnr(PrincipalComponents.fit(training, size).redraw(test), test, data_range=255).mean()
    assert found == pytest.approx(full, abs=0.02)


def test_pca_cannot_have_more_directions_than_there_are_photos_less_one():
    training = draw_shapes(6, side=16).images
    components = PrincipalComponents.fit(training, 64)
    assert len(components.directions) == 5
    assert psnr(components.redraw(training), training, data_range=255).min() > 40


def test_the_nearest_photo_is_the_one_of_least_error():
    training, test = draw_shapes(60, side=16, seed=0).images, draw_shapes(20, side=16, seed=1).images
    found = psnr(nearest_photos(test, training), test, data_range=255)
    best = [max(psnr(training, np.repeat(photo[None], 60, axis=0), data_range=255)) for photo in test]
    np.testing.assert_allclose(found, best, atol=1e-9)


def test_the_mean_photo_is_the_mean():
    training = draw_shapes(50, side=16).images
    np.testing.assert_array_equal(mean_picture(training, 3)[2], np.round(training.mean(axis=0)).astype(np.uint8))
