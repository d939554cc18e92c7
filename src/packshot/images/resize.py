"""Making pictures smaller, and square."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packshot.images.colour import Colour

Pixels = NDArray[np.uint8]

_UNIT = 1 << 15
_TILE = 4
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
    return resample(pixels, max(1, round(width * side / longest)), max(1, round(height * side / longest)))


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
    return square if longest == side else resample(square, side, side)


def resample(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture (H, W, 3) to `height` x `width`: in the order that Pillow takes, and rounded to 8 bits in between as there.

    The same bits on every machine, whatever its BLAS does: see `_weights`.
    """
    if pixels.shape[0] > 2 * pixels.shape[1]:
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
    columns = np.asarray(cv2.transpose(np.ascontiguousarray(pixels)), dtype=np.uint8).reshape(before, -1)
    return np.asarray(cv2.transpose(_blend(columns, width).reshape(width, -1, 3)), dtype=np.uint8)


def _blend(rows: Pixels, count: int) -> Pixels:
    """`count` weighted means of N rows of M values, (N, M) -> (count, M): one small dense product for every 4 of them."""
    import cv2

    weights, chosen = _weights(len(rows), count)
    tiles, _, wide = weights.shape
    out = np.empty((count, rows.shape[1]), dtype=np.uint8)
    step = max(16, min(rows.shape[1], _STEP // len(chosen)))
    for start in range(0, rows.shape[1], step):
        part = rows[:, start : start + step]
        length = part.shape[1]
        seen = _space("seen", np.float32, len(chosen) * length).reshape(tiles, wide, length)
        picked = _space("picked", np.uint8, len(chosen) * length).reshape(len(chosen), length)
        sums = _space("sums", np.float32, tiles * _TILE * length).reshape(tiles, _TILE, length)
        np.copyto(seen, np.take(part, chosen, axis=0, out=picked, mode="clip").reshape(seen.shape))
        flat = np.matmul(weights, seen, out=sums).reshape(-1, length)[:count]
        cv2.threshold(flat, 0.0, 0.0, cv2.THRESH_TOZERO, dst=flat)
        out[:, start : start + step] = cv2.convertScaleAbs(flat, alpha=1.0, beta=1.0 / (2 * _UNIT))
    return out


def _space(name: str, kind: type, size: int) -> Any:
    """A thread's own array, kept from one photo to the next: fresh pages from the system cost as much as the sums."""
    space = getattr(_spaces, name, None)
    if space is None or len(space) < size:
        space = np.empty(size, dtype=kind)
        setattr(_spaces, name, space)
    return space[:size]


@lru_cache(maxsize=4096)
def _weights(size: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The filter from `size` values to `count`: weights (T, 4, K) of tiles of 4, and the places (T * K,) that each tile looks at.

    Keys' cubic (1981, equation 15, a = -1/2) stretched by the factor, cut at the border and normalised: Pillow's BICUBIC. Weights
    are whole multiples of 2^-15 with a sum of 1 and absolute sums below 2, so every sum of products with 0..255, in any order, is
    exact in float32. A tie is no rounding error then: half of a last place more, and it goes up, as in Pillow. Rounding passes
    its remainder on to the next weight, which keeps what little it distorts out of the low frequencies.
    """
    factor = size / count
    stretch = max(factor, 1.0)
    centres = (np.arange(count) + 0.5) * factor
    first = np.maximum((centres - 2 * stretch + 0.5).astype(int), 0)
    last = np.minimum((centres + 2 * stretch + 0.5).astype(int), size)
    taps = first[:, None] + np.arange((last - first).max())
    values = np.where(taps < last[:, None], _cubic((taps + 0.5 - centres[:, None]) / stretch), 0.0)
    shares = np.cumsum(values / values.sum(axis=1, keepdims=True), axis=1)
    fixed = np.diff(np.rint(shares * _UNIT), axis=1, prepend=0.0) / _UNIT
    starts = first[::_TILE]
    wide = int((last[np.minimum(np.arange(len(starts)) * _TILE + _TILE - 1, count - 1)] - starts).max())
    starts = np.minimum(starts, size - wide)
    tiles = np.zeros((len(starts), _TILE, wide), dtype=np.float32)
    for row in range(count):
        at, length = first[row] - starts[row // _TILE], last[row] - first[row]
        tiles[row // _TILE, row % _TILE, at : at + length] = fixed[row, :length]
    return tiles, (starts[:, None] + np.arange(wide)).ravel()


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))
