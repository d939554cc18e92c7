import numpy as np
import pytest

from packshot.evaluation.baselines import PrincipalComponents
from packshot.evaluation.bootstrap import estimate_mean
from packshot.evaluation.psnr import psnr
from packshot.evaluation.robustness import DISTURBANCES, estimate_robustness
from tests.evaluation.shapes import draw_shapes


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_photo_is_disturbed_a_little_and_always_the_same_whatever_stands_beside_it(name: str):
    photos = draw_shapes(40).images
    before, disturbed = photos.copy(), DISTURBANCES[name](photos)
    assert disturbed.shape == photos.shape
    assert disturbed.dtype == np.uint8
    np.testing.assert_array_equal(photos, before)
    np.testing.assert_array_equal(DISTURBANCES[name](photos[7:12]), disturbed[7:12])
    scores = psnr(disturbed, photos, data_range=255)
    assert scores.min() > 18
    assert scores.max() < 45


def test_the_shift_is_half_a_pixel_down_and_half_right_with_a_replicated_border():
    down, right = np.mgrid[:32, :32]
    ramp = np.broadcast_to(4 * down + 2 * right, (1, 3, 32, 32)).astype(np.uint8)
    shifted = DISTURBANCES["shift_half_px"](ramp)
    np.testing.assert_array_equal(shifted[..., 1:, 1:], ramp[..., 1:, 1:] - 3)
    np.testing.assert_array_equal(shifted[..., 0, 1:], ramp[..., 0, 1:] - 1)
    np.testing.assert_array_equal(shifted[..., 0, 0], ramp[..., 0, 0])


def test_noise_has_2_percent_and_no_two_photos_have_the_same():
    grey = np.full((2, 3, 64, 64), 128, dtype=np.uint8)
    grey[1, 0, 0, 0] = 129
    one, other = DISTURBANCES["noise_2pct"](grey).astype(float) - 128
    assert one.std() == pytest.approx(0.02 * 255, rel=0.05)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05


def test_darker_photos_lose_a_twentieth_of_their_light():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    np.testing.assert_allclose(DISTURBANCES["darker_5pct"](levels), levels * 0.95, atol=0.5)


def test_a_model_loses_on_every_disturbance_and_the_worst_is_named():
    photos, fitted = draw_shapes(60, seed=1).images, PrincipalComponents.fit(draw_shapes(200).images, 16)
    clean = psnr(fitted.redraw(photos), photos, data_range=255)
    disturbed = {name: psnr(fitted.redraw(change(photos)), photos, data_range=255) for name, change in DISTURBANCES.items()}
    losses = {name: float((scores - clean).mean()) for name, scores in disturbed.items()}
    found = estimate_robustness(clean, disturbed, None, resamples=1000, seed=0)
    assert max(losses.values()) < 0
    assert found.value == pytest.approx(min(losses.values()))
    assert found.note == f"worst: {min(losses, key=losses.__getitem__)}"
    assert found.low < found.value < found.high < 0
    assert found.n == 60


def test_pairing_sees_a_loss_far_below_the_spread_among_photos():
    random = np.random.default_rng(0)
    clean = random.normal(24, 4, 200)
    found = estimate_robustness(clean, {"slight": clean - random.normal(0.2, 0.3, 200)}, None, resamples=1000, seed=0)
    assert found.high < 0


def _simulate(random: np.random.Generator, truth: tuple[float, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    clean = random.normal(24, 3, 40)
    return clean, {str(row): clean + random.normal(mean, 1, 40) for row, mean in enumerate(truth)}


@pytest.mark.parametrize("truth", [(-1, -1, -1, -1), (-0.2, -0.3, -2, 0)])
def test_the_interval_covers_the_truly_worst_though_the_photos_pick_it(truth: tuple[float, ...]):
    covered = 0
    for seed in range(200):
        found = estimate_robustness(*_simulate(np.random.default_rng(seed), truth), None, resamples=400, seed=seed)
        covered += found.low <= min(truth) <= found.high
    assert covered >= 200 * 0.93


def test_the_interval_of_the_picked_alone_would_miss_more_often():
    covered, values = {"picked": 0, "all": 0}, []
    for seed in range(200):
        clean, disturbed = _simulate(np.random.default_rng(seed), (-1,) * 6)
        picked = min((scores - clean for scores in disturbed.values()), key=np.mean)
        alone = estimate_mean(picked, resamples=400, seed=seed)
        found = estimate_robustness(clean, disturbed, None, resamples=400, seed=seed)
        values.append(found.value)
        covered["picked"] += alone.low <= -1 <= alone.high
        covered["all"] += found.low <= -1 <= found.high
    assert np.mean(values) < -1.1
    assert covered["picked"] < 200 * 0.9
    assert covered["all"] >= 200 * 0.93


def test_one_disturbance_has_the_plain_interval_and_more_have_a_wider_one_above():
    random = np.random.default_rng(0)
    clean = random.normal(24, 3, 80)
    worst, slight = clean + random.normal(-2, 1, 80), clean + random.normal(0, 0.1, 80)
    plain = estimate_mean(worst - clean, resamples=2000, seed=3)
    alone = estimate_robustness(clean, {"worst": worst}, None, resamples=2000, seed=3)
    both = estimate_robustness(clean, {"slight": slight, "worst": worst}, None, resamples=2000, seed=3)
    assert (alone.low, alone.value, alone.high) == (plain.low, plain.value, plain.high)
    assert (both.low, both.value) == (alone.low, alone.value)
    assert both.high > alone.high


def test_near_duplicates_count_once():
    clean, random = np.zeros(80), np.random.default_rng(0)
    disturbed = {"some": np.repeat(random.normal(-1, 1, 20), 4)}
    groups = [str(row // 4) for row in range(80)]
    grouped, single = (estimate_robustness(clean, disturbed, told, resamples=1000, seed=0) for told in (groups, None))
    assert grouped.high - grouped.low > 1.5 * (single.high - single.low)


def test_nothing_disturbed_too_few_photos_and_scores_that_are_no_numbers_are_withheld():
    clean = np.linspace(20, 30, 20)
    odd = np.where(np.arange(20) == 3, np.nan, clean)
    for scores, disturbed in ((clean, {}), (clean[:7], {"a": clean[:7]}), (odd, {"a": clean}), (clean, {"a": clean, "b": odd})):
        found = estimate_robustness(scores, disturbed, None, resamples=100, seed=0)
        assert found.value is None
        assert found.note
