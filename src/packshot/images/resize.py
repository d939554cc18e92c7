"""Making pictures smaller, and square."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from packshot.images.colour import Colour

Pixels = NDArray[np.uint8]

_UNIT = 1 << 15
_EVEN_TILE, _UNEVEN_TILE = 4, 12
"""Results of a tile: the fewer, the fewer products with 0; the more, the fewer calls. BLAS works on fours."""
_MAX_TURNS = 8
"""Calls for evenly spaced tiles, at most; beyond that each tile is called for by itself, and a tile is larger."""
_STEP = 512 * 1024
"""Values at a time: what a core's cache holds, and so few products that no BLAS starts threads over them."""

_spaces = threading.local()


def fit_within(pixels: Pixels, side: int) -> Pixels:
    """Scale a picture (H, W, 3) down until both sides are at most `side`; aspect kept, never enlarged.

    Bicubic with a support that grows with the factor and no shortcut, so nothing aliases: the filter that Parmar et al. 2022
    (arXiv 2104.11222) find faithful, and the same pixels as Pillow's and torchvision's antialiased resize.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return pixels
    return _resample(pixels, max(1, round(width * side / longest)), max(1, round(height * side / longest)))


def fit_square(pixels: Pixels, side: int, background: Colour) -> Pixels:
    """Pad a picture (H, W, 3) to a square on `background`, itself in the middle, and scale the square to `side` x `side`.

    Scaling comes last, so that the picture's edge meets the background as softly as any other edge.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    square = np.empty((longest, longest, 3), dtype=np.uint8)
    square[:] = background
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square if longest == side else _resample(square, side, side)


