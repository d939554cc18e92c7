"""Structural similarity by Wang, Bovik, Sheikh and Simoncelli (2004, IEEE TIP 13, 600), equation 13, and nothing else.

The convention, since libraries differ by more than models do: a Gaussian window of 11 x 11 pixels and sigma 1.5, the mean over
valid windows only (no padding), population covariances, K1 = .01, K2 = .03, each channel alone, then their mean.

The method: of u = x + y and v = x - y the windows' means m and variances s say all, as 2 mx my = (mu^2 - mv^2) / 2 and
2 sxy = (su - sv) / 2, so equal pictures score 1 to the bit. Windows are averaged in float64 by products with banded matrices, a
few rows and photos at a time that stay in a core's cache. Whatever the pictures (photos, noise, constants, gradients, nearly
equal), no score is farther than 1e-12 from scikit-image's Gaussian mode.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.psnr import Pictures, check_range

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
HALO = WINDOW - 1
"""By how many pixels a side has fewer valid windows."""
STRIP = 128
"""Rows of windows at a time, at most."""
BLOCK, PLANES = 6 * 64 * 64, 3
"""Pixels at a time: four maps of them in float64, and four of their windows, fill some 1.5 MB; but no fewer planes than this."""
TALL, WIDE = 8, 16
"""Windows to a product, down and across: more waste work on the zeros beside the band, fewer are too small to be quick."""
LINE = 8
"""Numbers to a line of the cache."""

Floats = NDArray[np.float64]


def ssim(pictures: Pictures, targets: Pictures, *, data_range: float) -> Floats:
    """Measure each picture against its target, (N,) values in [-1, 1], in float64.

    Raises ValueError by `check_range`, and for sides below 11 pixels, in which no window is valid.
    """
    check_range(pictures, targets, data_range)
    return average_windows(pictures, targets, data_range, luminance=True)


def average_windows(pictures: Pictures, targets: Pictures, data_range: float, *, luminance: bool) -> Floats:
    """The mean over windows and channels of equation 13, or without `luminance` of its second factor, contrast and structure.

    Of pictures (N, C, H, W) whose range `check_range` has seen: (N,). Raises ValueError for sides below 11 pixels.
    """
    count, channels, height, width = pictures.shape
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, not {height} x {width}")
    one, other = pictures.reshape(-1, height, width), targets.reshape(-1, height, width)
    down, across = height - HALO, width - HALO
    strip = -(-down // -(-down // STRIP))
    block = max(PLANES, BLOCK // ((strip + HALO) * width))
    desk = _clear(4 * block * (strip + HALO) * width), _clear(4 * block * strip * width)
    sums = np.zeros(count * channels)
    for at in range(0, count * channels, block):
        planes = slice(at, at + block)
        for top in range(0, down, strip):
            rows = slice(top, min(top + strip, down) + HALO)
            sums[planes] += _sum_windows(one[planes, rows], other[planes, rows], data_range, luminance, *desk)
    return np.asarray((sums / (down * across)).reshape(count, channels).mean(axis=1))


def _sum_windows(x: Pictures, y: Pictures, data_range: float, luminance: bool, room: Floats, spare: Floats) -> Floats:
    """The sums over the windows of each plane (P, H, W), (P,); fills both rooms."""
    count, height, width = x.shape
    maps = room[: 4 * x.size].reshape(4, height, count * width)
    u, v, uu, vv = maps
    # Rows of all planes side by side: each map is one long run of memory, and one product averages many columns.
    x, y = x.transpose(1, 0, 2), y.transpose(1, 0, 2)
    exact = np.int16 if x.dtype == y.dtype == np.uint8 else np.float64
    np.copyto(u.reshape(x.shape), np.add(x, y, dtype=exact))
    np.copyto(v.reshape(x.shape), np.subtract(x, y, dtype=exact))
    np.multiply(u, u, out=uu)
    np.multiply(v, v, out=vv)
    u, v, uu, vv = _average(maps, width, room, spare)
    told, down = _similarity(u, v, uu, vv, data_range, luminance, spare), height - HALO
    return np.asarray((np.ones(down) @ told.reshape(down, -1)).reshape(count, width - HALO).sum(axis=1))


def _average(maps: Floats, width: int, room: Floats, spare: Floats) -> Floats:
    """The Gaussian mean of every valid window: (4, H, P * W), which lie in `room`, -> (4, (H - 10) * P * (W - 10)), there too."""
    down, across = maps.shape[1] - HALO, width - HALO
    shorter = spare[: 4 * down * maps.shape[2]].reshape(4, down, -1)
    for at in range(0, down, TALL):
        band, _ = _bands(min(TALL, down - at))
        np.matmul(band, maps[:, at : at + band.shape[1]], out=shorter[:, at : at + len(band)])
    rows = shorter.reshape(-1, width)
    averaged = room[: len(rows) * across].reshape(-1, across)
    for at in range(0, across, WIDE):
        _, band = _bands(min(WIDE, across - at))
        np.matmul(rows[:, at : at + len(band)], band, out=averaged[:, at : at + band.shape[1]])
    return averaged.reshape(4, -1)


def _similarity(u: Floats, v: Floats, uu: Floats, vv: Floats, data_range: float, luminance: bool, spare: Floats) -> Floats:
    """The similarity in each window (K,) from its means of u, v and their squares, which it spoils."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    above, below, square = spare[: 3 * u.size].reshape(3, -1)
    np.multiply(u, u, out=below)
    np.multiply(v, v, out=square)
    uu -= below
    vv -= square
    uu += 2 * c2
    if not luminance:
        np.subtract(uu, vv, out=above)
        uu += vv
        above /= uu
        return np.asarray(above)
    below += 2 * c1
    np.subtract(below, square, out=above)
    below += square
    np.subtract(uu, vv, out=square)
    uu += vv
    above *= square
    below *= uu
    above /= below
    return np.asarray(above)


def _clear(count: int) -> Floats:
    """Room for `count` numbers from the start of a cache line on: wide stores that straddle two lines take twice as long."""
    room = np.empty(count + LINE)
    return room[-room.ctypes.data // room.itemsize % LINE :]


@lru_cache(maxsize=32)
def _bands(count: int) -> tuple[Floats, Floats]:
    """The matrix that averages `count` windows from the left, (count, count + 10), and the one from the right, its transpose."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    band = np.zeros((count, count + HALO))
    for row in range(count):
        band[row, row : row + WINDOW] = taps / taps.sum()
    return band, np.ascontiguousarray(band.T)
