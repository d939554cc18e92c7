import cv2
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from packshot.evaluation.features import CatalogEyes, Classifier, train_eyes
from packshot.evaluation.perceptual import perceptual_distance
from packshot.evaluation.protocol import ExtractorParams
from tests.evaluation.shapes import KINDS, draw_shapes


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    shop = draw_shapes(240, side=32)
    return train_eyes(shop, len(KINDS), ExtractorParams(epochs=6, width=8, seed=1), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def photos():
    return draw_shapes(40, side=32, seed=9).images


def _blur(photos, sigma):
    blurred = [cv2.GaussianBlur(np.ascontiguousarray(photo.transpose(1, 2, 0)), (0, 0), sigma) for photo in photos]
    return np.stack(blurred).transpose(0, 3, 1, 2)


def _noise(photos, share):
    drawn = photos + np.random.default_rng(3).normal(0, share * 255, photos.shape)
    return np.clip(np.round(drawn), 0, 255).astype(np.uint8)


# --- the definition, in numpy


def _convolve(x, kernel, stride):
    """3 x 3 with zeros around: (C, H, W) -> (K, H / stride, W / stride)."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,kcij->khw", windows, kernel)


def _activations(network, picture):
    """Layer by layer, what is left where the next halves the grid, and the last."""
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
    x, kept, at = picture / 127.5 - 1, [], 0
    for stride in (1, 2, 1, 2):
        kept += [x] if stride == 2 else []
        x = _convolve(x, state[f"body.{at}.weight"], stride)
        mean, variance, scale, shift = (
            state[f"body.{at + 1}.{what}"][:, None, None] for what in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
        x, at = x / (1 + np.exp(-x)), at + 3
    return [*kept, x]


def _distance(ones, others):
    layers = []
    for one, other in zip(ones, others, strict=True):
        places = []
        for row, column in np.ndindex(one.shape[1:]):
            a, b = one[:, row, column], other[:, row, column]
            places.append(sum((a / np.sqrt(a @ a) - b / np.sqrt(b @ b)) ** 2))
        layers.append(np.mean(places))
    return np.mean(layers)


def test_the_distance_is_the_definition_s():
    torch.manual_seed(4)
    network = Classifier(16, 3, 4)
    network(torch.randn(64, 3, 16, 16))
    eyes = CatalogEyes(network.eval(), "")
    photos = draw_shapes(3, side=16).images
    blurred = _blur(photos, 1)
    expected = [
        _distance(_activations(network, one), _activations(network, other)) for one, other in zip(photos, blurred, strict=True)
    ]
    np.testing.assert_allclose(perceptual_distance(eyes, photos, blurred), expected, rtol=1e-4)


def test_the_eyes_look_at_every_grid_and_see_the_mean_of_the_last(eyes, photos):
    looked = eyes.look(photos[:5])
    assert [grid.shape for grid in looked] == [(5, 8, 32, 32), (5, 16, 16, 16), (5, 32, 8, 8), (5, 32, 4, 4)]
    np.testing.assert_allclose(looked[-1].mean(axis=(2, 3)), eyes.see(photos[:5]), rtol=1e-5, atol=1e-6)


def test_equal_pictures_lie_at_0(eyes, photos):
    np.testing.assert_array_equal(perceptual_distance(eyes, photos, photos.copy()), np.zeros(40))


def test_a_picture_that_is_its_target_lies_at_0_among_others_that_are_not(eyes, photos):
    drawn = _blur(photos, 2)
    drawn[7] = photos[7]
    found = perceptual_distance(eyes, drawn, photos)
    assert found[7] == pytest.approx(0, abs=1e-9)
    assert np.delete(found, 7).min() > 0


def test_either_may_be_the_target(eyes, photos):
    one, other = perceptual_distance(eyes, photos, photos[::-1]), perceptual_distance(eyes, photos[::-1], photos)
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert (one >= 0).all()
    assert (one <= 4).all()


@pytest.mark.parametrize(("worsen", "amounts"), [(_blur, (0.5, 1, 2)), (_noise, (0.02, 0.05, 0.1))], ids=["blur", "noise"])
def test_the_distance_grows_with_what_is_done_to_photos(eyes, photos, worsen, amounts):
    little, more, most = (perceptual_distance(eyes, worsen(photos, amount), photos) for amount in amounts)
    assert 0 < little.mean() < more.mean() < most.mean()
    assert (most > little).mean() > 0.9


def test_a_picture_s_distance_does_not_depend_on_those_beside_it(eyes):
    photos = draw_shapes(70, side=32, seed=5).images
    drawn = _blur(photos, 1)
    alone = [perceptual_distance(eyes, drawn[row : row + 1], photos[row : row + 1])[0] for row in (0, 31, 63, 64, 69)]
    np.testing.assert_allclose(perceptual_distance(eyes, drawn, photos)[[0, 31, 63, 64, 69]], alone, rtol=1e-3)


def test_detail_that_the_eyes_average_away_counts_nothing():
    torch.manual_seed(5)
    eyes = CatalogEyes(Classifier(64, 3, 4).eval(), "")
    plain = np.full((2, 3, 128, 128), 100, dtype=np.uint8)
    grained = plain + np.where(np.indices((128, 128)).sum(axis=0) % 2, 10, -10).astype(np.int8).astype(np.uint8)
    np.testing.assert_array_equal(perceptual_distance(eyes, grained, plain), [0, 0])


def test_photos_on_disk_are_looked_at_where_they_are(eyes, photos, tmp_path):
    np.save(tmp_path / "photos.npy", photos)
    on_disk, drawn = np.load(tmp_path / "photos.npy", mmap_mode="r"), _blur(photos, 1)
    np.testing.assert_array_equal(perceptual_distance(eyes, drawn, on_disk), perceptual_distance(eyes, drawn, photos))


def test_no_pictures_have_no_distances(eyes, photos):
    assert perceptual_distance(eyes, photos[:0], photos[:0]).shape == (0,)


def test_pictures_without_their_targets_are_refused(eyes, photos):
    with pytest.raises(ValueError, match="one shape"):
        perceptual_distance(eyes, photos[:3], photos[:4])
    with pytest.raises(ValueError, match="their data range is 1"):
        perceptual_distance(eyes, photos / 255, photos / 255)
