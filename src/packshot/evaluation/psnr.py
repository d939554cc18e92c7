"""Peak signal-to-noise ratio, and what both PSNR and SSIM demand of their pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[Any]
"""(N, C, H, W), uint8 or floats."""

CAP = 100.0
"""Decibels where two pictures are the same to the bit: the quotient itself would be infinite."""


def psnr(pictures: Pictures, targets: Pictures, *, data_range: float) -> NDArray[np.float64]:
    """Measure each picture against its target: 10 log10(data_range^2 / MSE) over all its pixels and channels, (N,) decibels.

    Average the result: the PSNR of a mean MSE is another number. Raises ValueError by `check_range`.
    """
    check_range(pictures, targets, data_range)
    errors = np.array([_squared_error(one, other) for one, other in zip(pictures, targets, strict=True)])
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(10 * np.log10(data_range**2 / errors), CAP))


def check_range(pictures: Pictures, targets: Pictures, data_range: float) -> None:
    """Refuse pictures that do not belong together or whose pixels do not span 0 to `data_range`.

    Raises ValueError where shapes differ, a pixel is not a number, lies outside ([-1, 1] passed as [0, 1]), or where the range is
    plainly another: floats that never leave [0, 1] passed as 0 to 255, bytes passed as anything but 0 to 255.
    """
    if pictures.shape != targets.shape or pictures.ndim != 4:
        raise ValueError(f"pictures {pictures.shape} and targets {targets.shape} must have one shape, (N, C, H, W)")
    if not data_range > 0:
        raise ValueError(f"the data range must be declared and positive, not {data_range}")
    for what, values in (("pictures", pictures), ("targets", targets)):
        if values.dtype == np.uint8:
            if data_range != 255:
                raise ValueError(f"{what} are bytes: their data range is 255, not {data_range:g}")
            continue
        if not values.size:
            continue
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{what} hold values that are not finite numbers")
        if low < 0 or high > data_range:
            raise ValueError(f"{what} reach from {low:.3g} to {high:.3g}, outside of 0 to {data_range:g}")
        if data_range == 255 and 0 < high <= 1:
            raise ValueError(f"{what} reach to {high:.3g} only: their data range is 1, not 255")


def _squared_error(one: Pictures, other: Pictures) -> float:
    gap = one.astype(np.float64) - other.astype(np.float64)
    return float(np.mean(gap * gap))
