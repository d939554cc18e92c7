"""Mugs, vases, bowls and teapots."""

from __future__ import annotations

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, ellipse, outline, rotated, spline, tube
from packshot.sources.rendering.clay import OAK, WHITE, opening, pipe, pot, rounded, turned
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product

Profile = tuple[Point, ...]


def mug(canvas: Canvas, product: Product) -> None:
    """A mug with its handle to the right."""
    print_ = Print.of(product, canvas, 0.9)
    tilt, gloss, x = canvas.between(0.16, 0.26), canvas.between(0.25, 0.6), -0.14
    wide, top, bottom = canvas.between(0.40, 0.48), canvas.between(-0.56, -0.34), canvas.between(0.44, 0.54)
    profile: Profile
    if product.has("straight walls"):
        profile = ((wide, top), (wide * 0.99, (top + bottom) / 2), (wide * 0.97, bottom - 0.05), (wide * 0.92, bottom))
    elif product.has("flared walls"):
        profile = ((wide * 1.06, top), (wide * 0.93, (top + bottom) / 2), (wide * 0.76, bottom - 0.04), (wide * 0.70, bottom))
    else:
        belly = (wide * 1.06, top * 0.6 + bottom * 0.4), (wide * 1.12, bottom - 0.20)
        profile = ((wide * 0.92, top), *belly, (wide * 0.86, bottom - 0.01), (wide * 0.66, bottom))
    thick = canvas.between(0.085, 0.115)
    tone = print_.second if product.pattern == "two-tone" else print_.first
    pipe(canvas, canvas.line(_ear(canvas, product, x + wide * 0.94, top, bottom), thick), tone, gloss, thick / 2)
    body, rim = turned(canvas, profile, tilt, x=x), profile[0][0]
    pot(canvas, body, print_.paint(body.surface_x, body.surface_y), gloss, top + rim * tilt * 0.7, bottom)
    opening(canvas, x, top, rim, tilt, mixed(print_.first, WHITE, 0.9 if product.has("a white inside") else 0.0), lip=0.035)
    canvas.stand(ellipse(x, bottom, profile[-1][0], profile[-1][0] * tilt))


def _ear(canvas: Canvas, product: Product, x: float, top: float, bottom: float) -> Points:
    """The path of a mug's handle, from x outwards."""
    reach = canvas.between(0.27, 0.38)
    high, low = top + 0.17 * (bottom - top), top + 0.78 * (bottom - top)
    if product.has("a round handle"):
        out = (x + reach, (high + low) / 2 - 0.04)
        return spline([(x - 0.06, high), (x + reach * 0.65, high - 0.02), out, (x + reach * 0.55, low), (x - 0.10, low)])
    return outline(
        [(x - 0.06, high), (x + reach * 0.82, high)],
        [(x + reach * 0.82, high), (x + reach, high + 0.04), (x + reach, high + 0.12)],
        [(x + reach, low - 0.10), (x + reach * 0.95, low), (x + reach * 0.75, low)],
        [(x + reach * 0.75, low), (x - 0.1, low)],
    )


def vase(canvas: Canvas, product: Product) -> None:
    """A vase."""
    print_ = Print.of(product, canvas, 0.8)
    tilt, s, bottom = canvas.between(0.12, 0.22), canvas.between(0.82, 1.20), canvas.between(0.60, 0.72)
    profile: Profile
    if product.has("a narrow neck"):
        belly = (0.46 * s, 0.08), (0.46 * s, 0.46), (0.28 * s, bottom - 0.01), (0.22 * s, bottom)
        profile = ((0.14 * s, -0.76), (0.08 * s, -0.66), (0.08 * s, -0.30), (0.18 * s, -0.12), *belly)
    elif product.has("a round belly"):
        belly = (0.56 * s, -0.22), (0.60 * s, 0.36), (0.34 * s, bottom - 0.02), (0.24 * s, bottom)
        profile = ((0.25 * s, -0.52), (0.17 * s, -0.44), (0.20 * s, -0.34), *belly)
    elif product.has("a flared mouth"):
        belly = (0.30 * s, 0.06), (0.38 * s, 0.40), (0.20 * s, bottom - 0.01), (0.21 * s, bottom)
        profile = ((0.38 * s, -0.72), (0.20 * s, -0.56), (0.12 * s, -0.26), *belly)
    else:
        profile = ((0.27 * s, -0.68), (0.28 * s, -0.30), (0.29 * s, 0.20), (0.27 * s, bottom - 0.05), (0.25 * s, bottom))
    width, top = profile[0]
    body = turned(canvas, profile, tilt)
    gloss = canvas.between(0.5, 0.75) if product.has("a glossy glaze") else 0.05
    pot(canvas, body, print_.paint(body.surface_x, body.surface_y), gloss, top + 0.12, bottom)
    opening(canvas, 0.0, top, width, tilt, print_.first * 0.75, lip=0.025)
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def bowl(canvas: Canvas, product: Product) -> None:
    """A bowl, seen from further above; a flat one shows its pattern inside."""
    print_ = Print.of(product, canvas, 0.8)
    tilt, wide, top = canvas.between(0.28, 0.42), canvas.between(0.62, 0.80), canvas.between(-0.22, -0.10)
    flat = product.has("a flat body")
    profile: Profile
    if product.has("a deep body"):
        bottom = top + canvas.between(0.46, 0.64)
        profile = ((wide, top), (wide, top * 0.55 + bottom * 0.45), (wide * 0.76, bottom - 0.06), (wide * 0.36, bottom))
    elif flat:
        bottom, tilt = top + 0.32, tilt * 0.72
        profile = ((wide * 1.04, top), (wide, top + 0.16), (wide * 0.70, top + 0.31), (wide * 0.46, bottom))
    else:
        bottom = top + canvas.between(0.38, 0.54)
        profile = ((wide * 0.90, top), (wide * 0.90, (top + bottom) / 2), (wide * 0.84, bottom - 0.08), (wide * 0.66, bottom))
    foot, low = profile[-1][0], tilt * 0.8
    if product.has("a foot ring"):
        foot *= 0.80
        ring = turned(canvas, ((foot * 1.08, bottom - 0.05), (foot, bottom + 0.07)), low)
        canvas.lay(ring.region, print_.first * 0.82, rounded(canvas, ring))
        canvas.stand(ellipse(0.0, bottom + 0.07, foot, foot * low))
    else:
        canvas.stand(ellipse(0.0, bottom, foot, foot * low))
    body = turned(canvas, profile, low)
    pot(canvas, body, print_.paint(body.surface_x, body.surface_y), canvas.between(0.1, 0.5), top + wide * low, bottom + 0.1)
    inside = mixed(print_.first, WHITE, 0.9 if product.has("a white inside") else 0.0)
    opening(
        canvas,
        0.0,
        top,
        profile[0][0],
        tilt,
        inside,
        lip=0.03,
        print_=print_ if flat and not product.has("a white inside") else None,
    )


