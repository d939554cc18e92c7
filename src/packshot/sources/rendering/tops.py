"""T-shirts and longsleeves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, Region, mirrored, outline, shifted, spline
from packshot.sources.rendering.cloth import cloth, creases, patch, printed, seam
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product

SIDES = (-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Neck:
    """A neckline: half its width, the height of its ends and how far it falls in front."""

    width: float
    top: float
    depth: float
    pointed: bool

    def front(self) -> tuple[Point, ...]:
        """From the right end to the middle."""
        low = self.top + self.depth
        if self.pointed:
            return ((self.width, self.top), (self.width * 0.52, self.top + self.depth * 0.50), (0.0, low))
        flank = (self.width * 0.86, self.top + self.depth * 0.55)
        return ((self.width, self.top), flank, (self.width * 0.48, self.top + self.depth * 0.92), (0.0, low))

    def line(self) -> Points:
        """All of it, from right to left."""
        return mirrored(spline(self.front()))


@dataclass(frozen=True, slots=True)
class Sleeve:
    """A right sleeve: its outer edge from the shoulder to the cuff, its inner one from the armpit."""

    outer: Points
    inner: Points


@dataclass(frozen=True, slots=True)
class Cut:
    """The measures of a top's right half."""

    neck: Neck
    shoulder: Point
    armpit: Point
    hem: Point

    def armhole(self) -> tuple[Point, ...]:
        return (self.shoulder, (self.shoulder[0] - 0.035, (self.shoulder[1] + self.armpit[1]) / 2), self.armpit)


def t_shirt(canvas: Canvas, product: Product) -> None:
    """A T-shirt from the front."""
    cut = _cut(canvas, product)
    angle, reach = math.radians(canvas.between(38, 66)), canvas.between(0.26, 0.36)
    open_ = canvas.between(0.22, 0.25) * (1.25 if product.has("wide sleeves") else 1.0)
    x, y = cut.shoulder
    tip = (x + reach * math.cos(angle), y + reach * math.sin(angle))
    middle = (x + reach * 0.55 * math.cos(angle) + 0.025, y + reach * 0.5 * math.sin(angle) - 0.01)
    end = (tip[0] - open_ * math.sin(angle), tip[1] + open_ * math.cos(angle))
    _top(canvas, product, cut, Sleeve(spline([cut.shoulder, middle, tip]), spline([cut.armpit, end])))


def longsleeve(canvas: Canvas, product: Product) -> None:
    """A shirt with long sleeves from the front."""
    cut = _cut(canvas, product)
    spread = canvas.between(0.10, 0.34)
    x, y = cut.shoulder
    wrist = (x + spread, canvas.between(0.52, 0.66))
    elbow = (x + spread * 0.62 + 0.08, 0.02)
    outer = spline([cut.shoulder, (x + 0.075 + spread * 0.15, y + 0.22), elbow, wrist])
    inner = spline([cut.armpit, (elbow[0] - 0.17, elbow[1] + 0.10), (wrist[0] - 0.135, wrist[1] + 0.03)])
    _top(canvas, product, cut, Sleeve(outer, inner))


def drape(canvas: Canvas, region: Region, amount: float = 1.0) -> Field:
    """The folds of a torso: long drags from the shoulders, finer ones across, and a few sharp creases."""
    long = creases(canvas, region, 84 + canvas.between(-14, 14), 0.62, 0.15)
    cross = creases(canvas, region, canvas.between(20, 160), 0.34, 0.16)
    pinched = np.abs(creases(canvas, region, canvas.between(35, 145), 0.40, 0.13))
    return (long * 0.011 + cross * 0.006 + pinched * 0.009) * amount


def back_of_neck(canvas: Canvas, neck: Neck, colour: Field) -> None:
    """The inside of the back, seen through the neckline."""
    width, top = neck.width, neck.top
    low = top + neck.depth
    half = outline(
        [(0.0, top + 0.035), (width * 0.6, top + 0.022), (width, top - 0.012)],
        [(width, top), (width * 0.9, low), (0.0, low + 0.03)],
    )
    canvas.lay(canvas.area(mirrored(half)), colour * 0.72)
    canvas.lay(canvas.line(spline([(-width, top), (0.0, top + 0.045), (width, top)]), 0.034), colour, 0.84)


def sleeves(canvas: Canvas, sleeve: Sleeve, print_: Print, cuff: Field | None = None) -> None:
    """Both sleeves, with a cuff of another colour or a plain hem."""
    shoulder, armpit = sleeve.outer[0], sleeve.inner[0]
    under = np.array([shifted(armpit, -0.10, 0.02), shifted(shoulder, -0.10, 0.10)])
    edge = np.concatenate([sleeve.outer, sleeve.inner[::-1], under])
    reach = sleeve.outer[-1] - shoulder
    lean = math.degrees(math.atan2(reach[0], reach[1]))
    last = sleeve.outer[-1] - sleeve.outer[-2]
    back = last / np.linalg.norm(last)
    opening = np.stack([sleeve.outer[-1], sleeve.inner[-1]])
    for side in SIDES:
        flip = (side, 1.0)
        region = canvas.area(edge * flip)
        printed(canvas, region, print_, drape(canvas, region, 0.9), degrees=-side * lean)
        if cuff is None:
            seam(canvas, (opening - back * 0.04) * flip, depth=0.16)
        else:
            patch(canvas, np.concatenate([opening, (opening - back * 0.055)[::-1]]) * flip, cuff, puff=0.02)


