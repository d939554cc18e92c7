import numpy as np
import pytest
import torch

from packshot.evaluation.features import Classifier, PixelEyes, train_eyes
from packshot.evaluation.protocol import ExtractorParams
from tests.evaluation.shapes import KINDS, draw_shapes

PARAMS = ExtractorParams(epochs=15, width=8, seed=1)


@pytest.fixture(scope="module")
def shop():
    return draw_shapes(400, side=16)


def test_the_classifier_learns_to_tell_real_photos_apart(shop, tmp_path):
    eyes = train_eyes(shop, len(KINDS), PARAMS, tmp_path)
    unseen = draw_shapes(80, side=16, seed=9)
    assert (eyes.name(eyes.see(unseen.images)) == unseen.categories).mean() > 0.7
    assert eyes.see(unseen.images).shape == (80, 32)


def test_the_same_photos_give_the_same_eyes_whatever_ran_before(shop, tmp_path):
    quick = PARAMS.model_copy(update={"epochs": 1})
    one = train_eyes(shop, len(KINDS), quick, tmp_path / "a")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(123)
    torch.rand(7)
    before = torch.random.get_rng_state()
    try:
        other = train_eyes(shop, len(KINDS), quick, tmp_path / "b")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert one.digest == other.digest
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_cache_answers_the_same_and_other_settings_do_not_meet_in_it(shop, tmp_path):
    quick = PARAMS.model_copy(update={"epochs": 1})
    first = train_eyes(shop, len(KINDS), quick, tmp_path)
    again = train_eyes(shop, len(KINDS), quick, tmp_path)
    assert first.digest == again.digest
    np.testing.assert_array_equal(first.see(shop.images[:5]), again.see(shop.images[:5]))
    train_eyes(shop, len(KINDS), quick.model_copy(update={"seed": 2}), tmp_path)
    assert len(list((tmp_path / "eyes").iterdir())) == 2


def test_a_damaged_cache_is_made_again(shop, tmp_path):
    quick = PARAMS.model_copy(update={"epochs": 1})
    first = train_eyes(shop, len(KINDS), quick, tmp_path)
    (path,) = (tmp_path / "eyes").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert train_eyes(shop, len(KINDS), quick, tmp_path).digest == first.digest


def test_features_of_a_picture_do_not_depend_on_those_beside_it(shop, tmp_path):
    eyes = train_eyes(shop, len(KINDS), PARAMS.model_copy(update={"epochs": 1}), tmp_path)
    np.testing.assert_allclose(eyes.see(shop.images[:40])[7], eyes.see(shop.images[7:8])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_network_takes_every_side(side: int):
    network = Classifier(side, 5, 4).eval()
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 5)
    assert network.features(torch.zeros(2, 3, side, side)).shape == (2, 16)


def test_larger_pictures_are_averaged_down(tmp_path):
    small = draw_shapes(40, side=64)
    large = np.repeat(np.repeat(small.images, 2, axis=2), 2, axis=3)
    eyes = PixelEyes.fit(small.images)
    np.testing.assert_allclose(eyes.see(large), eyes.see(small.images), atol=1e-5)


def test_pixel_eyes_see_brightness():
    shop = draw_shapes(100, side=16)
    eyes = PixelEyes.fit(shop.images)
    darker = (shop.images * 0.8).astype(np.uint8)
    assert np.abs(eyes.see(darker) - eyes.see(shop.images)).max(axis=1).min() > 0.5
