"""Doubling and halving grids through the low-pass filter [1, 3, 3, 1] along both axes (Karras et al. 2019, 2020).

The filter is one depthwise convolution: deterministic, differentiable any number of times, in any precision, and on a CPU several
times faster than the same in slices, in pools or one axis after the other (benchmarks/stylegan2.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

TAPS = (1.0, 3.0, 3.0, 1.0)


def _kernel(grid: Tensor, gain: float) -> Tensor:
    """The filter for each of the grid's channels, (C, 1, 4, 4); its weights sum to `gain`."""
    taps = torch.tensor(TAPS, device=grid.device, dtype=grid.dtype)
    kernel = torch.outer(taps, taps) * (gain / sum(TAPS) ** 2)
    return kernel.expand(grid.shape[1], 1, -1, -1)


def smooth(grid: Tensor, margin: int, gain: float = 1.0) -> Tensor:
    """Filter (N, C, H, W) with `margin` zeros around it: to (N, C, H + 2 margin - 3, W + 2 margin - 3), times `gain`."""
    with torch.autocast(grid.device.type, enabled=False):
        return conv2d(grid, _kernel(grid, gain), padding=margin, groups=grid.shape[1])


def halve(grid: Tensor) -> Tensor:
    """Filter and keep every other row and column: (N, C, H, W) to (N, C, H / 2, W / 2)."""
    with torch.autocast(grid.device.type, enabled=False):
        return conv2d(grid, _kernel(grid, 1.0), stride=2, padding=1, groups=grid.shape[1])


def double(grid: Tensor) -> Tensor:
    """Put zeros between rows and columns and filter: (N, C, H, W) to (N, C, 2H, 2W), of the same mean."""
    with torch.autocast(grid.device.type, enabled=False):
        return conv_transpose2d(grid, _kernel(grid, 4.0), stride=2, padding=1, groups=grid.shape[1])