def _cut(canvas: Canvas, product: Product) -> Cut:
    kind = next(feature for feature in product.features if "neck" in feature)
    width = canvas.between(0.15, 0.19) * (1.2 if kind == "a scoop neck" else 1.0)
    depth = {"a crew neck": 0.10, "a V-neck": 0.27, "a scoop neck": 0.20, "a roll neck": 0.07}[kind] * canvas.between(0.9, 1.15)
    top = canvas.between(-0.72, -0.66)
    return Cut(
        neck=Neck(width, top, depth, pointed=kind == "a V-neck"),
        shoulder=(canvas.between(0.40, 0.47), top + canvas.between(0.09, 0.13)),
        armpit=(canvas.between(0.35, 0.40), canvas.between(-0.24, -0.16)),
        hem=(canvas.between(0.36, 0.46), canvas.between(0.60, 0.74)),
    )


def _top(canvas: Canvas, product: Product, cut: Cut, sleeve: Sleeve) -> None:
    print_ = Print.of(product, canvas)
    far_end = np.full(3, float(print_.first.mean() < 0.45), np.float32)
    accent = print_.second if product.pattern != "plain" else mixed(print_.first, far_end, 0.25)
    raglan, cuffs = product.has("raglan sleeves"), product.has("contrasting cuffs") or product.has("ribbed cuffs")
    back_of_neck(canvas, cut.neck, print_.first)
    sleeves(canvas, sleeve, replace(print_, name="plain", first=accent) if raglan else print_, accent if cuffs else None)
    _body(canvas, cut, print_)
    if raglan:
        _raglan(canvas, cut, accent)
    else:
        for side in SIDES:
            seam(canvas, spline(cut.armhole()) * (side, 1.0))
    if product.has("a roll neck"):
        _roll(canvas, cut.neck, print_.first)
    else:
        canvas.lay(canvas.line(cut.neck.line(), 0.042), accent if raglan or cuffs else print_.first, 0.90)
        seam(canvas, shifted(cut.neck.line(), 0.0, 0.022), depth=0.13)
    if product.has("a chest pocket"):
        corners = np.array([(0.10, -0.30), (0.29, -0.30), (0.29, -0.12), (0.195, -0.07), (0.10, -0.12)])
        patch(canvas, corners, accent, puff=0.02)
        canvas.darken(canvas.line(corners, 0.012, closed=True), 0.22)
    if product.has("a button placket"):
        _placket(canvas, cut.neck.top + cut.neck.depth)


def _body(canvas: Canvas, cut: Cut, print_: Print) -> None:
    neck, shoulder, hem = cut.neck, cut.shoulder, cut.hem
    waist = (min(cut.armpit[0], hem[0]) - canvas.between(0.0, 0.045), 0.22)
    slope = ((neck.width + shoulder[0]) / 2, neck.top + (shoulder[1] - neck.top) * 0.42)
    half = outline(
        neck.front()[::-1],
        [(neck.width, neck.top), slope, shoulder],
        cut.armhole(),
        [cut.armpit, waist, hem],
        [hem, (hem[0] * 0.5, hem[1] + 0.022), (0.0, hem[1] + 0.028)],
    )
    region = canvas.area(mirrored(half))
    printed(canvas, region, print_, drape(canvas, region))
    stitches = [(0.0, hem[1] - 0.018), (hem[0] * 0.5, hem[1] - 0.024), (hem[0] - 0.004, hem[1] - 0.045)]
    seam(canvas, mirrored(spline(stitches)[::-1]), depth=0.14)


def _raglan(canvas: Canvas, cut: Cut, tone: Field) -> None:
    corner = (cut.neck.width, cut.neck.top)
    wedge = outline([corner, cut.shoulder], cut.armhole(), [cut.armpit, corner])
    for side in SIDES:
        patch(canvas, wedge * (side, 1.0), tone)
        seam(canvas, np.array([(corner[0], corner[1] + 0.02), cut.armpit]) * (side, 1.0))


def _roll(canvas: Canvas, neck: Neck, tone: Field) -> None:
    width, top = neck.width, neck.top
    half = outline(
        [(0.0, top - 0.10), (width * 0.9, top - 0.09)],
        [(width * 0.9, top - 0.09), (width * 1.1, top + 0.01)],
        [(width * 1.1, top + 0.01), (width * 0.6, top + neck.depth * 0.9), (0.0, top + neck.depth + 0.02)],
    )
    region = canvas.area(mirrored(half))
    canvas.lay(region, tone, cloth(canvas, region, creases(canvas, region, 90, 0.8, 0.03) * 0.004, puff=0.03))


def _placket(canvas: Canvas, top: float) -> None:
    stop = top + 0.30
    canvas.darken(canvas.line(np.array([(0.035, top), (0.035, stop), (-0.035, stop), (-0.035, top)]), 0.012), 0.22)
    for y in np.linspace(top + 0.05, stop - 0.05, 3):
        button(canvas, 0.0, float(y), np.array([0.95, 0.94, 0.91], np.float32))


def button(canvas: Canvas, x: float, y: float, tone: Field, size: float = 0.035) -> None:
    """A button."""
    canvas.lay(canvas.line(np.array([(x, y), (x + 0.001, y)]), size), tone, 0.92)
