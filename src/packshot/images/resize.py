"""Making pictures smaller, and square."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from packshot.images.colour import Colour

Pixels = NDArray[np.uint8]


def fit_within(pixels: Pixels, side: int) -> Pixels:
    """Scale a picture (H, W, 3) down until both sides are at most `side`; aspect kept, never enlarged.

    Bicubic with a support that grows with the factor and no shortcut (`reducing_gap`), so nothing aliases: the filter that
    Parmar et al. 2022 (arXiv 2104.11222) find faithful, and the same pixels as torchvision's antialiased resize.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return pixels
    size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
    return _resample(pixels, size)


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
    return square if longest == side else _resample(square, (side, side))


def _resample(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=None))
