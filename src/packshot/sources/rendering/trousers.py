"""Trousers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, mirrored, outline, spline
from packshot.sources.rendering.cloth import cloth, creases, patch, seam
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.tops import SIDES, button


@dataclass(frozen=True, slots=True)
class Leg:
    """The measures of the right leg: x of its edges at the knee and at the hem, y of its joints."""

    waist: Point
    hip: Point
    crotch: float
    bottom: float
    knee_inside: float
    knee_outside: float
    hem_inside: float
    hem_outside: float

    @property
    def knee(self) -> float:
        return (self.crotch + self.bottom) / 2


_SHAPES = {
    "straight legs": (0.075, 0.34, 0.34),
    "wide legs": (0.05, 0.43, 0.52),
    "tapered legs": (0.10, 0.32, 0.265),
    "flared legs": (0.04, 0.30, 0.44),
}
"""The inside of the hem, the outside of the knee, the outside of the hem."""


def trousers(canvas: Canvas, product: Product) -> None:
    """Trousers from the front."""
    print_ = Print.of(product, canvas, 0.8)
    leg = _measure(canvas, product)
    for side in SIDES:
        _leg(canvas, product, leg, side, print_)
    x, y = leg.waist
    seam(canvas, np.array([(0.0, y + 0.08), (0.0, leg.crotch)]), depth=0.30)
    seam(canvas, spline([(0.07, y + 0.08), (0.065, leg.crotch - 0.16), (0.0, leg.crotch - 0.07)]), depth=0.16)
    band = np.array([(0.0, y - 0.004), (x + 0.003, y - 0.02), (x + 0.012, y + 0.07), (0.0, y + 0.085)])
    patch(canvas, mirrored(band), print_.first, brightness=0.9)
    for loop in (-0.21, -0.10, 0.10, 0.21):
        canvas.darken(canvas.line(np.array([(loop, y - 0.01), (loop, y + 0.08)]), 0.022), 0.18)
    button(canvas, 0.0, y + 0.04, np.array([0.75, 0.72, 0.66], np.float32), 0.04)


def _measure(canvas: Canvas, product: Product) -> Leg:
    inside, knee, hem = _SHAPES[next(feature for feature in product.features if feature.endswith("legs"))]
    x, y = canvas.between(0.27, 0.32), canvas.between(-0.80, -0.74)
    spread = canvas.between(0.0, 0.07)
    return Leg(
        waist=(x, y),
        hip=(x + canvas.between(0.05, 0.08), y + 0.30),
        crotch=y + canvas.between(0.42, 0.50),
        bottom=canvas.between(0.46, 0.58) if canvas.chance(4) else canvas.between(0.72, 0.84),
        knee_inside=max(inside, 0.07) * 0.9 + spread * 0.5 + 0.01,
        knee_outside=knee + spread * 0.5,
        hem_inside=inside + spread,
        hem_outside=hem + spread,
    )


def _leg(canvas: Canvas, product: Product, leg: Leg, side: float, print_: Print) -> None:
    flip = (side, 1.0)
    inner, outer = (leg.hem_inside, leg.bottom + 0.012), (leg.hem_outside, leg.bottom)
    edge = outline(
        [(0.0, leg.waist[1]), leg.waist],
        [leg.waist, leg.hip, (leg.knee_outside, leg.knee), outer],
        [outer, ((outer[0] + inner[0]) / 2, leg.bottom + 0.018), inner],
        [inner, (leg.knee_inside, leg.knee), (0.012, leg.crotch + 0.03), (0.0, leg.crotch)],
    )
    region = canvas.area(edge * flip)
    pulled = creases(canvas, region, 90 + side * canvas.between(50, 75), 0.25, 0.10)
    where = np.exp(-(((region.y - (leg.crotch + 0.06)) / 0.16) ** 2)) + 0.8 * np.exp(
        -(((region.y - (leg.knee + 0.1)) / 0.13) ** 2)
    )
    height = creases(canvas, region, 90 + side * 3, 1.0, 0.13) * 0.010 + pulled * where * 0.012
    shade = cloth(canvas, region, height, puff=0.06)
    fall = np.clip((region.y - leg.waist[1] - 0.15) / 0.25, 0.6, 1.0)
    middle = side * (leg.hem_inside + leg.hem_outside) / 2
    if product.has("creases"):
        shade = shade * (1.0 - 0.17 * np.exp(-((((region.x - middle * fall) * side - 0.012) / 0.018) ** 2)))
    canvas.lay(region, print_.paint(region.x - middle * 0.25 * fall + height, region.y + height), shade)
    _hem(canvas, product, leg, flip, print_)
    x, y = leg.waist
    seam(canvas, spline([(x * 0.62, y + 0.09), (x * 0.74, y + 0.19), (leg.hip[0] - 0.015, y + 0.24)]) * flip, depth=0.28)


def _hem(canvas: Canvas, product: Product, leg: Leg, flip: Point, print_: Print) -> None:
    if not product.has("turn-ups"):
        seam(canvas, np.array([(leg.hem_inside, leg.bottom - 0.025), (leg.hem_outside, leg.bottom - 0.035)]) * flip, depth=0.15)
        return
    lining: Field = print_.second if product.pattern != "plain" else mixed(print_.first, np.ones(3, np.float32), 0.25)
    low, high = leg.bottom, leg.bottom - 0.10
    inner, outer = leg.hem_inside - 0.012, leg.hem_outside + 0.012
    patch(canvas, np.array([(outer, low + 0.005), (inner, low + 0.018), (inner, high), (outer, high)]) * flip, lining)
