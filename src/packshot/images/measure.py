"""Numbers that tell a usable product photo from one that is not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from packshot.images.resize import fit_within

Pixels = NDArray[np.uint8]

_SIDE = 128
_WHITE = 230
_DIFFERENT = 28
_BORDER_SHARE = 0.04
_CLIPPED = 5
_LEVELS = np.arange(256, dtype=np.float64)
_CHANNELS = np.array([0, 256, 512])

VERSION = "1"
"""Of what `measure` and `describe_shape` make of the same pixels: a part of a catalogue's recipe."""

SHAPE_BYTES = 128
_SHAPE_SIDE, _CELLS, _DIRECTIONS, _STEEPEST, _HYS = 64, 4, 8, 255, 0.2


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one picture, seen at 128 pixels a side so that large and small photos compare. Luma is that of BT.601, 0..255.

    The border is the outermost 4 % on each side; the backdrop's colour is the border's median, channel by channel.
    """

    sharpness: float
    """Variance of the Laplacian of the luma, as in Pech-Pacheco et al. 2000: about 20 is a blur, 1,000 is crisp."""
    brightness: float
    """Mean luma, 0..1."""
    contrast: float
    """Standard deviation of the luma, 0..0.5."""
    shadows: float
    """Share of the pixels whose luma is clipped to black (at most 5), 0..1."""
    highlights: float
    """Share of the pixels whose luma is clipped to white (at least 250), 0..1: a white backdrop counts."""
    entropy: float
    """Bits of the luma's histogram (Shannon 1948), 0..8: 0 is one flat tone."""
    colourfulness: float
    """M3 of Hasler & Suesstrunk 2003: 0 is grey, 15 slightly, 45 averagely, 109 extremely colourful."""
    whiteness: float
    """Share of the border's pixels that are near white, 0..1: 1 is a cut-out on white."""
    uniformity: float
    """1 less the widest interquartile range of the border's channels, of 255, 0..1: a gradient or a texture lowers it; a product
    that covers less than a quarter of the border hardly does."""
    fill: float
    """Share of the picture that differs from the backdrop, 0..1: roughly what the product covers."""
    border_touch: float
    """Share of the outermost line of pixels that differs from the backdrop, 0..1: what a product that is cut off covers of it."""


def measure(pixels: Pixels) -> Measures:
    """Measure a picture, uint8 (H, W, 3) RGB."""
    import cv2

    small = fit_within(pixels, _SIDE)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    tones = np.bincount(luma.ravel(), minlength=256) / luma.size
    mean = float(tones @ _LEVELS)
    border = _border(small)
    low, backdrop, high = _quartiles(border)
    darkest, lightest = (tuple(np.clip(backdrop + way, 0, 255).tolist()) for way in (-_DIFFERENT, _DIFFERENT))
    alike = cv2.inRange(small, darkest, lightest)
    edge = np.concatenate([alike[0], alike[-1], alike[1:-1, 0], alike[1:-1, -1]])
    white = cv2.inRange(border, (_WHITE, _WHITE, _WHITE), (255, 255, 255))
    return Measures(
        sharpness=round(float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0]) ** 2, 3),
        brightness=round(mean / 255.0, 5),
        contrast=round(math.sqrt(max(0.0, float(tones @ (_LEVELS - mean) ** 2))) / 255.0, 5),
        shadows=round(float(tones[: _CLIPPED + 1].sum()), 5),
        highlights=round(float(tones[255 - _CLIPPED :].sum()), 5),
        entropy=round(_entropy(tones), 5),
        colourfulness=round(_colourfulness(small), 3),
        whiteness=round(cv2.countNonZero(white) / white.size, 5),
        uniformity=round(1.0 - int((high - low).max()) / 255.0, 5),
        fill=round(1.0 - cv2.countNonZero(alike) / alike.size, 5),
        border_touch=round(1.0 - cv2.countNonZero(edge) / edge.size, 5),
    )


