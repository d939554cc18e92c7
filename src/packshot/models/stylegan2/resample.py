"""Doubling and halving grids through the low-pass filter [1, 3, 3, 1] along both axes (Karras et al. 2019, 2020).

The filter is one depthwise convolution: deterministic, differentiable any number of times, in any precision, and on a CPU
twice as fast as the same in pools and four times as fast as in slices (benchmarks/stylegan2.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

TAPS = (1.0, 3.0, 3.0, 1.0)


class LowPass(nn.Module, ABC):
    """The filter for each of a grid's channels; its weights sum to `gain`. Computes in the grid's own precision."""

    kernel: Tensor

    def __init__(self, channels: int, gain: float = 1.0) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        kernel = torch.outer(taps, taps) * (gain / sum(TAPS) ** 2)
        # Not a part of any weights: it is always the same.
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, grid: Tensor) -> Tensor:
        """Filter a grid (N, C, H, W)."""
        with torch.autocast(grid.device.type, enabled=False):
            return self.filter(grid, self.kernel.to(grid.dtype))

    @abstractmethod
    def filter(self, grid: Tensor, kernel: Tensor) -> Tensor:
        """What `forward` does with the kernel (C, 1, 4, 4)."""


class Smooth(LowPass):
    """Filter with `margin` zeros around the grid: (N, C, H, W) to (N, C, H + 2 margin - 3, W + 2 margin - 3)."""

    def __init__(self, channels: int, margin: int, gain: float = 1.0) -> None:
        super().__init__(channels, gain)
        self.margin = margin

    def filter(self, grid: Tensor, kernel: Tensor) -> Tensor:
        return conv2d(grid, kernel, padding=self.margin, groups=len(kernel))


class Halve(LowPass):
    """Filter and keep every other row and column: (N, C, H, W) to (N, C, H / 2, W / 2)."""

    def filter(self, grid: Tensor, kernel: Tensor) -> Tensor:
        return conv2d(grid, kernel, stride=2, padding=1, groups=len(kernel))


class Double(LowPass):
    """Put zeros between rows and columns and filter: (N, C, H, W) to (N, C, 2H, 2W), of the same mean."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, gain=4.0)

    def filter(self, grid: Tensor, kernel: Tensor) -> Tensor:
        return conv_transpose2d(grid, kernel, stride=2, padding=1, groups=len(kernel))
