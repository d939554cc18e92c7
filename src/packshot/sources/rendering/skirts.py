"""Dresses and skirts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, Region, mirrored, outline, spline
from packshot.sources.rendering.cloth import cloth, creases, patch, printed, seam
from packshot.sources.rendering.prints import Print
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.tops import SIDES, Neck, Sleeve, back_of_neck, drape, sleeves


@dataclass(frozen=True, slots=True)
class Flare:
    """The lower part of a dress, or a skirt: the right ends of waist, hip and hem, and how far the hem's middle hangs lower."""

    waist: Point
    hip: Point
    hem: Point
    sag: float

    def edge(self) -> Points:
        """The right half, from the middle of the waist to the middle of the hem."""
        x, y = self.hem
        bottom = [self.hem, (x * 0.55, y + self.sag), (0.0, y + self.sag * 1.35)]
        return outline(
            [(0.0, self.waist[1] - 0.012), (self.waist[0], self.waist[1] - 0.012)], [self.waist, self.hip, self.hem], bottom
        )


def dress(canvas: Canvas, product: Product) -> None:
    """A dress from the front."""
    print_ = Print.of(product, canvas, 0.85)
    waist = (canvas.between(0.20, 0.25), canvas.between(-0.24, -0.10))
    armpit = (canvas.between(0.25, 0.29), -0.46)
    if product.has("straps"):
        edge = _strapped(canvas, armpit, print_)
    else:
        neck = Neck(
            canvas.between(0.13, 0.18), canvas.between(-0.80, -0.75), canvas.between(0.10, 0.20), pointed=canvas.chance(3)
        )
        edge = _shouldered(canvas, product, neck, armpit, print_)
    flank = spline([(edge[-1, 0], edge[-1, 1] + 0.06), (waist[0] + 0.01, waist[1] - 0.08), waist])
    bodice = canvas.area(mirrored(np.concatenate([edge, flank, [(0.0, waist[1] + 0.01)]])))
    printed(canvas, bodice, print_, drape(canvas, bodice, 0.8))
    if not product.has("straps"):
        canvas.lay(canvas.line(neck.line(), 0.026), print_.first, 0.88)

    flared = product.has("a flared skirt")
    hem = (canvas.between(0.46, 0.64) if flared else canvas.between(0.25, 0.33), canvas.between(0.46, 0.82))
    hip = (waist[0] + (hem[0] - waist[0]) * 0.42 + (0.02 if flared else 0.06), waist[1] + 0.26)
    flare = Flare(waist, hip, hem, 0.04 if flared else 0.015)
    _hang(canvas, flare, print_, canvas.between(9, 15) if flared else canvas.between(3, 6), 0.017 if flared else 0.008)
    if product.has("a belt"):
        x, y = waist[0] + 0.012, waist[1]
        patch(canvas, mirrored(np.array([(0.0, y - 0.045), (x, y - 0.05), (x, y + 0.025), (0.0, y + 0.03)])), print_.second)
    else:
        seam(canvas, np.array([(-waist[0], waist[1] - 0.005), (waist[0], waist[1] - 0.005)]), depth=0.18)


def skirt(canvas: Canvas, product: Product) -> None:
    """A skirt from the front."""
    print_ = Print.of(product, canvas)
    straight = product.has("a straight cut")
    waist = (canvas.between(0.30, 0.37), canvas.between(-0.64, -0.54))
    hem = (canvas.between(0.37, 0.44) if straight else canvas.between(0.60, 0.76), canvas.between(0.22, 0.70))
    hip = (waist[0] + (hem[0] - waist[0]) * 0.40 + (0.07 if straight else 0.015), waist[1] + 0.32)
    flare = Flare(waist, hip, hem, 0.02 if straight else 0.06)
    if product.has("a ruffled hem"):
        _ruffle(canvas, flare, print_)
    if product.has("pleats"):
        _pleat(canvas, flare, print_)
    else:
        _hang(canvas, flare, print_, canvas.between(3, 6) if straight else canvas.between(8, 14), 0.008 if straight else 0.019)
        low = hem[1] + flare.sag - 0.045
        seam(
            canvas,
            mirrored(spline([(0.0, low + flare.sag * 0.35), (hem[0] * 0.55, low), (hem[0] - 0.01, hem[1] - 0.045)])[::-1]),
            depth=0.12,
        )
    if straight:
        seam(canvas, np.array([(0.0, hem[1] + flare.sag), (0.0, hem[1] - 0.2)]), width=0.014, depth=0.4)
    _waistband(canvas, product, waist, print_)


def _strapped(canvas: Canvas, armpit: Point, print_: Print) -> Points:
    """Lay the straps; the right half of the bodice's upper edge, down to the armpit."""
    bust, top = -0.55, canvas.between(-0.80, -0.75)
    for side in SIDES:
        canvas.lay(canvas.line(np.array([(0.15, bust + 0.03), (0.12, top)]) * (side, 1.0), 0.035), print_.first, 0.9)
    cup = [(0.0, bust + 0.05), (0.09, bust), (0.17, bust - 0.015)]
    return outline(cup, [(0.17, bust - 0.01), (0.21, bust + 0.09), (armpit[0] - 0.02, -0.40)])


