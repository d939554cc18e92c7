"""Structural similarity by Wang, Bovik, Sheikh and Simoncelli (2004, IEEE TIP 13, 600), equation 13, and nothing else.

The convention, since libraries differ by more than models do: a Gaussian window of 11 x 11 pixels and sigma 1.5, the mean over
valid windows only (no padding), population covariances, K1 = .01, K2 = .03, each channel alone, then their mean.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.psnr import Pictures, check_range

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
NARROW = 40
"""Up to this side the window is applied as a banded matrix, beyond it by OpenCV's separable filter: each wins there."""

Floats = NDArray[np.float64]


def ssim(pictures: Pictures, targets: Pictures, *, data_range: float) -> NDArray[np.float64]:
    """Measure each picture against its target, (N,) values in [-1, 1], in float64.

    Raises ValueError by `check_range`, and for sides below 11 pixels, in which no window is valid.
    """
    check_range(pictures, targets, data_range)
    if min(pictures.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, not {pictures.shape[-2]} x {pictures.shape[-1]}")
    block = max(1, 16 * 32 * 32 // (pictures.shape[-1] * pictures.shape[-2]))
    parts = [
        _measure(pictures[at : at + block].astype(np.float64), targets[at : at + block].astype(np.float64), data_range)
        for at in range(0, len(pictures), block)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _measure(x: Floats, y: Floats, data_range: float) -> Floats:
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y, squares, product = _average(np.stack((x, y, x * x + y * y, x * y)))
    both, means = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    maps = (2 * both + c1) * (2 * (product - both) + c2) / ((means + c1) * (squares - means + c2))
    return np.asarray(maps.mean(axis=(1, 2, 3)))


def _average(maps: Floats) -> Floats:
    """The Gaussian mean of every valid window: (..., H, W) -> (..., H - 10, W - 10)."""
    height, width = maps.shape[-2:]
    if max(height, width) <= NARROW:
        return np.asarray(_band(height) @ (maps @ _band(width).T))
    import cv2

    edge, taps = WINDOW // 2, _taps()
    planes = maps.reshape(-1, height, width)
    averaged = np.empty((len(planes), height - 2 * edge, width - 2 * edge))
    for at in range(0, len(planes), 12):
        stacked = np.ascontiguousarray(planes[at : at + 12].transpose(1, 2, 0))
        filtered = cv2.sepFilter2D(stacked, -1, taps, taps).reshape(height, width, -1)
        averaged[at : at + 12] = filtered[edge:-edge, edge:-edge].transpose(2, 0, 1)
    return averaged.reshape(*maps.shape[:-2], *averaged.shape[1:])


@lru_cache(maxsize=8)
def _band(side: int) -> Floats:
    """The matrix that averages valid windows along one axis, (side - 10, side)."""
    band, taps = np.zeros((side - WINDOW + 1, side)), _taps()
    for row in range(len(band)):
        band[row, row : row + WINDOW] = taps
    return band


@lru_cache(maxsize=1)
def _taps() -> Floats:
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return np.asarray(taps / taps.sum())
