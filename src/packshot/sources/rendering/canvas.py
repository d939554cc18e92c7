"""The canvas on which a product is built up, layer by layer, in the product's own frame.

x runs right, y down, both from -1 to 1; colours are float32 sRGB in 0..1; a shade of 1 is a surface that faces the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""One number a pixel, (H, W), or three, (H, W, 3); float32 wherever it is large."""
Points = NDArray[np.float64]
"""Points of an outline, (N, 2), in the product's frame."""
Point = tuple[float, float]

_FRACTION_BITS = 4


@dataclass(frozen=True, slots=True)
class Light:
    """Where the soft key light stands: x < 0 is left, y < 0 is up; `contrast` is how much it models."""

    x: float
    y: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the canvas: its coverage in 0..1 and the coordinates of its pixels, cut to the part's bounding box."""

    rows: slice
    columns: slice
    coverage: Field
    x: Field
    """(1, W)."""
    y: Field
    """(H, 1)."""


@cache
def _axis(side: int) -> Field:
    return (np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0


class Canvas:
    """The layers of one product laid over each other, and where it stands.

    `layers` is (side, side, 4): the colour premultiplied by its coverage, and the coverage.
    """

    def __init__(self, side: int, light: Light, rng: np.random.Generator) -> None:
        self.side = side
        self.light = light
        self.rng = rng
        self.layers = np.zeros((side, side, 4), np.float32)
        self.footprint = np.zeros((side, side), np.uint8)
        self._scratch = np.zeros((side, side), np.uint8)

    def between(self, low: float, high: float) -> float:
        """A measure of the product, drawn evenly between two bounds."""
        return float(self.rng.uniform(low, high))

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return bool(self.rng.integers(one_in) == 0)

    def _fixed(self, points: Points) -> NDArray[np.int32]:
        pixels = (points + 1.0) * (self.side / 2.0) - 0.5
        return np.rint(pixels * (1 << _FRACTION_BITS)).astype(np.int32)

    def area(self, *outlines: Points) -> Region:
        """The inside of closed outlines."""
        corners = np.concatenate(outlines)
        region = self._box(corners, 0.02)
        cv2.fillPoly(self._scratch, [self._fixed(outline) for outline in outlines], 255, cv2.LINE_AA, _FRACTION_BITS)
        return self._lift(region)

    def line(self, points: Points, width: float, *, closed: bool = False) -> Region:
        """A pen stroke of a given width."""
        region = self._box(points, width)
        thickness = max(1, round(width * self.side / 2.0))
        cv2.polylines(self._scratch, [self._fixed(points)], closed, 255, thickness, cv2.LINE_AA, _FRACTION_BITS)
        return self._lift(region)

    def _box(self, points: Points, margin: float) -> tuple[slice, slice]:
        low = np.floor((points.min(0) - margin + 1.0) * self.side / 2.0).astype(int).clip(0, self.side - 2)
        high = np.ceil((points.max(0) + margin + 1.0) * self.side / 2.0).astype(int).clip(low + 2, self.side)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def _lift(self, box: tuple[slice, slice]) -> Region:
        drawn = self._scratch[box]
        coverage = drawn.astype(np.float32) * np.float32(1 / 255)
        drawn[:] = 0
        axis = _axis(self.side)
        return Region(box[0], box[1], coverage, axis[None, box[1]], axis[box[0], None])

    def lay(self, region: Region, colour: Field, shade: Field | float = 1.0, gloss: Field | float = 0.0) -> None:
        """Lay one part over what is there: colour (3,) or (H, W, 3), multiplied by its shade, plus a white gloss."""
        lit = np.asarray(shade, np.float32)
        sheen = np.asarray((lit - 1.0) * 0.05 + gloss, np.float32)
        part = np.asarray(colour, np.float32) * lit[..., None] + sheen[..., None]
        cover = region.coverage
        below = self.layers[region.rows, region.columns]
        below *= (1.0 - cover)[..., None]
        below[..., :3] += np.clip(part, 0.0, 1.0) * cover[..., None]
        below[..., 3] += cover

    def darken(self, region: Region, amount: float) -> None:
        """Darken what is there: a seam, a fold, a shadow of one part on another."""
        self.layers[region.rows, region.columns, :3] *= (1.0 - amount * region.coverage)[..., None]

    def stand(self, outline: Points) -> None:
        """Say where the product touches the ground."""
        cv2.fillPoly(self.footprint, [self._fixed(outline)], 255, cv2.LINE_AA, _FRACTION_BITS)

    def blurred(self, field: Field, radius: float) -> Field:
        """A Gaussian blur; the radius is its standard deviation in units of the frame."""
        sigma = radius * self.side / 2.0
        field = np.asarray(field, np.float32)
        if sigma > 5.0:
            small = cv2.resize(field, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            soft = cv2.GaussianBlur(small, (0, 0), sigma / 4.0, borderType=cv2.BORDER_CONSTANT)
            return np.asarray(cv2.resize(soft, (field.shape[1], field.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
        return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float32)

    def slope(self, height: Field) -> Field:
        """How steeply a height field turns towards the light: positive faces it."""
        across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
        kernel = (across * self.light.x + across.T * self.light.y) * np.float32(-self.side / 16.0)
        return np.asarray(
            cv2.filter2D(np.asarray(height, np.float32), cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE), np.float32
        )


def outline(*strokes: Sequence[Point], steps: int = 7) -> Points:
    """Join strokes to one outline: two points are a straight line, more a Catmull-Rom spline; corners stand between strokes."""
    return np.concatenate([spline(stroke, steps) for stroke in strokes])


def spline(stroke: Sequence[Point], steps: int = 7) -> Points:
    """The Catmull-Rom spline through points (Catmull and Rom 1974, tension 1/2), ends included."""
    knots = np.asarray(stroke, np.float64)
    if len(knots) < 3:
        return knots
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, start, stop, after = (padded[at : at + len(knots) - 1, None] for at in range(4))
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (stop - before) * t
        + (2 * before - 5 * start + 4 * stop - after) * t**2
        + (3 * start - before - 3 * stop + after) * t**3
    )
    return np.concatenate([curve.reshape(-1, 2), knots[-1:]])


def softened(points: Sequence[Point], rounds: int = 4) -> Points:
    """The smooth curve that points pull towards themselves, ends included (Chaikin 1974)."""
    line = np.asarray(points, np.float64)
    for _ in range(rounds):
        cut = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1).reshape(-1, 2)
        line = np.concatenate([line[:1], cut, line[-1:]])
    return line


def mirrored(right: Points) -> Points:
    """The whole outline of which the right half is given, from top to bottom."""
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def ellipse(x: float, y: float, a: float, b: float, start: float = 0.0, stop: float = 360.0) -> Points:
    """An arc of an ellipse with half axes a and b; degrees run from the right downwards."""
    t = np.radians(np.linspace(start, stop, 49))
    return np.stack([x + a * np.cos(t), y + b * np.sin(t)], axis=1)


def tube(path: Points, start: float, stop: float) -> Points:
    """The outline of a pipe along a path whose half width goes from `start` to `stop`."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    across = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) * np.linspace(start, stop, len(path))[:, None]
    return np.concatenate([path + across, (path - across)[::-1]])


def shifted(points: Points, x: float, y: float) -> Points:
    """Points moved to the right and down."""
    return np.asarray(points + np.array([x, y]), np.float64)


def rotated(points: Points, degrees: float, about: Point = (0.0, 0.0)) -> Points:
    """Points turned clockwise about a point."""
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray((points - about) @ matrix + about, np.float64)