def _resample(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture (H, W, 3) to `height` x `width`, rounded to 8 bits between the two passes.

    The order of the passes is Pillow's: columns first, unless more than twice as many rows go as columns. The bits are the same
    on every machine, whatever its BLAS does: see `_plan`.
    """
    if pixels.shape[0] - height > max(0, 2 * (pixels.shape[1] - width)):
        return _resample_width(_resample_height(pixels, height), width)
    return _resample_height(_resample_width(pixels, width), height)


def _resample_height(pixels: Pixels, height: int) -> Pixels:
    if len(pixels) == height:
        return pixels
    return _blend(np.ascontiguousarray(pixels).reshape(len(pixels), -1), height).reshape(height, -1, 3)


def _resample_width(pixels: Pixels, width: int) -> Pixels:
    import cv2

    before = pixels.shape[1]
    if before == width:
        return pixels
    out = np.empty((len(pixels), width, 3), dtype=np.uint8)
    step = max(8, _STEP // (3 * before))
    for start in range(0, len(pixels), step):
        columns = np.asarray(cv2.transpose(np.ascontiguousarray(pixels[start : start + step])), dtype=np.uint8)
        cv2.transpose(_blend(columns.reshape(before, -1), width).reshape(width, -1, 3), dst=out[start : start + step])
    return out


def _blend(rows: Pixels, count: int) -> Pixels:
    """`count` weighted means of N rows of M values, (N, M) -> (count, M): one small dense product for every few of them."""
    import cv2

    plan = _plan(len(rows), count)
    out = np.empty((count, rows.shape[1]), dtype=np.uint8)
    step = max(16, min(rows.shape[1], _STEP // len(rows)))
    for start in range(0, rows.shape[1], step):
        sums = _sum(rows[:, start : start + step], plan)[:count]
        cv2.threshold(sums, 0.0, 0.0, cv2.THRESH_TOZERO, dst=sums)
        cv2.convertScaleAbs(sums, dst=out[:, start : start + step], alpha=1.0, beta=1.0 / (2 * _UNIT))
    return out


def _sum(rows: Pixels, plan: _Plan) -> NDArray[np.float32]:
    """The weighted sums, float32 (T * R, M): in one call for all tiles that are evenly spaced, else in one a tile."""
    (tiles, tile, wide), (size, length) = plan.weights.shape, rows.shape
    sums = _space("sums", tiles * tile * length).reshape(tiles, tile, length)
    seen = _space("seen", (plan.before + size + plan.after) * length).reshape(-1, length)
    seen[: plan.before] = 0.0
    np.copyto(seen[plan.before : plan.before + size], rows)
    seen[plan.before + size :] = 0.0
    if not plan.stride:
        for at, start in enumerate(plan.starts):
            np.matmul(plan.weights[at], seen[start : start + wide], out=sums[at])
        return sums.reshape(-1, length)
    row = 4 * length
    for first, start in enumerate(plan.starts[: plan.turns]):
        weights = plan.weights[first :: plan.turns]
        strides = (plan.stride * row, row, 4)
        windows = np.ndarray((len(weights), wide, length), np.float32, seen, start * row, strides)
        np.matmul(weights, windows, out=sums[first :: plan.turns])
    return sums.reshape(-1, length)


def _space(name: str, size: int) -> NDArray[np.float32]:
    """A thread's own array, kept from one photo to the next: fresh pages from the system cost as much as the sums."""
    space: NDArray[np.float32] | None = getattr(_spaces, name, None)
    if space is None or len(space) < size:
        space = np.empty(size, dtype=np.float32)
        setattr(_spaces, name, space)
    return space[:size]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How values become fewer, or more."""

    weights: NDArray[np.float32]
    """(T, R, K): of the R results of each of T tiles, over the K values that the tile looks at."""
    starts: tuple[int, ...]
    """The first of those, by tile, counted from the zeros before the first value on."""
    turns: int
    """Every so many tiles are evenly spaced, if any are."""
    stride: int
    """From the first value of a tile to that of the tile so many on; 0 where that differs."""
    before: int
    after: int
    """Zeros that the first and the last tile look at."""


@lru_cache(maxsize=4096)
def _plan(size: int, count: int) -> _Plan:
    """The filter from `size` values to `count`.

    Keys' cubic (1981, equation 15, a = -1/2) stretched by the factor, cut at the border and normalised: Pillow's BICUBIC. Weights
    are whole multiples of 2^-15 with a sum of 1 and absolute sums below 2, so every sum of products with 0..255, in any order, is
    exact in float32. A tie is no rounding error then: half of a last place more, and it goes up, as in Pillow. Rounding passes
    its remainder on to the next weight, which keeps what little it distorts out of the low frequencies.
    """
    factor = size / count
    stretch = max(factor, 1.0)
    centres = (np.arange(count) + 0.5) * factor
    low, high = (np.floor(centres + side * stretch + 0.5).astype(int) for side in (-2, 2))
    first, last = np.maximum(low, 0), np.minimum(high, size)
    taps = first[:, None] + np.arange((last - first).max())
    values = np.where(taps < last[:, None], _cubic((taps + 0.5 - centres[:, None]) / stretch), 0.0)
    shares = np.cumsum(values / values.sum(axis=1, keepdims=True), axis=1)
    fixed = np.diff(np.rint(shares * _UNIT), axis=1, prepend=0.0) / _UNIT
    period = count // math.gcd(size, count)
    turns = period // math.gcd(period, _EVEN_TILE)
    tile = _EVEN_TILE if turns <= _MAX_TURNS else _UNEVEN_TILE
    starts = low[::tile]
    wide = int((high[np.minimum(np.arange(len(starts)) * tile + tile - 1, count - 1)] - starts).max())
    weights = np.zeros((len(starts) * tile, wide), dtype=np.float32)
    row, tap = np.nonzero(taps < last[:, None])
    weights[row, taps[row, tap] - starts[row // tile]] = fixed[row, tap]
    before, after = max(0, -int(starts[0])), max(0, int(starts[-1]) + wide - size)
    stride = turns * tile * size // count
    if tile == _UNEVEN_TILE or (starts[turns:] - starts[:-turns] != stride).any():
        stride = 0
    return _Plan(weights.reshape(-1, tile, wide), tuple(int(start) + before for start in starts), turns, stride, before, after)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))
