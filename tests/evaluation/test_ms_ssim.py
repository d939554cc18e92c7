import numpy as np
import pytest
from scipy.signal import convolve2d

from packshot.evaluation.ms_ssim import EXPONENTS, ms_ssim, scales


def _pair(side: int, noise: float = 25.0, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(side)
    coarse = random.integers(0, 256, (count, 3, side // 2, side // 2)).repeat(2, axis=2).repeat(2, axis=3)
    photos = coarse.astype(np.uint8)
    return photos, np.clip(photos + random.normal(0, noise, photos.shape), 0, 255).astype(np.uint8)


def _by_hand(one: np.ndarray, other: np.ndarray) -> float:
    """Equation 7 for one channel, written with a plain convolution by the window."""
    offsets = np.arange(11) - 5
    taps = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    x, y, count = one.astype(float), other.astype(float), scales(len(one))
    exponents = np.array(EXPONENTS[:count]) / sum(EXPONENTS[:count])
    value = 1.0
    for scale in range(count):
        if scale:
            x, y = ((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in (x, y))
        mx, my, mxx, myy, mxy = (convolve2d(plane, window, "valid") for plane in (x, y, x * x, y * y, x * y))
        structure = (2 * (mxy - mx * my) + 58.5225) / (mxx - mx**2 + myy - my**2 + 58.5225)
        luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        last = scale == count - 1
        value *= max(float((luminance * structure if last else structure).mean()), 0) ** exponents[scale]
    return value


@pytest.mark.parametrize("side", [22, 32, 64])
def test_it_is_equation_7_with_a_plain_convolution(side: int):
    photos, noisy = _pair(side)
    theirs = [np.mean([_by_hand(*planes) for planes in zip(a, b, strict=True)]) for a, b in zip(photos, noisy, strict=True)]
    np.testing.assert_allclose(ms_ssim(photos, noisy, data_range=255), theirs, atol=1e-9)


def test_smaller_pictures_have_fewer_scales():
    assert [scales(side) for side in (11, 22, 32, 44, 64, 88, 128, 176, 512)] == [1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_same_picture_is_1_order_does_not_matter_and_more_noise_is_less():
    photos, noisy = _pair(32)
    np.testing.assert_allclose(ms_ssim(photos, photos, data_range=255), 1.0, atol=1e-12)
    np.testing.assert_allclose(ms_ssim(photos, noisy, data_range=255), ms_ssim(noisy, photos, data_range=255), atol=1e-12)
    means = [ms_ssim(*_pair(32, noise), data_range=255).mean() for noise in (5, 15, 45)]
    assert means[0] > means[1] > means[2]


def test_a_picture_s_score_does_not_depend_on_those_beside_it():
    photos, noisy = _pair(32, count=70)
    alone = [ms_ssim(photos[row : row + 1], noisy[row : row + 1], data_range=255)[0] for row in range(0, 70, 23)]
    np.testing.assert_allclose(ms_ssim(photos, noisy, data_range=255)[::23], alone, atol=1e-12)


def test_a_negative_structure_counts_as_nothing():
    photos, _ = _pair(32)
    assert ms_ssim(photos, 255 - photos, data_range=255) == pytest.approx(0.0)


def test_too_small_pictures_and_a_wrong_range_are_refused():
    photos, noisy = _pair(20)
    with pytest.raises(ValueError, match="at least 22"):
        ms_ssim(photos, noisy, data_range=255)
    photos, noisy = _pair(32)
    with pytest.raises(ValueError, match="outside"):
        ms_ssim(photos / 127.5 - 1, noisy / 127.5 - 1, data_range=1.0)