def _shouldered(canvas: Canvas, product: Product, neck: Neck, armpit: Point, print_: Print) -> Points:
    """Lay the back and the sleeves; the right half of the bodice's upper edge, down to the armpit."""
    shoulder = (canvas.between(0.29, 0.33), neck.top + 0.06)
    back_of_neck(canvas, neck, print_.first)
    if not product.has("no sleeves"):
        long = product.has("long sleeves")
        reach = 0.88 if long else canvas.between(0.20, 0.30)
        angle = math.radians(canvas.between(70, 78) if long else canvas.between(48, 66))
        open_ = 0.11 if long else 0.17
        tip = (shoulder[0] + reach * math.cos(angle), shoulder[1] + reach * math.sin(angle))
        end = (tip[0] - open_ * math.sin(angle), tip[1] + open_ * math.cos(angle))
        outer = spline([shoulder, (shoulder[0] * 0.45 + tip[0] * 0.55 + 0.035, (shoulder[1] + tip[1]) / 2), tip])
        inner = spline([armpit, (armpit[0] * 0.4 + end[0] * 0.6 + 0.015, armpit[1] * 0.4 + end[1] * 0.6), end])
        sleeves(canvas, Sleeve(outer, inner), print_)
    return outline(neck.front()[::-1], [(neck.width, neck.top), shoulder], [shoulder, (shoulder[0] - 0.055, -0.60), armpit])


def _fan(canvas: Canvas, region: Region, waist: Point, hem: Point, folds: float, depth: float) -> tuple[Field, Field]:
    """Folds that fan out from the waist: their height field, and the place across the cloth where it was still flat."""
    t = (region.y - waist[1]) / (hem[1] - waist[1])
    across = region.x / np.maximum(waist[0] + (hem[0] - waist[0]) * np.clip(t, 0.0, 1.2), 0.05)
    angle = across * folds + canvas.between(0, 6.28) + 0.9 * creases(canvas, region, 88.0, 1.4, 0.30)
    height = (np.sin(angle) + 0.4 * np.sin(angle * 2.1 + 1.0)) * depth * np.clip(t, 0.0, 1.0) ** 0.8
    return height, across * hem[0]


def _hang(canvas: Canvas, flare: Flare, print_: Print, folds: float, depth: float) -> None:
    region = canvas.area(mirrored(flare.edge()))
    height, across = _fan(canvas, region, flare.waist, flare.hem, folds, depth)
    canvas.lay(region, print_.paint(across + height, region.y + height * 0.6), cloth(canvas, region, height))


def _pleat(canvas: Canvas, flare: Flare, print_: Print) -> None:
    region = canvas.area(mirrored(flare.edge()))
    t = np.clip((region.y - flare.waist[1]) / (flare.hem[1] - flare.waist[1]), 0.0, 1.0)
    across = region.x / (flare.waist[0] + (flare.hem[0] - flare.waist[0]) * t)
    saw = (across * float(canvas.rng.integers(6, 11)) + 1.0) % 1.0
    body = cloth(canvas, region, creases(canvas, region, 88.0, 1.2, 0.25) * 0.008)
    shade = body * (1.06 - 0.72 * np.clip(saw - 0.66, 0.0, 1.0) + 0.05 * saw)
    canvas.lay(region, print_.paint(across * flare.hem[0], region.y), shade)


def _ruffle(canvas: Canvas, flare: Flare, print_: Print) -> None:
    x, y = flare.hem
    wide = (x + 0.07, y + 0.17)
    waves = [
        (float(at), wide[1] + flare.sag + (0.022 if odd % 2 else -0.004)) for odd, at in enumerate(np.linspace(wide[0], 0.0, 9))
    ]
    region = canvas.area(mirrored(outline([(0.0, y - 0.02), (x - 0.005, y - 0.03)], [flare.hem, wide], waves)))
    height, across = _fan(canvas, region, (x, y - 0.05), wide, 22.0, 0.016)
    canvas.lay(region, print_.paint(across + height, region.y), cloth(canvas, region, height, puff=0.03) * np.float32(0.97))


def _waistband(canvas: Canvas, product: Product, waist: Point, print_: Print) -> None:
    wide = product.has("a wide waistband")
    x, y = waist
    low = y + (canvas.between(0.12, 0.15) if wide else 0.065)
    band = outline([(0.0, y - 0.012), (x + 0.004, y - 0.022)], [(x + 0.012, low), (0.0, low + 0.012)])
    patch(canvas, mirrored(band), print_.second if wide and product.pattern != "plain" else print_.first, brightness=0.92)
    seam(canvas, np.array([(-x, low), (0.0, low + 0.01), (x, low)]), depth=0.25)
