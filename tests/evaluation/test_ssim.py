import numpy as np
import pytest
from skimage.metrics import structural_similarity

from packshot.evaluation.ssim import ssim


def _pair(side: int, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(side)
    photos = random.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return photos, np.clip(photos + random.normal(0, 25, photos.shape), 0, 255).astype(np.uint8)


def _wang(one: np.ndarray, other: np.ndarray, data_range: float) -> float:
    return float(
        structural_similarity(
            one.transpose(1, 2, 0),
            other.transpose(1, 2, 0),
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=data_range,
        )
    )


@pytest.mark.parametrize("side", [11, 16, 32, 64, 75, 150])
def test_ssim_is_scikit_image_s_gaussian_mode(side: int):
    photos, noisy = _pair(side)
    theirs = [_wang(a, b, 255) for a, b in zip(photos, noisy, strict=True)]
    np.testing.assert_allclose(ssim(photos, noisy, data_range=255), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, shape: np.full(shape, random.integers(0, 256)),
        lambda random, shape: np.broadcast_to(np.linspace(0, 255, shape[-1]), shape) * random.uniform(0.1, 1),
        lambda random, shape: 254 + (random.random(shape) < 0.01),
        lambda random, shape: 255 * (random.random(shape) < 0.5),
    ],
    ids=["constant", "gradient", "white but for a few pixels", "black and white"],
)
def test_flat_smooth_and_harsh_pictures_are_scikit_image_s_too(draw):
    random = np.random.default_rng(4)
    one, other = (draw(random, (8, 3, 40, 40)).astype(np.uint8) for _ in range(2))
    near = np.where(random.random(one.shape) < 0.02, one // 2, one)
    for pictures in (other, near):
        theirs = [_wang(a, b, 255) for a, b in zip(one, pictures, strict=True)]
        np.testing.assert_allclose(ssim(one, pictures, data_range=255), theirs, rtol=0, atol=1e-12)


def test_ssim_of_floats_with_a_declared_range_is_that_of_their_bytes():
    photos, noisy = _pair(32)
    np.testing.assert_allclose(ssim(photos / 255, noisy / 255, data_range=1.0), ssim(photos, noisy, data_range=255), atol=1e-12)


def test_bytes_beside_floats_are_what_bytes_beside_bytes_are():
    photos, noisy = _pair(32)
    told = ssim(photos, noisy, data_range=255)
    for pictures, targets in ((photos, noisy.astype(np.float32)), (photos.astype(np.float64), noisy)):
        np.testing.assert_allclose(ssim(pictures, targets, data_range=255), told, atol=1e-12)


def test_real_photos_agree_with_scikit_image(clothing):
    import cv2

    files = sorted(clothing.glob("*/*.jpg"))[::400]
    photos = np.stack([cv2.resize(cv2.imread(str(file)), (48, 48), interpolation=cv2.INTER_AREA) for file in files])
    photos = photos.transpose(0, 3, 1, 2)
    blurred = np.stack([cv2.GaussianBlur(photo.transpose(1, 2, 0), (0, 0), 1).transpose(2, 0, 1) for photo in photos])
    theirs = [_wang(a, b, 255) for a, b in zip(photos, blurred, strict=True)]
    np.testing.assert_allclose(ssim(photos, blurred, data_range=255), theirs, atol=1e-6)


def test_the_same_picture_is_1_and_order_does_not_matter():
    photos, noisy = _pair(16)
    np.testing.assert_allclose(ssim(photos, photos, data_range=255), 1.0, atol=1e-12)
    np.testing.assert_allclose(ssim(photos, noisy, data_range=255), ssim(noisy, photos, data_range=255), atol=1e-12)


def test_a_picture_s_score_does_not_depend_on_those_beside_it():
    photos, noisy = _pair(32, count=40)
    alone = [ssim(photos[i : i + 1], noisy[i : i + 1], data_range=255)[0] for i in range(40)]
    np.testing.assert_allclose(ssim(photos, noisy, data_range=255), alone, atol=1e-12)


def test_pictures_too_small_for_a_window_are_refused():
    photos, noisy = _pair(10)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(photos, noisy, data_range=255)


def test_a_wrong_range_is_refused():
    photos, noisy = _pair(16)
    with pytest.raises(ValueError, match="outside"):
        ssim(photos / 127.5 - 1, noisy / 127.5 - 1, data_range=1.0)
    with pytest.raises(ValueError, match="data range is 1"):
        ssim(photos / 255, noisy / 255, data_range=255)