def _border(pixels: Pixels) -> Pixels:
    """The outermost 4 % of a picture's pixels on each side, at least one: (N, 1, 3)."""
    height, width = pixels.shape[:2]
    frame = min(max(1, round(min(height, width) * _BORDER_SHARE)), (height + 1) // 2, (width + 1) // 2)
    rest = slice(frame, max(frame, height - frame))
    right = max(frame, width - frame)
    strips = (pixels[:frame], pixels[rest.stop :], pixels[rest, :frame], pixels[rest, right:])
    return np.concatenate([strip.reshape(-1, 1, 3) for strip in strips])


def _quartiles(border: Pixels) -> NDArray[np.int64]:
    """The lower quartile, the median and the upper quartile of each channel, (3, 3); of two middle values the lower."""
    count = len(border)
    counts = np.bincount((border[:, 0] + _CHANNELS).ravel(), minlength=768).reshape(3, 256).cumsum(axis=1)
    return np.array([(counts < share * count).sum(axis=1) for share in (0.25, 0.5, 0.75)])


def _entropy(shares: NDArray[np.float64]) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log2(known)).sum()) + 0.0


def _colourfulness(pixels: Pixels) -> float:
    """M3 of equation 8 there: the spread and 0.3 of the mean of red - green and of (red + green) / 2 - blue."""
    import cv2

    red, green, blue = cv2.split(pixels)
    first = cv2.subtract(red, green, dtype=cv2.CV_16S)
    second = cv2.subtract(cv2.add(red, green, dtype=cv2.CV_16S), cv2.add(blue, blue, dtype=cv2.CV_16S), dtype=cv2.CV_16S)
    (mean_1, spread_1), (mean_2, spread_2) = ((float(m[0, 0]), float(s[0, 0])) for m, s in map(cv2.meanStdDev, (first, second)))
    return math.hypot(spread_1, spread_2 / 2) + 0.3 * math.hypot(mean_1, mean_2 / 2)


def describe_shape(pixels: Pixels) -> bytes:
    """The outlines of a picture (H, W, 3): 4 x 4 cells x 8 directions of its luma's gradients, `SHAPE_BYTES` bytes.

    A histogram of oriented gradients (Dalal & Triggs 2005) on 64 x 64 pixels whatever the aspect, each gradient in one cell and
    one direction; the picture is one block, normalised by L2-Hys, and square roots spread its values over the bytes.
    """
    import cv2

    cells, directions, lengths = _gradients()
    luma = cv2.cvtColor(cv2.resize(pixels, (_SHAPE_SIDE, _SHAPE_SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(luma, cv2.CV_16S, *way, ksize=1).astype(np.intp) for way in ((1, 0), (0, 1)))
    at = (down * (2 * _STEEPEST + 1) + across + (_STEEPEST * (2 * _STEEPEST + 2))).ravel()
    block = np.bincount(cells + directions[at], weights=lengths[at], minlength=SHAPE_BYTES)
    for _ in range(2):
        block = np.minimum(block / np.sqrt((block**2).sum() + 1e-3), _HYS)
    return np.rint(np.sqrt(block / _HYS) * 255.0).astype(np.uint8).tobytes()


@lru_cache(maxsize=1)
def _gradients() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Where each pixel's cell begins; the direction (of 8, opposite ways are one) and length of each gradient (down, across)."""
    place = np.arange(_SHAPE_SIDE) * _CELLS // _SHAPE_SIDE
    cells = (place[:, None] * _CELLS + place[None, :]) * _DIRECTIONS
    steps = np.arange(-_STEEPEST, _STEEPEST + 1)
    down, across = np.meshgrid(steps, steps, indexing="ij")
    turns = np.arctan2(down, across) % np.pi / np.pi
    directions = np.rint(turns * _DIRECTIONS).astype(np.intp) % _DIRECTIONS
    return cells.ravel(), directions.ravel(), np.hypot(down, across).ravel()
