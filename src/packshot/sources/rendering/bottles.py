"""Bottles."""

from __future__ import annotations

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, ellipse, softened
from packshot.sources.rendering.clay import METAL, WHITE, glaze, rounded, turned
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product


def bottle(canvas: Canvas, product: Product) -> None:
    """A bottle with its cap: of coloured glass where it is plain."""
    print_ = Print.of(product, canvas, 0.72)
    tilt, gloss = canvas.between(0.10, 0.18), canvas.between(0.45, 0.8)
    profile = _profile(canvas, product)
    neck, top = profile[0]
    foot, bottom = profile[-1]
    body = turned(canvas, profile, tilt)
    shine = glaze(canvas, body, gloss, top=top + 0.10, bottom=bottom)
    if product.pattern == "plain":
        thick = np.abs(body.u) ** 3
        tone = print_.first * (1.05 - 0.40 * thick)[..., None] + (0.07 * (1.0 - thick))[..., None]
        canvas.lay(body.region, tone, 1.0 - 0.10 * np.clip(body.region.y, -0.5, 1.0), shine)
    else:
        canvas.lay(body.region, print_.paint(body.surface_x, body.surface_y), rounded(canvas, body), shine)
    if product.has("a label"):
        _label(canvas, profile, 0.14, 0.50, tilt, mixed(print_.second, WHITE, 0.75))
        _write(canvas, _girth(profile, 0.14, 0.50), tilt)
    elif product.has("a wide band"):
        _label(canvas, profile, 0.22, 0.38, tilt, print_.second)
    _cap(canvas, neck, top, tilt, METAL if canvas.chance(3) else print_.second)
    canvas.stand(ellipse(0.0, bottom, foot, foot * tilt))


def _profile(canvas: Canvas, product: Product) -> tuple[Point, ...]:
    wide, bottom = canvas.between(0.20, 0.34), 0.74
    throat, drop = canvas.between(0.07, 0.10), canvas.between(-0.10, 0.12)
    foot = (wide, bottom - 0.05), (wide * 0.94, bottom)
    if product.has("a long neck"):
        return ((throat, -0.66), (throat, -0.34), (throat * 1.2, -0.22 + drop), (wide, -0.10 + drop), (wide, 0.20), *foot)
    if product.has("a short neck"):
        return (
            (throat * 1.2, -0.52),
            (throat * 1.2, -0.42),
            (wide * 0.5, -0.34 + drop),
            (wide, -0.22 + drop),
            (wide, 0.10),
            *foot,
        )
    if product.has("square shoulders"):
        top, throat = -0.50 + drop, throat * 1.3
        return ((throat, top), (throat, top + 0.14), (wide, top + 0.15), (wide, top + 0.26), (wide, 0.10), *foot)
    belly = (wide * 1.44, 0.06 + drop), (wide * 1.40, 0.52), (wide * 1.15, bottom - 0.01), (wide * 0.88, bottom)
    return ((throat, -0.60), (throat, -0.30), (throat * 1.1, -0.16 + drop), *belly)


def _girth(profile: tuple[Point, ...], start: float, stop: float) -> float:
    """Half the width that a label needs to lie around the body between two heights."""
    knots = softened(profile)
    return float(np.interp([start, (start + stop) / 2, stop], knots[:, 1], knots[:, 0]).max()) * 1.006


def _label(canvas: Canvas, profile: tuple[Point, ...], start: float, stop: float, tilt: float, paper: Field) -> None:
    girth = _girth(profile, start, stop)
    band = turned(canvas, ((girth, start), (girth, stop)), tilt, shut=True)
    canvas.lay(band.region, paper, rounded(canvas, band), glaze(canvas, band, 0.15, top=start - 0.2, bottom=stop + 0.3))


def _write(canvas: Canvas, girth: float, tilt: float) -> None:
    """Lines of small print on the label, bent as it is."""
    for y, share, width in ((0.26, 0.50, 0.03), (0.36, 0.34, 0.014), (0.42, 0.42, 0.014)):
        row = ellipse(0.0, y - 0.1 * tilt * girth, girth * 0.98, tilt * girth, 90 - 80 * share, 90 + 80 * share)
        canvas.darken(canvas.line(row, width), 0.65)


def _cap(canvas: Canvas, neck: float, top: float, tilt: float, tone: Field) -> None:
    high, wide = top - canvas.between(0.10, 0.20), neck * 1.16
    body = turned(canvas, ((wide, high), (wide * 1.02, top + 0.02)), tilt)
    canvas.lay(body.region, tone, rounded(canvas, body), glaze(canvas, body, 0.3, top=top - 0.3, bottom=top + 0.3))
    canvas.lay(canvas.area(ellipse(0.0, high, wide, wide * tilt)), tone * 0.95 + 0.06)
