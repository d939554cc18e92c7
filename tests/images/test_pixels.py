from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from packshot.images.pixels import to_pixels, to_unit


def test_every_pixel_value_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(values)
    assert unit.dtype == torch.float32
    assert (unit[0].item(), unit[255].item()) == (-1.0, 1.0)
    assert torch.equal(to_pixels(unit), values)


@given(st.lists(st.integers(1, 5), max_size=4), st.integers(0, 2**31))
def test_any_shape_survives_the_round_trip(shape: list[int], seed: int) -> None:
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    assert torch.equal(to_pixels(to_unit(pixels)), pixels)


@given(st.floats(-10, 10, width=32))
def test_a_value_becomes_the_nearest_pixel_and_is_clamped(value: float) -> None:
    assert abs(to_pixels(torch.tensor([value])).item() - min(255.0, max(0.0, (value + 1) * 127.5))) <= 0.5001


def test_the_argument_is_left_as_it_was() -> None:
    unit = torch.tensor([0.25, -2.0], requires_grad=True)
    to_pixels(unit)
    assert unit.tolist() == [0.25, -2.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken(dtype: torch.dtype) -> None:
    assert to_pixels(torch.tensor([-1.0, 1.0], dtype=dtype)).tolist() == [0, 255]


def test_infinities_are_clamped_and_nan_is_refused() -> None:
    assert to_pixels(torch.tensor([float("inf"), -float("inf")])).tolist() == [255, 0]
    with pytest.raises(ValueError, match="NaN"):
        to_pixels(torch.tensor([0.0, float("nan")]))


@pytest.mark.parametrize(("convert", "wrong"), [(to_unit, torch.zeros(2)), (to_pixels, torch.zeros(2, dtype=torch.uint8))])
def test_the_wrong_type_is_refused(convert: object, wrong: Tensor) -> None:
    assert callable(convert)
    with pytest.raises(TypeError):
        convert(wrong)
