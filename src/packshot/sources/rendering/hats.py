"""Hats: caps, hats with a brim, knitted hats."""

from __future__ import annotations

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Points, mirrored, outline, shifted, spline
from packshot.sources.rendering.cloth import cloth, creases, seam
from packshot.sources.rendering.prints import Print
from packshot.sources.rendering.product import Product


def hat(canvas: Canvas, product: Product) -> None:
    """A cap from the side, a hat with a brim, or a knitted hat."""
    if product.has("a curved peak"):
        _cap(canvas, product)
    elif product.has("a wide brim"):
        _brimmed(canvas, product)
    else:
        _knitted(canvas, product)


def _domed(canvas: Canvas, points: Points, wide: float, print_: Print, ribs: float = 0.0, puff: float = 0.055) -> None:
    """Lay a crown that is round from left to right."""
    region = canvas.area(points)
    u = np.clip(region.x / wide, -1.0, 1.0)
    around, facing = np.arcsin(u), np.sqrt(1.0 - u * u)
    height = facing * 0.21 + np.sin(around * 26.0) * ribs + creases(canvas, region, 75, 0.45, 0.2) * 0.006
    canvas.lay(region, print_.paint(around * wide, region.y - 0.08 * facing), cloth(canvas, region, height, puff=puff))


def _banded(canvas: Canvas, points: Points, wide: float, tone: Field, ribs: float = 0.0) -> None:
    """Lay a band around a crown."""
    region = canvas.area(points)
    u = np.clip(region.x / wide, -1.0, 1.0)
    height = np.sqrt(1.0 - u * u) * 0.20 + np.sin(np.arcsin(u) * 30.0) * ribs + np.zeros_like(region.y)
    canvas.lay(region, tone, cloth(canvas, region, height, puff=0.05 if ribs else 0.02))


def _cap(canvas: Canvas, product: Product) -> None:
    print_ = Print.of(product, canvas, 0.85)
    accent = print_.second if product.pattern != "plain" or canvas.chance(3) else print_.first
    top, base = canvas.between(-0.52, -0.40), 0.22
    tip = (canvas.between(0.78, 0.88), base + 0.07 + canvas.between(0.02, 0.12))
    shaded = outline(
        [(0.30, base - 0.06), (0.62, base - 0.03), (tip[0] - 0.03, tip[1])], [tip, (0.52, base + 0.16), (0.14, base + 0.12)]
    )
    canvas.lay(canvas.area(shaded), accent * 0.55)
    _panels(canvas, top, base, print_, accent)
    peak = outline(
        [(0.10, base + 0.10), (0.28, base - 0.05), (0.45, base - 0.10)],
        [(0.45, base - 0.10), (0.68, base - 0.06), tip],
        [tip, (0.66, base + 0.06), (0.40, base + 0.06), (0.10, base + 0.12)],
    )
    region = canvas.area(peak)
    canvas.lay(region, accent, cloth(canvas, region, -0.25 * (region.y - base) + np.zeros_like(region.x), puff=0.05))
    near = [(-0.6, base + 0.07), (-0.2, base + 0.14), (0.2, base + 0.13)]
    canvas.stand(outline(near, [(0.2, base + 0.10), (-0.2, base + 0.08), (-0.6, base + 0.05)]))


def _panels(canvas: Canvas, top: float, base: float, print_: Print, accent: Field) -> None:
    """The crown of a cap: printed panels, their seams and the button."""
    dome = outline(
        [
            (-0.62, base + 0.06),
            (-0.63, -0.10),
            (-0.46, top + 0.14),
            (-0.10, top),
            (0.22, top + 0.12),
            (0.40, -0.08),
            (0.44, base - 0.02),
        ],
        [(0.44, base - 0.02), (0.10, base + 0.10), (-0.30, base + 0.12), (-0.62, base + 0.06)],
    )
    region = canvas.area(dome)
    x = region.x + 0.09
    ball = np.sqrt(np.clip(1.0 - (x / 0.56) ** 2 - ((region.y - 0.2) / (0.25 - top)) ** 2 * 0.9, 0.0, 1.0)) * 0.26
    height = ball + creases(canvas, region, 40, 0.5, 0.2) * 0.006
    canvas.lay(region, print_.paint(region.x * 1.1, region.y + 0.15 * x**2), cloth(canvas, region, height, puff=0.05))
    crown = (-0.10, top + 0.01)
    for foot, bend in (((-0.30, base + 0.11), -0.09), ((0.12, base + 0.09), 0.10)):
        middle = (crown[0] * 0.4 + foot[0] * 0.6 + bend, (crown[1] + foot[1]) / 2 - 0.06)
        seam(canvas, spline([crown, middle, foot]), depth=0.24)
    canvas.lay(canvas.line(np.array([crown, (crown[0] + 0.02, crown[1])]), 0.06), accent, 0.95)


