"""Numbers that tell a usable product photo from one that is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.images.resize import fit_within

Pixels = NDArray[np.uint8]

_SIDE = 128
_WHITE = 230
_DIFFERENT = 28
_BORDER_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one picture, seen at 128 pixels a side so that large and small photos compare."""

    sharpness: float
    """Variance of the Laplacian of the luma (0..255), as in Pech-Pacheco et al. 2000: about 20 is a blur, 1,000 is crisp."""
    brightness: float
    """Mean luma, 0..1."""
    contrast: float
    """Standard deviation of the luma, 0..0.5."""
    whiteness: float
    """Share of the border's pixels that are near white, 0..1: 1 is a cut-out on white."""
    fill: float
    """Share of the picture that differs from the border's median colour, 0..1: roughly what the product covers."""


def measure(pixels: Pixels) -> Measures:
    """Measure a picture, uint8 (H, W, 3) RGB."""
    import cv2

    small = fit_within(pixels, _SIDE)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    border = _border(small)
    backdrop = np.median(border, axis=0)
    differs = np.abs(small.astype(np.int16) - backdrop.astype(np.int16)).max(axis=2) > _DIFFERENT
    return Measures(
        sharpness=round(float(cv2.Laplacian(luma, cv2.CV_64F).var()), 3),
        brightness=round(float(luma.mean()) / 255.0, 5),
        contrast=round(float(luma.std()) / 255.0, 5),
        whiteness=round(float((border.min(axis=1) >= _WHITE).mean()), 5),
        fill=round(float(differs.mean()), 5),
    )


def _border(pixels: Pixels) -> Pixels:
    """The outermost 4 % of a picture's pixels on each side, at least one: (N, 3)."""
    height, width = pixels.shape[:2]
    frame = max(1, round(min(height, width) * _BORDER_SHARE))
    inside = np.zeros((height, width), dtype=bool)
    inside[frame : height - frame, frame : width - frame] = True
    return pixels[~inside]