def teapot(canvas: Canvas, product: Product) -> None:
    """A teapot with its spout to the right."""
    print_ = Print.of(product, canvas, 0.9)
    tilt, gloss = canvas.between(0.14, 0.22), canvas.between(0.3, 0.65)
    shape: Profile
    if product.has("a round belly"):
        shape = ((0.20, -0.34), (0.40, -0.28), (0.58, 0.00), (0.52, 0.36), (0.32, 0.48), (0.25, 0.50))
    elif product.has("a tall body"):
        shape = ((0.20, -0.46), (0.30, -0.42), (0.40, 0.04), (0.47, 0.38), (0.38, 0.50), (0.32, 0.52))
    else:
        shape = ((0.22, -0.20), (0.44, -0.15), (0.60, 0.10), (0.52, 0.34), (0.36, 0.42), (0.29, 0.43))
    overhead = product.has("an overhead handle")
    tall, lower = canvas.between(0.92, 1.12), 0.18 if overhead else 0.0
    profile = tuple((width, y * tall + lower) for width, y in shape)
    top, bottom = profile[0][1], profile[-1][1]
    belly, middle = max(width for width, _ in profile), (top + bottom) / 2
    tone = print_.second if product.pattern == "two-tone" else print_.first
    _spout(canvas, belly, top, middle, tone, gloss)
    if overhead:
        arch = ellipse(0.0, top + 0.04, profile[0][0] + 0.15, canvas.between(0.42, 0.54), 182.0, 358.0)
        pipe(canvas, canvas.line(arch, 0.055), print_.second if canvas.chance(2) else OAK, 0.2, 0.03)
    else:
        out = belly + canvas.between(0.17, 0.24)
        ear = [(-belly * 0.72, top + 0.10), (-belly - 0.08, top - 0.02), (-out, top + 0.14), (-out + 0.06, middle + 0.12)]
        pipe(canvas, canvas.line(spline([*ear, (-belly * 0.85, middle + 0.20)]), 0.085), tone, gloss, 0.045)
    body = turned(canvas, profile, tilt)
    pot(canvas, body, print_.paint(body.surface_x, body.surface_y), gloss, top + 0.06, bottom)
    _lid(canvas, profile[0], tilt, print_.second if product.pattern in ("two-tone", "gradient") else print_.first, gloss)
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def _spout(canvas: Canvas, belly: float, top: float, middle: float, tone: Field, gloss: float) -> None:
    reach, rise = belly + canvas.between(0.22, 0.29), top - canvas.between(-0.04, 0.06)
    path = spline([(belly * 0.62, middle + 0.18), (belly + 0.08, middle + 0.10), (reach - 0.12, middle - 0.10), (reach, rise)])
    pipe(canvas, canvas.area(tube(path, 0.135, 0.052)), tone, gloss, 0.09)
    canvas.lay(canvas.area(rotated(ellipse(reach, rise, 0.052, 0.022), -28.0, (reach, rise))), tone * 0.4)


def _lid(canvas: Canvas, rim: Point, tilt: float, tone: Field, gloss: float) -> None:
    width, y = rim
    dome = canvas.between(0.08, 0.15)
    canvas.darken(canvas.area(ellipse(0.0, y + 0.02, width * 1.10, width * 1.10 * tilt + 0.01)), 0.30)
    lid = turned(canvas, ((0.045, y - dome - 0.005), (width * 0.6, y - dome * 0.75), (width * 1.05, y + 0.01)), tilt)
    pot(canvas, lid, tone, gloss, y - dome, y + 0.2)
    pipe(canvas, canvas.area(ellipse(0.0, y - dome - 0.05, 0.062, 0.058)), tone, gloss, 0.06)
