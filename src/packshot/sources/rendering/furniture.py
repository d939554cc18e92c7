"""Lamps and chairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, ellipse, tube
from packshot.sources.rendering.clay import BLACK, BRASS, METAL, OAK, WALNUT, opening, pipe, pot, rounded, turned
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product, pick

_WARM = np.array([1.0, 0.86, 0.62], np.float32)
Corner = tuple[float, float, float]
"""A point in space: x to the right, y up, z to the front."""


def lamp(canvas: Canvas, product: Product) -> None:
    """A table lamp that is switched on."""
    print_ = Print.of(product, canvas)
    tilt, bottom = canvas.between(0.08, 0.15), canvas.between(0.68, 0.76)
    high, low = canvas.between(-0.80, -0.74), canvas.between(-0.16, 0.0)
    metal = pick(canvas.rng, (METAL, BLACK, BRASS, OAK, print_.second))
    if product.has("three legs"):
        for foot in ((-0.34, bottom - 0.02), (0.34, bottom - 0.02), (0.06, bottom + 0.06)):
            pipe(canvas, canvas.area(tube(np.array([(0.0, low + 0.10), foot]), 0.030, 0.018)), metal, 0.15, 0.025)
            canvas.stand(ellipse(foot[0], foot[1], 0.04, 0.015))
    else:
        _stand(canvas, product, low, bottom, tilt, metal)
    wide = canvas.between(0.44, 0.56)
    shape: tuple[Point, ...]
    if product.has("a cone shade"):
        shape = ((wide * 0.42, high), (wide, low))
    elif product.has("a drum shade"):
        shape = ((wide * 0.86, high + 0.06), (wide * 0.94, low))
    else:
        shape = ((wide * 0.08, high), (wide * 0.66, high), (wide * 0.98, high + 0.30), (wide, low))
    _shade(canvas, shape, tilt, print_)


def _stand(canvas: Canvas, product: Product, low: float, bottom: float, tilt: float, tone: Field) -> None:
    pipe(canvas, canvas.area(tube(np.array([(0.0, low - 0.1), (0.0, bottom - 0.05)]), 0.022, 0.022)), METAL, 0.3, 0.02)
    profile: tuple[Point, ...]
    if product.has("a round base"):
        size = canvas.between(0.20, 0.28)
        waist = (size * 1.02, bottom - size * 1.75), (size * 1.10, bottom - size * 0.55), (size * 0.6, bottom - 0.02)
        profile = ((0.05, bottom - size * 2.0), *waist, (size * 0.5, bottom))
    else:
        size = canvas.between(0.22, 0.30)
        profile = ((0.035, low + 0.05), (0.055, low + 0.3), (0.05, bottom - 0.14), (size * 0.8, bottom - 0.06), (size, bottom))
    pot(canvas, turned(canvas, profile, tilt), tone, 0.45, profile[0][1], bottom)
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def _shade(canvas: Canvas, shape: tuple[Point, ...], tilt: float, print_: Print) -> None:
    top, low = shape[0], shape[-1]
    body = turned(canvas, shape, tilt)
    glow = np.exp(-((body.u / 0.62) ** 2)) * np.exp(-(((body.region.y - (low[1] - 0.12)) / 0.34) ** 2))
    lit = mixed(print_.paint(body.surface_x, body.surface_y), _WARM, 0.34 * glow)
    canvas.lay(body.region, lit, 0.88 + 0.12 * rounded(canvas, body, flatness=low[1]) + 0.10 * glow - 0.16 * np.abs(body.u) ** 4)
    if top[0] > 0.12:
        opening(canvas, 0.0, top[1], top[0], tilt, mixed(print_.first, _WARM, 0.55), lip=0.018)
    canvas.darken(canvas.line(ellipse(0.0, low[1], low[0], low[0] * tilt, 4.0, 176.0), 0.02), 0.18)


@dataclass(frozen=True, slots=True)
class Frame:
    """The measures of a chair and the side from which it is seen (parallel projection, angles in radians)."""

    yaw: float
    pitch: float
    half: float
    deep: float
    seat: float
    thick: float
    top: float
    floor: float = -0.58
    lean: float = 0.08

    def see(self, x: float, y: float, z: float) -> Point:
        """Where the canvas shows a point in space."""
        across = x * math.cos(self.yaw) + z * math.sin(self.yaw)
        near = z * math.cos(self.yaw) - x * math.sin(self.yaw)
        return (across, near * math.sin(self.pitch) - y * math.cos(self.pitch) + 0.10)

    def back(self, x: float, y: float) -> Corner:
        """A point of the back's front, which leans backwards."""
        return (x, y, -self.deep - self.lean * (y - self.seat) / (self.top - self.seat))


