"""What surfaces look like: patterns that follow them, cloth that folds, clay and glass that shine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, Region, ellipse, softened
from packshot.sources.rendering.product import PALETTE, Product


def colour_of(name: str) -> Field:
    """A named colour as float32 sRGB in 0..1."""
    return np.array(PALETTE[name], np.float32) / np.float32(255)


def mixed(first: Field, second: Field, share: Field | float) -> Field:
    """`first` where the share is 0, `second` where it is 1."""
    weight = np.asarray(share, np.float32)[..., None]
    return np.asarray(first + (second - first) * weight, np.float32)


@dataclass(frozen=True, slots=True)
class Print:
    """A product's pattern with its measures drawn: what to paint at any point (u, v) of its surface."""

    name: str
    first: Field
    second: Field
    third: Field
    period: float
    phase: float
    duty: float
    upright: bool
    sharpness: float
    """Pixels a unit of the frame."""

    @classmethod
    def of(cls, product: Product, canvas: Canvas, grain: float = 1.0) -> Print:
        """Draw the measures of a product's pattern; `grain` makes it coarser (above 1) or finer."""
        rng = canvas.rng
        jitter = rng.normal(0.0, 0.012, (2, 3)).astype(np.float32)
        first = colour_of(product.colour) + jitter[0]
        second = colour_of(product.second_colour) + jitter[1]
        third = mixed(first, colour_of("yellow" if product.second_colour != "yellow" else "orange"), 0.8)
        return cls(
            name=product.pattern,
            first=first,
            second=second,
            third=third,
            period=float(rng.uniform(0.8, 1.25)) * grain,
            phase=float(rng.uniform(0.0, 1.0)),
            duty=float(rng.uniform(0.34, 0.56)),
            upright=bool(rng.integers(3) == 0),
            sharpness=canvas.side / 2.0,
        )

    def paint(self, u: Field, v: Field) -> Field:
        """The surface's colours, (3,) where it is plain, else (H, W, 3); u runs across the surface, v down it, in frame units."""
        if self.name == "plain":
            return self.first
        across, down = np.broadcast_arrays(u, v)
        if self.name == "gradient":
            return mixed(self.first, self.second, _ramp(down, -0.25 + 0.3 * self.phase, 0.75))
        if self.name == "two-tone":
            return mixed(self.first, self.second, self._edge(down - (0.05 + 0.3 * self.phase)))
        if self.name == "striped":
            return mixed(self.first, self.second, self._bars(across if self.upright else down, 0.30, self.duty))
        if self.name == "pinstriped":
            return mixed(self.first, self.second, self._bars(across, 0.17, 0.24))
        if self.name == "checked":
            period = 0.32
            bars = self._bars(across, period, 0.5) + self._bars(down, period, 0.5)
            return mixed(self.first, self.second, bars * np.float32(0.5))
        if self.name == "chevron":
            period = 0.32 * self.period
            zigzag = np.abs((across / period + self.phase) % 1.0 - 0.5) * period
            return mixed(self.first, self.second, self._bars(np.asarray(down + zigzag, np.float32), 0.24, 0.5))
        if self.name == "dotted":
            return mixed(self.first, self.second, self._edge(0.27 * 0.30 * self.period - self._rings(across, down, 0.27)[0]))
        return self._flowers(across, down)

    def _edge(self, distance: Field) -> Field:
        return np.clip(distance * np.float32(self.sharpness) + 0.5, 0.0, 1.0)

    def _bars(self, along: Field, period: float, duty: float) -> Field:
        period *= self.period
        place = np.abs((along + np.float32(self.phase * period)) % np.float32(period) - np.float32(period / 2))
        return self._edge(np.float32(duty * period / 2) - place)

    def _rings(self, across: Field, down: Field, period: float) -> tuple[Field, Field, Field]:
        """The distance to the next of a lattice of centres in brick order, and the place relative to it."""
        period *= self.period
        row = np.floor(down / np.float32(period * 0.866) + np.float32(self.phase))
        y = (down / np.float32(period * 0.866) + np.float32(self.phase) - row - 0.5) * np.float32(period * 0.866)
        x = ((across / np.float32(period) + (row % 2) * np.float32(0.5) + np.float32(self.phase)) % 1.0 - 0.5) * np.float32(
            period
        )
        return np.sqrt(x * x + y * y), x, y

    def _flowers(self, across: Field, down: Field) -> Field:
        far, x, y = self._rings(across, down, 0.40)
        petals = np.float32(0.40 * self.period) * (0.27 + 0.10 * np.cos(5.0 * np.arctan2(y, x) + np.float32(6.3 * self.phase)))
        ground = mixed(self.first, self.second, self._edge(petals - far))
        return mixed(ground, self.third, self._edge(np.float32(0.10 * 0.40 * self.period) - far))


def _ramp(value: Field, start: float, stop: float) -> Field:
    """0 before the start, 1 after the stop, smooth between."""
    t = np.clip((value - np.float32(start)) * np.float32(1.0 / (stop - start)), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


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
    span = _ramp(body.region.y, top, top + 0.14) * (1.0 - _ramp(body.region.y, bottom - 0.22, bottom))
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


def wood(canvas: Canvas, region: Region, tone: Field, *, upright: bool = True) -> Field:
    """The colours of wood whose grain runs up (or across)."""
    grain = creases(canvas, region, 90.0 if upright else 0.0, 0.6, 0.022)
    return np.asarray(tone * (1.0 + 0.07 * np.clip(grain, -1.5, 1.5))[..., None], np.float32)


def seam(canvas: Canvas, points: Points, *, width: float = 0.012, depth: float = 0.22) -> None:
    """A stitched seam along a line."""
    canvas.darken(canvas.line(points, width), depth)
