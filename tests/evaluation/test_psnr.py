import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from packshot.evaluation.psnr import CAP, psnr


def _pair(seed: int, deviation: float = 12.0, count: int = 4, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    photos = random.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    noisy = np.clip(photos + random.normal(0, deviation, photos.shape), 0, 255).astype(np.uint8)
    return photos, noisy


def test_psnr_is_scikit_image_s_of_each_picture():
    photos, noisy = _pair(0, count=8)
    ours = psnr(noisy, photos, data_range=255)
    theirs = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(photos, noisy, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_psnr_of_a_known_error_is_its_closed_form():
    black, grey = np.zeros((1, 3, 16, 16)), np.full((1, 3, 16, 16), 0.1)
    assert psnr(grey, black, data_range=1.0)[0] == pytest.approx(20.0)


def test_psnr_of_the_same_picture_stops_at_the_cap():
    photos, _ = _pair(1)
    assert (psnr(photos, photos, data_range=255) == CAP).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_psnr_is_symmetric_and_falls_as_noise_rises(seed: int):
    photos, noisy = _pair(seed)
    _, worse = _pair(seed, deviation=40)
    np.testing.assert_array_equal(psnr(noisy, photos, data_range=255), psnr(photos, noisy, data_range=255))
    assert (psnr(noisy, photos, data_range=255) > psnr(worse, photos, data_range=255)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), span=st.floats(0.5, 300))
def test_psnr_does_not_depend_on_the_unit(seed: int, span: float):
    random = np.random.default_rng(seed)
    one, other = random.random((3, 3, 8, 8)), random.random((3, 3, 8, 8))
    np.testing.assert_allclose(
        psnr(one * span, other * span, data_range=span * (1 + 1e-12)), psnr(one, other, data_range=1.0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "data_range", "complaint"),
    [
        (lambda x: x.astype(np.float64) / 127.5 - 1, 1.0, "outside"),  # [-1, 1] passed as [0, 1]
        (lambda x: x.astype(np.float64) / 255, 255.0, "data range is 1"),  # [0, 1] passed as 0 to 255
        (lambda x: x, 1.0, "bytes"),
        (lambda x: x, 2.0, "bytes"),
        (lambda x: np.full(x.shape, np.nan), 1.0, "not finite"),
        (lambda x: np.full(x.shape, np.inf), 1.0, "not finite"),
        (lambda x: x.astype(np.float64), 0.0, "positive"),
        (lambda x: x.astype(np.float64), float("nan"), "positive"),
    ],
)
def test_a_wrong_range_is_refused(change, data_range, complaint):
    photos, noisy = _pair(2)
    with pytest.raises(ValueError, match=complaint):
        psnr(change(noisy), change(photos), data_range=data_range)


def test_pictures_of_different_shapes_are_refused():
    photos, noisy = _pair(3)
    with pytest.raises(ValueError, match="one shape"):
        psnr(photos, noisy[:2], data_range=255)


def test_no_pictures_have_no_scores():
    assert psnr(np.empty((0, 3, 16, 16), np.uint8), np.empty((0, 3, 16, 16), np.uint8), data_range=255).shape == (0,)
