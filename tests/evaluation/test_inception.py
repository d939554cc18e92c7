"""The published weights are not at hand: all that follows is on random ones in their format."""

import hashlib
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models import inception_v3

from packshot.errors import IntegrityError, UsageError
from packshot.evaluation import inception
from packshot.evaluation.inception import InceptionEyes


def _fill(name: str, shape: torch.Size, chances: torch.Generator) -> torch.Tensor:
    """Numbers that keep activations near the size at which they came in (He et al. 2015), and no two norms alike."""
    drawn = torch.randn(shape, generator=chances)
    if name.endswith("conv.weight"):
        return drawn * math.sqrt(2 / math.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + drawn.abs() / 4
    return 1 + drawn / 10 if name.endswith("bn.weight") else drawn / 10


@pytest.fixture(scope="module")
def weights():
    """What the published file holds, and the second answer that only training asks for."""
    with torch.device("meta"):
        network = inception_v3(weights=None, init_weights=False, num_classes=1008, aux_logits=True)
    chances = torch.Generator().manual_seed(1)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.endswith("tracked")}
    return {name: _fill(name, shape, chances) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def published(weights):
    return {name: tensor for name, tensor in weights.items() if not name.startswith("AuxLogits")}


@pytest.fixture(scope="module")
def eyes(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    save_file(published, path)
    yield InceptionEyes.load(path)
    path.unlink()


@pytest.fixture
def path(tmp_path):
    """Where a test writes weights: they are large, and go when it ends."""
    yield tmp_path / "weights.safetensors"
    (tmp_path / "weights.safetensors").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pictures():
    """Noise, each half as bright as the one before."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, 24, 40), dtype=np.uint8)
    return noise >> np.arange(3, dtype=np.uint8)[:, None, None, None]


# --- the network, written out once more from the paper


def _pass(x, weights, *names, stride=1, padding="same"):
    """Convolutions one after the other, each with its norm and ReLU."""
    for name in names:
        x = F.conv2d(x, weights[f"{name}.conv.weight"], stride=stride, padding=padding)
        mean, variance, scale, shift = (
            weights[f"{name}.bn.{what}"][:, None, None] for what in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (variance + 1e-3).sqrt() * scale + shift).clamp(min=0)
    return x


def _windows(x, beyond):
    return F.pad(x, (1, 1, 1, 1), value=beyond).unfold(2, 3, 1).unfold(3, 3, 1)


def _mean(x):
    return _windows(x, math.nan).nanmean(dim=(-1, -2))


def _mean_with_padding(x):
    return _windows(x, 0).mean(dim=(-1, -2))


def _largest(x):
    return _windows(x, -math.inf).amax(dim=(-1, -2))


def _reduce(x):
    return x.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(-1, -2))


def _branches(x, weights, block, pool, *paths):
    told = [_pass(x, weights, *(f"{block}.{name}" for name in path.split())) for path in paths]
    return torch.cat([*told, _pass(pool(x), weights, f"{block}.branch_pool")], dim=1)


def _block_a(x, weights, block, pool=_mean):
    paths = ("branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
    return _branches(x, weights, block, pool, *paths)


def _block_c(x, weights, block, pool=_mean):
    double = " ".join(f"branch7x7dbl_{number}" for number in range(1, 6))
    return _branches(x, weights, block, pool, "branch1x1", "branch7x7_1 branch7x7_2 branch7x7_3", double)


def _block_e(x, weights, block, pool=_mean):
    single = [f"branch3x3_1 branch3x3_2{half}" for half in "ab"]
    double = [f"branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3{half}" for half in "ab"]
    return _branches(x, weights, block, pool, "branch1x1", *single, *double)


def _narrow(x, weights, block, single, double):
    """The blocks that halve the grid: the last convolution of each path takes every second place."""
    told = []
    for *before, last in (single.split(), double.split()):
        seen = _pass(x, weights, *(f"{block}.{name}" for name in before))
        told.append(_pass(seen, weights, f"{block}.{last}", stride=2, padding=0))
    return torch.cat([*told, _reduce(x)], dim=1)


def _features(x, weights):
    x = _pass(x, weights, "Conv2d_1a_3x3", stride=2, padding=0)
    x = _pass(_pass(x, weights, "Conv2d_2a_3x3", padding=0), weights, "Conv2d_2b_3x3")
    x = _pass(_reduce(x), weights, "Conv2d_3b_1x1", "Conv2d_4a_3x3", padding=0)
    x = _reduce(x)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _block_a(x, weights, block)
    x = _narrow(x, weights, "Mixed_6a", "branch3x3", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _block_c(x, weights, block)
    long = "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4"
    x = _narrow(x, weights, "Mixed_7a", "branch3x3_1 branch3x3_2", long)
    x = _block_e(_block_e(x, weights, "Mixed_7b"), weights, "Mixed_7c", _largest)
    return x.mean(dim=(2, 3))


def _resize(pictures):
    """Bilinear, from pixel centre to pixel centre, beyond the outermost the outermost; then from bytes to [-1, 1]."""
    scaled = pictures.astype(np.float64) / 127.5 - 1
    for axis in (2, 3):
        have = scaled.shape[axis]
        at = np.clip((np.arange(299) + 0.5) * have / 299 - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 2 else (-1,))
        scaled = scaled.take(low, axis) * (1 - share) + scaled.take(np.minimum(low + 1, have - 1), axis) * share
    return scaled


def test_the_features_are_those_of_the_network_written_out(eyes, published, pictures):
    images = torch.from_numpy(_resize(pictures[:2])).float()
    with torch.inference_mode():
        expected = _features(images, published).numpy()
    np.testing.assert_allclose(eyes.see(pictures[:2]), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "block", "pool", "other"),
    [
        ("Mixed_5b", _block_a, _mean, _mean_with_padding),
        ("Mixed_6c", _block_c, _mean, _mean_with_padding),
        ("Mixed_7b", _block_e, _mean, _mean_with_padding),
        ("Mixed_7c", _block_e, _largest, _mean),
    ],
)
def test_means_leave_the_padding_out_and_the_last_block_takes_the_largest(eyes, published, name, block, pool, other):
    layer = eyes.network.get_submodule(name)
    grid = torch.rand(1, layer.branch1x1.conv.in_channels, 5, 5, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = layer(grid)
        torch.testing.assert_close(found, block(grid, published, name, pool), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found, block(grid, published, name, other), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (299, 299), (420, 301)])
def test_pictures_of_any_size_are_resized_in_one_step_and_scaled(height, width):
    pictures = np.random.default_rng(1).integers(0, 256, (2, 3, height, width), dtype=np.uint8)
    seen = InceptionEyes(nn.Flatten(), "").see(pictures).reshape(2, 3, 299, 299)
    np.testing.assert_allclose(seen, _resize(pictures), atol=1e-5 * max(height, width))


def test_black_is_minus_1_and_white_is_1():
    extremes = np.stack([np.zeros((3, 8, 8), dtype=np.uint8), np.full((3, 8, 8), 255, dtype=np.uint8)])
    seen = InceptionEyes(nn.Flatten(), "").see(extremes)
    np.testing.assert_allclose(seen[0], -1, atol=1e-6)
    np.testing.assert_allclose(seen[1], 1, atol=1e-6)


def test_features_are_finite_and_differ_between_pictures(eyes, pictures):
    seen = eyes.see(pictures)
    assert seen.shape == (3, 2048)
    assert seen.dtype == np.float64
    assert np.isfinite(seen).all()
    assert 0.01 < np.sqrt(np.mean(seen**2)) < 100
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(seen[one] - seen[other]).max() > 0.01 * np.abs(seen).max()


def test_a_picture_s_features_do_not_depend_on_those_beside_it(eyes, pictures, monkeypatch):
    together = eyes.see(pictures)
    monkeypatch.setattr(inception, "BATCH", 2)
    np.testing.assert_allclose(eyes.see(pictures[::-1])[::-1], together, rtol=1e-3, atol=1e-4)


def test_no_pictures_have_no_features(eyes):
    assert eyes.see(np.empty((0, 3, 32, 32), dtype=np.uint8)).shape == (0, 2048)


def test_pictures_that_are_no_bytes_are_refused(eyes, pictures):
    with pytest.raises(TypeError, match="uint8"):
        eyes.see(pictures / 255)


# --- the file


def test_the_digest_is_the_file_s_and_what_else_it_holds_changes_no_feature(eyes, weights, published, pictures, path):
    assert eyes.digest == hashlib.sha256(save(published)).hexdigest()
    counts = {name.replace("running_var", "num_batches_tracked"): torch.tensor(7) for name in weights if "running_var" in name}
    save_file({**weights, **counts}, path)
    before = torch.random.get_rng_state()
    other = InceptionEyes.load(path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert other.digest == hashlib.sha256(path.read_bytes()).hexdigest() != eyes.digest
    np.testing.assert_array_equal(other.see(pictures[:1]), eyes.see(pictures[:1]))


def test_missing_weights_are_named(published, path):
    save_file({name: tensor for name, tensor in published.items() if name != "Mixed_5b.branch1x1.bn.weight"}, path)
    with pytest.raises(IntegrityError, match=r"Inception.*: Mixed_5b.branch1x1.bn.weight is missing: .*safetensors: convert"):
        InceptionEyes.load(path)


def test_a_file_of_something_else_says_how_much_is_missing(path):
    save_file({"body.0.weight": torch.zeros(3)}, path)
    with pytest.raises(IntegrityError, match=r"Conv2d_1a_3x3.conv.weight is missing; .*; and \d+ more"):
        InceptionEyes.load(path)


def test_torchvision_s_own_weights_are_refused_by_their_classes(published, path):
    save_file({**published, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    with pytest.raises(IntegrityError, match=r"fc.weight is torch.float32 \(1000, 2048\), not .* \(1008, 2048\); fc.bias is"):
        InceptionEyes.load(path)


def test_weights_of_half_precision_are_refused(published, path):
    save_file({name: tensor.half() for name, tensor in published.items()}, path)
    with pytest.raises(IntegrityError, match=r"conv\.weight is torch\.float16"):
        InceptionEyes.load(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02a pickle", save({"fc.bias": torch.zeros(1008)})[:-40]])
def test_a_damaged_file_and_a_pickle_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not a safetensors file") as refused:
        InceptionEyes.load(path)
    assert "save_file" in refused.value.advice


def test_a_file_that_is_not_there_is_asked_for(tmp_path):
    for wrong in (tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(UsageError, match="no such Inception weights") as refused:
            InceptionEyes.load(wrong)
        assert refused.value.where == str(wrong)
