"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1), and the bounds that low precision needs.

Weights begin as N(0, 1) and are scaled where they are used: an optimiser that is indifferent to the scale of gradients then
moves all of them at one speed. The gain of what follows a layer is folded into its weights and bias, since a leaky ReLU of a
multiple is the multiple of the leaky ReLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear

from packshot.models.stylegan2.resample import Smooth

SLOPE = 0.2
GAIN = math.sqrt(2)
"""What a leaky ReLU is multiplied by, so that it keeps the mean square of what it is given (nearly)."""
LARGEST = 256.0
"""What is left of larger activations where they are not float32, as StyleGAN2-ADA bounds those of half precision."""


def activate(grid: Tensor) -> Tensor:
    """The leaky ReLU; in low precision what is beyond +-256 is cut off."""
    grid = leaky_relu(grid, SLOPE)
    return grid if grid.dtype == torch.float32 else grid.clamp(-LARGEST, LARGEST)


class EqualLinear(nn.Module):
    """A linear map of (N, inputs) to (N, outputs), times `gain`; `speed` is a factor of its learning rate.

    Always float32.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, speed: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.full((outputs,), bias / speed))
        self.weight_scale, self.bias_scale = gain * speed / math.sqrt(inputs), gain * speed

    def forward(self, rows: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            return linear(rows.float(), self.weight * self.weight_scale, self.bias * self.bias_scale)


class EqualConv(nn.Module):
    """A convolution of (N, inputs, H, W) that keeps H and W, or halves them through the low-pass filter; times `gain`."""

    def __init__(
        self, inputs: int, outputs: int, side: int, *, gain: float = 1.0, halving: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.smooth = Smooth(inputs, side // 2 + 1) if halving else None
        self.weight_scale, self.gain = gain / math.sqrt(inputs * side**2), gain

    def forward(self, grid: Tensor) -> Tensor:
        weight, bias = self.weight * self.weight_scale, None if self.bias is None else self.bias * self.gain
        if self.smooth is None:
            return conv2d(grid, weight, bias, padding=weight.shape[-1] // 2)
        return conv2d(self.smooth(grid), weight, bias, stride=2)
