"""Turned and moulded bodies: how clay, glass, metal and wood take the light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Region, ellipse, softened
from packshot.sources.rendering.prints import Print, ramp

METAL = np.array([0.72, 0.71, 0.69], np.float32)
BRASS = np.array([0.80, 0.66, 0.36], np.float32)
OAK = np.array([0.76, 0.60, 0.42], np.float32)
WALNUT = np.array([0.45, 0.31, 0.21], np.float32)
BLACK = np.array([0.16, 0.16, 0.17], np.float32)
WHITE = np.array([0.95, 0.94, 0.92], np.float32)


@dataclass(frozen=True, slots=True)
class Turned:
    """A body of revolution seen a little from above: on the potter's wheel, so to speak."""

    region: Region
    u: Field
    """-1 at the left edge, 1 at the right."""
    surface_x: Field
    surface_y: Field
    """Where a pattern lies: it wraps around the body and follows the curve of its rim."""


def turned(canvas: Canvas, profile: Sequence[Point], tilt: float, *, x: float = 0.0, shut: bool = False) -> Turned:
    """Turn a profile of (half width, y) points, top to bottom, around the vertical axis at x; `tilt` flattens its circles.

    The top edge is the far rim, or the near one where the body is `shut` by something that is drawn over it.
    """
    knots = softened(profile)
    y, width = knots[:, 1], np.maximum(knots[:, 0], 0.004)
    top, bottom = (width[0], y[0]), (width[-1], y[-1])
    near = ellipse(x, bottom[1], bottom[0], bottom[0] * tilt, 0.0, 180.0)
    rim = ellipse(x, top[1], top[0], top[0] * tilt, 180.0, 0.0 if shut else 360.0)
    right = np.stack([x + width, y], axis=1)
    left = np.stack([x - width[::-1], y[::-1]], axis=1)
    region = canvas.area(np.concatenate([right, near, left, rim]))
    half = np.interp(region.y[:, 0], y, width).astype(np.float32)[:, None]
    u = np.clip((region.x - np.float32(x)) / half, -1.0, 1.0)
    facing = np.sqrt(1.0 - u * u)
    return Turned(region, u, np.arcsin(u * np.float32(0.985)) * half, region.y - np.float32(tilt) * half * facing)


def rounded(canvas: Canvas, body: Turned, *, flatness: float = 0.0) -> Field:
    """The shade of a body of revolution under the soft key light, with a reflex on the far side."""
    side = body.u * np.float32(np.sign(canvas.light.x) or 1.0)
    contrast = canvas.light.contrast
    edge = np.abs(body.u) ** 6
    shade = 1.0 + contrast * (0.30 * side - 0.32 * side * side - 0.28 * np.clip(-side, 0.0, 1.0) ** 2) - 0.16 * edge
    shade += 0.10 * contrast * np.clip(-side - 0.8, 0.0, 1.0) * 5.0
    fall = np.float32(0.10 * contrast) * (body.region.y - np.float32(flatness))
    return np.asarray(np.clip(shade - fall, 0.35, 1.2), np.float32)


def glaze(canvas: Canvas, body: Turned, strength: float, *, top: float, bottom: float) -> Field:
    """The reflexes of a soft box on a glossy body: a broad strip towards the light, a thin one on the other side."""
    side = body.u * np.float32(np.sign(canvas.light.x) or 1.0)
    strip = np.exp(-(((side - 0.52) / 0.11) ** 2)) + 0.35 * np.exp(-(((side + 0.80) / 0.06) ** 2))
    span = ramp(body.region.y, top, top + 0.14) * (1.0 - ramp(body.region.y, bottom - 0.22, bottom))
    return np.asarray(strip * span * np.float32(strength), np.float32)


def pipe(canvas: Canvas, region: Region, colour: Field, gloss: float, radius: float) -> None:
    """Lay a round pipe (a handle, a spout, a leg) that shines where it faces the light."""
    relief = canvas.blurred(region.coverage, radius * 0.75)
    slope = canvas.slope(relief * np.float32(radius * 1.5))
    shade = np.clip(0.94 + canvas.light.contrast * 0.9 * np.clip(slope, -1.0, 1.0), 0.45, 1.2)
    canvas.lay(region, colour, shade, np.float32(gloss) * np.clip(slope - 0.25, 0.0, 1.0) ** 2 * 2.0)


def opening(
    canvas: Canvas,
    x: float,
    y: float,
    width: float,
    tilt: float,
    colour: Field,
    *,
    lip: float = 0.03,
    print_: Print | None = None,
) -> None:
    """The mouth of a vessel: a bright lip around an inside, printed or not, that is darker towards the light."""
    canvas.lay(canvas.area(ellipse(x, y, width, width * tilt)), np.asarray(colour * 1.05 + 0.03, np.float32), 1.0)
    inside = canvas.area(ellipse(x, y + lip * tilt * 0.4, width - lip, (width - lip) * tilt))
    side = (inside.x - np.float32(x)) / np.float32(width) * np.float32(np.sign(canvas.light.x) or 1.0)
    drop = (inside.y - np.float32(y)) / np.float32(width * tilt)
    ground = colour if print_ is None else print_.paint(inside.x - np.float32(x), drop * np.float32(0.8 * width))
    canvas.lay(inside, ground, 0.82 - 0.16 * side + 0.14 * drop)


def pot(canvas: Canvas, body: Turned, colour: Field, gloss: float, top: float, bottom: float) -> None:
    """Lay a body of revolution with its glaze, whose reflexes run from `top` to `bottom`."""
    shade = rounded(canvas, body, flatness=(top + bottom) / 2)
    canvas.lay(body.region, colour, shade, glaze(canvas, body, gloss, top=top, bottom=bottom))
