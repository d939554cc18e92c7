"""Cloth and leather: how they fold, round off at the edge and are sewn."""

from __future__ import annotations

import math

import cv2
import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Points, Region
from packshot.sources.rendering.prints import Print


def creases(canvas: Canvas, region: Region, degrees: float, length: float, width: float) -> Field:
    """A height field of irregular folds that run along a direction (degrees from the horizontal): roughly -1..1."""
    grain = canvas.rng.standard_normal((24, 24)).astype(np.float32)
    turn = math.radians(degrees)
    pixel = 2.0 / canvas.side
    along = np.array([math.cos(turn), math.sin(turn)]) * pixel / length
    across = np.array([-math.sin(turn), math.cos(turn)]) * pixel / width
    start = canvas.rng.uniform(4.0, 16.0, 2)
    matrix = np.array([[*along, start[0]], [*across, start[1]]])
    height, wide = region.coverage.shape
    return np.asarray(
        cv2.warpAffine(
            grain, matrix, (wide, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
        ),
        np.float32,
    )


def cloth(canvas: Canvas, region: Region, height: Field | None = None, *, puff: float = 0.055, depth: float = 1.0) -> Field:
    """The shade of a piece of cloth: rounded at its outline, folded as the height field says (in units of the frame)."""
    body = canvas.blurred(region.coverage, puff)
    relief = body * np.float32(puff * 1.15 * depth)
    if height is not None:
        relief = relief + height
    contrast = np.float32(canvas.light.contrast)
    rim = np.clip(2.0 * body - 0.9, 0.0, 1.0)
    shade = (0.80 + 0.20 * rim) * (1.0 + contrast * np.clip(canvas.slope(relief), -0.62, 0.6))
    return np.asarray(np.clip(shade, 0.42, 1.22), np.float32)


def patch(canvas: Canvas, points: Points, tone: Field, *, puff: float = 0.03, brightness: float = 1.0) -> Region:
    """Lay a small piece of one colour: a cuff, a band, a pocket."""
    region = canvas.area(points)
    canvas.lay(region, tone, cloth(canvas, region, puff=puff) * np.float32(brightness))
    return region


def printed(canvas: Canvas, region: Region, print_: Print, height: Field, *, puff: float = 0.055, degrees: float = 0.0) -> None:
    """Lay a piece of printed cloth with its folds; the print is turned with the piece, as it is cut."""
    c, s = np.float32(math.cos(math.radians(degrees))), np.float32(math.sin(math.radians(degrees)))
    u, v = region.x * c + region.y * s, region.y * c - region.x * s
    canvas.lay(region, print_.paint(u + height * 1.2, v + height), cloth(canvas, region, height, puff=puff))


def seam(canvas: Canvas, points: Points, *, width: float = 0.012, depth: float = 0.22) -> None:
    """A stitched seam along a line."""
    canvas.darken(canvas.line(points, width), depth)
