"""Structural similarity at several scales by Wang, Simoncelli and Bovik (2003, Asilomar 37, 1398), equation 7.

What `ssim` says of windows holds here too. Between scales 2 x 2 pixels are averaged. Five scales need 176 pixels. Smaller
pictures get as many as leave 11 pixels at the coarsest, their exponents raised in proportion so that they add up to 1: values
of other sizes do not compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.psnr import Pictures, check_range
from packshot.evaluation.ssim import WINDOW, average_windows

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, the finest first, by what people judged."""
SMALLEST = 2 * WINDOW
"""The least side of which there is more than one scale."""
BLOCK_PIXELS = 64 * 64 * 64

Floats = NDArray[np.float64]


def scales(side: int) -> int:
    """How many scales pictures of `side` pixels have: 1 to 5."""
    return sum(side >> scale >= WINDOW for scale in range(len(EXPONENTS)))


def ms_ssim(pictures: Pictures, targets: Pictures, *, data_range: float) -> Floats:
    """Measure each picture against its target, (N,) values in [0, 1]; each channel alone, then their mean.

    A contrast and structure that is negative on average counts as 0. Raises ValueError by `check_range`, and for sides below 22
    pixels, which have but one scale.
    """
    check_range(pictures, targets, data_range)
    if (side := min(pictures.shape[-2:])) < SMALLEST:
        raise ValueError(f"MS-SSIM needs sides of at least {SMALLEST} pixels, not {side}")
    exponents = np.array(EXPONENTS[: scales(side)])
    exponents /= exponents.sum()
    block = max(1, BLOCK_PIXELS // (pictures.shape[-2] * pictures.shape[-1]))
    parts = [
        _measure(pictures[at : at + block].astype(np.float64), targets[at : at + block].astype(np.float64), data_range, exponents)
        for at in range(0, len(pictures), block)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _measure(x: Floats, y: Floats, data_range: float, exponents: Floats) -> Floats:
    count = len(x)
    x, y = (pictures.reshape(-1, 1, *pictures.shape[-2:]) for pictures in (x, y))
    product = np.ones(len(x))
    for exponent in exponents[:-1]:
        product *= np.maximum(average_windows(x, y, data_range, luminance=False), 0) ** exponent
        x, y = _halve(x), _halve(y)
    product *= np.maximum(average_windows(x, y, data_range, luminance=True), 0) ** exponents[-1]
    return np.asarray(product.reshape(count, -1).mean(axis=1))


def _halve(pictures: Floats) -> Floats:
    """The mean of every 2 x 2 pixels; what is odd at the edge is left out."""
    height, width = (2 * (side // 2) for side in pictures.shape[-2:])
    even = pictures[..., :height, :width]
    return np.asarray(even.reshape(*even.shape[:2], height // 2, 2, width // 2, 2).mean(axis=(3, 5)))