def chair(canvas: Canvas, product: Product) -> None:
    """A chair, turned a little to the right."""
    print_ = Print.of(product, canvas, 0.85)
    seat = canvas.between(-0.02, 0.06)
    frame = Frame(
        yaw=math.radians(canvas.between(18, 40)),
        pitch=math.radians(canvas.between(14, 22)),
        half=canvas.between(0.36, 0.42),
        deep=canvas.between(0.34, 0.40),
        seat=seat,
        thick=canvas.between(0.06, 0.11),
        top=seat + canvas.between(0.66, 0.80),
    )
    timber = pick(canvas.rng, (OAK, WALNUT, BLACK, print_.second))
    splay = 0.08 if product.has("splayed legs") else 0.0
    side, front = frame.half - 0.04, frame.deep - 0.04
    for x in (-side, side):
        _leg(canvas, frame, x, -front, splay, timber)
    if product.has("a slatted back"):
        _slats(canvas, frame, print_, timber)
    elif product.has("a round back"):
        _disc(canvas, frame, print_, timber)
    else:
        _panel(canvas, frame, print_)
    if product.has("armrests"):
        _armrest(canvas, frame, -frame.half, timber)
    for x in (-side, side):
        _leg(canvas, frame, x, front, splay, timber)
    _seat(canvas, frame, print_)
    if product.has("armrests"):
        _armrest(canvas, frame, frame.half, timber)


def _rail(canvas: Canvas, frame: Frame, start: Corner, stop: Corner, thick: float, tone: Field) -> None:
    pipe(canvas, canvas.area(tube(np.array([frame.see(*start), frame.see(*stop)]), thick, thick)), tone, 0.08, thick)


def _leg(canvas: Canvas, frame: Frame, x: float, z: float, splay: float, tone: Field) -> None:
    head = frame.see(x, frame.seat, z)
    foot = frame.see(x + math.copysign(splay, x), frame.floor, z + math.copysign(splay, z))
    pipe(canvas, canvas.area(tube(np.array([head, foot]), 0.036, 0.026 if splay else 0.034)), tone, 0.08, 0.034)
    canvas.stand(ellipse(foot[0], foot[1], 0.05, 0.018))


def _armrest(canvas: Canvas, frame: Frame, x: float, tone: Field) -> None:
    for z in (-frame.deep + 0.10, frame.deep - 0.06):
        _rail(canvas, frame, (x, frame.seat, z), (x, frame.seat + 0.26, z), 0.025, tone)
    _rail(canvas, frame, (x, frame.seat + 0.27, frame.deep), (x, frame.seat + 0.27, -frame.deep), 0.032, tone)