def _brimmed(canvas: Canvas, product: Product) -> None:
    print_ = Print.of(product, canvas, 0.8)
    base, top = 0.18, canvas.between(-0.46, -0.32)
    wide, flat, wave = canvas.between(0.74, 0.86), canvas.between(0.20, 0.27), canvas.between(-0.05, 0.05)
    t = np.radians(np.linspace(0, 360, 73))
    edge = base + wide * flat * np.sin(t) + wave * np.cos(2 * t) - 0.03 * np.abs(np.cos(t)) ** 3
    brim = np.stack([wide * np.cos(t), edge], axis=1)
    canvas.stand(shifted(brim * (0.96, 1.0), 0.0, 0.02))
    region = canvas.area(brim)
    dish = 0.10 * np.sqrt((region.x / wide) ** 2 + ((region.y - base) / (wide * flat)) ** 2)
    canvas.lay(region, print_.first, cloth(canvas, region, dish, puff=0.03) * np.float32(0.95))

    foot, head, dent = canvas.between(0.40, 0.46), canvas.between(0.30, 0.38), canvas.between(0.0, 0.09)
    hem = [(foot, base), (foot * 0.6, base + 0.085), (0.0, base + 0.11)]
    flank = [(head, top + 0.05), ((foot + head) / 2 + 0.015, -0.12), (foot, base)]
    _domed(
        canvas,
        mirrored(outline([(0.0, top + dent), (head * 0.55, top - 0.02), (head, top + 0.05)], flank, hem)),
        foot + 0.02,
        print_,
    )
    upper = [(0.0, base - 0.03), (foot * 0.6, base - 0.055), (foot * 0.985, base - 0.13)]
    ribbon = mirrored(outline(upper, [(foot * 0.985, base - 0.13), (foot + 0.002, base)], hem))
    _banded(canvas, ribbon, foot + 0.02, print_.second)


def _knitted(canvas: Canvas, product: Product) -> None:
    print_ = Print.of(product, canvas, 0.9)
    wide, top, base = canvas.between(0.46, 0.54), canvas.between(-0.56, -0.42), 0.30
    if canvas.chance(2):
        t = np.linspace(0, 2 * np.pi, 42)
        fringe = 0.15 * (1 + 0.06 * (np.arange(42) % 2))
        ball = canvas.area(np.stack([fringe * np.cos(t), top - 0.07 + fringe * np.sin(t)], axis=1))
        canvas.lay(ball, print_.second, cloth(canvas, ball, creases(canvas, ball, 20, 0.06, 0.05) * 0.012, puff=0.07))
    flank = [(0.0, top), (wide * 0.5, top + 0.06), (wide * 0.92, top + 0.36), (wide, base)]
    _domed(canvas, mirrored(outline(flank, [(wide, base), (0.0, base + 0.06)])), wide + 0.01, print_, ribs=0.005, puff=0.07)
    outer, high = wide + 0.035, base - canvas.between(0.20, 0.30)
    cuff = outline(
        [(0.0, high + 0.09), (outer * 0.6, high + 0.06), (outer, high)],
        [(outer, high), (outer + 0.012, (high + base) / 2), (outer, base)],
        [(outer, base), (outer * 0.6, base + 0.07), (0.0, base + 0.10)],
    )
    tone = print_.second if product.pattern != "plain" and canvas.chance(2) else print_.first
    _banded(canvas, mirrored(cuff), outer + 0.015, tone, ribs=0.009)
    canvas.stand(
        outline([(-outer, base), (-outer * 0.6, base + 0.07), (0.0, base + 0.11), (outer * 0.6, base + 0.07), (outer, base)])
    )
