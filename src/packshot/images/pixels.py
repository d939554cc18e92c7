"""The only two conversions between stored pixels and what a model sees."""

from __future__ import annotations

import torch
from torch import Tensor


class NotFinite(ValueError):
    """A picture holds values that are not finite numbers."""


def to_unit(pixels: Tensor) -> Tensor:
    """Map uint8 pixels in 0..255, of any shape, to float32 in [-1, 1]: 0 becomes -1, 255 becomes 1."""
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels are uint8, not {pixels.dtype}")
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)


def to_pixels(unit: Tensor) -> Tensor:
    """Map floats in [-1, 1], of any shape, to the nearest uint8 pixel; what lies outside is clamped. The inverse of `to_unit`.

    Raises NotFinite where a value is not a number: a picture of NaN is never a picture.
    """
    if not unit.is_floating_point():
        raise TypeError(f"unit values are floats, not {unit.dtype}")
    scaled = unit.detach().to(torch.float32).add(1.0).mul_(127.5).round_().clamp_(0.0, 255.0)
    if bool(torch.isnan(scaled).any()):
        raise NotFinite("a picture holds NaN")
    return scaled.to(torch.uint8)