def _face(canvas: Canvas, frame: Frame, corners: Sequence[Corner], shade: float, tone: Print | Field, swell: float = 0.0) -> None:
    """Lay one flat face, printed or of one colour; the edge from the first corner to the second is the print's horizontal."""
    flat: Points = np.array([frame.see(*corner) for corner in corners])
    region = canvas.area(flat)
    soft = canvas.blurred(region.coverage, 0.05)
    relief = np.clip(canvas.slope(soft * swell), -0.4, 0.3) if swell else 0.0
    if isinstance(tone, Print):
        sides = np.array([np.linalg.norm(np.subtract(corners[at], corners[0])) for at in (1, -1)])
        unfold = (sides[:, None] * np.linalg.inv(np.stack([flat[1] - flat[0], flat[-1] - flat[0]], axis=1))).tolist()
        x, y = region.x - float(flat[0, 0]), region.y - float(flat[0, 1])
        u, v = (row[0] * x + row[1] * y - float(side) / 2 for row, side in zip(unfold, sides, strict=True))
        tone = tone.paint(u, v)
    canvas.lay(region, tone, shade * (0.90 + 0.10 * soft) + relief)


def _slats(canvas: Canvas, frame: Frame, print_: Print, tone: Field) -> None:
    x = frame.half - 0.04
    for post in (-x, x):
        _rail(canvas, frame, frame.back(post, frame.seat), frame.back(post, frame.top), 0.032, tone)
    for share in np.linspace(0.40, 0.94, int(canvas.rng.integers(3, 5))):
        y = frame.seat + (frame.top - frame.seat) * float(share)
        slat = (frame.back(-x, y), frame.back(x, y), frame.back(x, y - 0.10), frame.back(-x, y - 0.10))
        _face(canvas, frame, slat, 0.97, print_, swell=0.03)


def _disc(canvas: Canvas, frame: Frame, print_: Print, tone: Field) -> None:
    for x in (-frame.half * 0.5, frame.half * 0.5):
        _rail(canvas, frame, frame.back(x, frame.seat), frame.back(x, frame.seat + 0.3), 0.030, tone)
    tall, t = frame.top - frame.seat, np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = [frame.back(frame.half * 0.98 * math.cos(a), frame.seat + tall * (0.60 + 0.42 * math.sin(a))) for a in t]
    canvas.lay(canvas.area(np.array([frame.see(x, y, z - 0.06) for x, y, z in ring])), print_.first * 0.62)
    region = canvas.area(np.array([frame.see(*corner) for corner in ring]))
    soft = canvas.blurred(region.coverage, 0.07)
    shade = 0.90 + 0.10 * soft + np.clip(canvas.slope(soft * 0.07), -0.4, 0.3)
    canvas.lay(region, print_.paint(region.x / math.cos(frame.yaw), region.y), shade)


def _panel(canvas: Canvas, frame: Frame, print_: Print) -> None:
    x, back, toward = frame.half, -frame.deep - 0.08, math.copysign(0.06, canvas.light.x)
    upper = (frame.back(-x, frame.top), frame.back(x, frame.top))
    flank = (upper[1], (x, frame.top, back - frame.lean), (x, frame.seat, back), frame.back(x, frame.seat))
    _face(canvas, frame, flank, 0.70 - toward, print_.first)
    _face(canvas, frame, (*upper, (x, frame.top, back - frame.lean), (-x, frame.top, back - frame.lean)), 1.08, print_.first)
    _face(canvas, frame, (*upper, frame.back(x, frame.seat), frame.back(-x, frame.seat)), 0.98, print_, swell=0.06)


def _seat(canvas: Canvas, frame: Frame, print_: Print) -> None:
    x, z, high, toward = frame.half, frame.deep, frame.seat, math.copysign(0.10, canvas.light.x)
    low = high - frame.thick
    _face(canvas, frame, ((-x, high, z), (x, high, z), (x, low, z), (-x, low, z)), 0.84 - toward / 2, print_.first)
    _face(canvas, frame, ((-x, high, z), (-x, high, -z), (-x, low, -z), (-x, low, z)), 0.70 - toward, print_.first)
    _face(canvas, frame, ((-x, high, -z), (x, high, -z), (x, high, z), (-x, high, z)), 1.06, print_, swell=0.05)
