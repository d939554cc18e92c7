"""Household goods that stand on the studio's table: turned, glazed, moulded and joined."""

from __future__ import annotations

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, ellipse, outline, rotated, softened, spline, tube
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.surface import Print, Turned, colour_of, glaze, mixed, opening, pipe, rounded, turned, wood

METAL = np.array([0.72, 0.71, 0.69], np.float32)
OAK = np.array([0.76, 0.60, 0.42], np.float32)
WALNUT = np.array([0.45, 0.31, 0.21], np.float32)


def _pot(canvas: Canvas, body: Turned, colour: Field, gloss: float, top: float, bottom: float) -> None:
    """Lay a body of revolution with its glaze."""
    canvas.lay(
        body.region,
        colour,
        rounded(canvas, body, flatness=(top + bottom) / 2),
        glaze(canvas, body, gloss, top=top, bottom=bottom),
    )


def mug(canvas: Canvas, product: Product) -> None:
    """A mug with its handle to the right."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.9)
    tilt = float(rng.uniform(0.16, 0.26))
    wide, top, bottom = float(rng.uniform(0.40, 0.48)), float(rng.uniform(-0.56, -0.34)), float(rng.uniform(0.44, 0.54))
    x = -0.14
    waist: tuple[Point, ...]
    if product.has("straight walls"):
        waist = ((wide, top), (wide * 0.99, (top + bottom) / 2), (wide * 0.97, bottom - 0.05), (wide * 0.92, bottom))
    elif product.has("flared walls"):
        waist = ((wide * 1.06, top), (wide * 0.93, (top + bottom) / 2), (wide * 0.76, bottom - 0.04), (wide * 0.70, bottom))
    else:
        waist = (
            (wide * 0.92, top),
            (wide * 1.06, top * 0.6 + bottom * 0.4),
            (wide * 1.12, bottom - 0.20),
            (wide * 0.86, bottom - 0.01),
            (wide * 0.66, bottom),
        )
    rim = waist[0][0]
    reach = float(rng.uniform(0.27, 0.38))
    high, low = top + 0.17 * (bottom - top), top + 0.78 * (bottom - top)
    grip: tuple[Point, ...]
    edge = wide * 0.94 + x
    if product.has("a round handle"):
        grip = (
            (edge - 0.06, high),
            (edge + reach * 0.65, high - 0.02),
            (edge + reach, (high + low) / 2 - 0.04),
            (edge + reach * 0.55, low),
            (edge - 0.10, low),
        )
        path = spline(grip)
    else:
        path = outline(
            [(edge - 0.06, high), (edge + reach * 0.82, high)],
            [(edge + reach * 0.82, high), (edge + reach, high + 0.04), (edge + reach, high + 0.12)],
            [(edge + reach, high + 0.12), (edge + reach, low - 0.10)],
            [(edge + reach, low - 0.10), (edge + reach * 0.95, low), (edge + reach * 0.75, low)],
            [(edge + reach * 0.75, low), (edge - 0.1, low)],
        )
    thick = float(rng.uniform(0.085, 0.115))
    tone = print_.second if product.pattern == "two-tone" else print_.first
    gloss = float(rng.uniform(0.25, 0.6))
    pipe(canvas, canvas.line(path, thick), tone, gloss, thick / 2)
    body = turned(canvas, waist, tilt, x=x)
    _pot(canvas, body, print_.paint(body.surface_x, body.surface_y), gloss, top + rim * tilt * 0.7, bottom)
    inside = mixed(print_.first, np.array([0.95, 0.94, 0.92], np.float32), 0.9 if rng.integers(2) else 0.0)
    opening(canvas, x, top, rim, tilt, inside, lip=0.035)
    canvas.stand(ellipse(x, bottom, waist[-1][0], waist[-1][0] * tilt))


def vase(canvas: Canvas, product: Product) -> None:
    """A vase."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.8)
    tilt = float(rng.uniform(0.12, 0.22))
    s, bottom = float(rng.uniform(0.88, 1.15)), float(rng.uniform(0.60, 0.72))
    profile: tuple[Point, ...]
    if product.has("a narrow neck"):
        profile = (
            (0.14 * s, -0.76),
            (0.08 * s, -0.66),
            (0.08 * s, -0.30),
            (0.18 * s, -0.12),
            (0.46 * s, 0.08),
            (0.46 * s, 0.46),
            (0.28 * s, bottom - 0.01),
            (0.22 * s, bottom),
        )
    elif product.has("a round belly"):
        profile = (
            (0.25 * s, -0.52),
            (0.17 * s, -0.44),
            (0.20 * s, -0.34),
            (0.56 * s, -0.22),
            (0.60 * s, 0.36),
            (0.34 * s, bottom - 0.02),
            (0.24 * s, bottom),
        )
    elif product.has("a flared mouth"):
        profile = (
            (0.38 * s, -0.72),
            (0.20 * s, -0.56),
            (0.12 * s, -0.26),
            (0.30 * s, 0.06),
            (0.38 * s, 0.40),
            (0.20 * s, bottom - 0.01),
            (0.21 * s, bottom),
        )
    else:
        profile = ((0.27 * s, -0.68), (0.28 * s, -0.30), (0.29 * s, 0.20), (0.27 * s, bottom - 0.05), (0.25 * s, bottom))
    glossy = product.has("a glossy glaze")
    body = turned(canvas, profile, tilt)
    _pot(
        canvas,
        body,
        print_.paint(body.surface_x, body.surface_y),
        float(rng.uniform(0.5, 0.75)) if glossy else 0.05,
        profile[0][1] + 0.12,
        bottom,
    )
    opening(canvas, 0.0, profile[0][1], profile[0][0], tilt, np.asarray(print_.first * 0.75, np.float32), lip=0.025)
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def bowl(canvas: Canvas, product: Product) -> None:
    """A bowl, seen from further above."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.8)
    tilt = float(rng.uniform(0.28, 0.42))
    wide = float(rng.uniform(0.70, 0.80))
    top = float(rng.uniform(-0.22, -0.10))
    profile: tuple[Point, ...]
    if product.has("a deep body"):
        bottom = top + 0.58
        profile = ((wide, top), (wide * 1.0, top + 0.26), (wide * 0.76, top + 0.52), (wide * 0.36, bottom))
    elif product.has("a flat body"):
        bottom, tilt = top + 0.32, tilt * 0.72
        profile = ((wide * 1.04, top), (wide * 1.0, top + 0.16), (wide * 0.70, top + 0.31), (wide * 0.46, bottom))
    else:
        bottom = top + 0.46
        profile = ((wide * 0.90, top), (wide * 0.90, top + 0.20), (wide * 0.84, top + 0.38), (wide * 0.66, bottom))
    foot = profile[-1][0]
    if product.has("a foot ring"):
        ring = turned(canvas, ((foot * 0.86, bottom - 0.05), (foot * 0.80, bottom + 0.07)), tilt * 0.8)
        canvas.lay(ring.region, np.asarray(print_.first * 0.82, np.float32), rounded(canvas, ring))
        canvas.stand(ellipse(0.0, bottom + 0.07, foot * 0.80, foot * 0.80 * tilt * 0.8))
    else:
        canvas.stand(ellipse(0.0, bottom, foot, foot * tilt * 0.8))
    body = turned(canvas, profile, tilt * 0.8)
    _pot(
        canvas,
        body,
        print_.paint(body.surface_x, body.surface_y),
        float(rng.uniform(0.1, 0.5)),
        top + wide * tilt * 0.8,
        bottom + 0.1,
    )
    inside = (print_.first, print_.first, mixed(print_.first, np.array([0.96, 0.95, 0.93], np.float32), 0.8))[
        int(rng.integers(3))
    ]
    flat = product.has("a flat body")
    opening(canvas, 0.0, top, profile[0][0], tilt, print_.first if flat else inside, lip=0.03, print_=print_ if flat else None)


def bottle(canvas: Canvas, product: Product) -> None:
    """A bottle with its cap."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.72)
    tilt = float(rng.uniform(0.10, 0.18))
    wide, bottom = float(rng.uniform(0.20, 0.34)), 0.74
    throat, drop = float(rng.uniform(0.07, 0.10)), float(rng.uniform(-0.10, 0.12))
    profile: tuple[Point, ...]
    if product.has("a long neck"):
        top = -0.66
        profile = (
            (throat, top),
            (throat, -0.34),
            (throat * 1.2, -0.22 + drop),
            (wide, -0.10 + drop),
            (wide, 0.20),
            (wide, bottom - 0.05),
            (wide * 0.94, bottom),
        )
    elif product.has("a short neck"):
        top = -0.52
        profile = (
            (throat * 1.2, top),
            (throat * 1.2, -0.42),
            (wide * 0.5, -0.34 + drop),
            (wide, -0.22 + drop),
            (wide, 0.10),
            (wide, bottom - 0.05),
            (wide * 0.94, bottom),
        )
    elif product.has("square shoulders"):
        top = -0.50 + drop
        profile = (
            (throat * 1.3, top),
            (throat * 1.3, top + 0.14),
            (wide, top + 0.15),
            (wide, top + 0.26),
            (wide, 0.10),
            (wide, bottom - 0.04),
            (wide * 0.95, bottom),
        )
    else:
        top, wide = -0.60, wide * 1.25
        profile = (
            (throat, top),
            (throat, -0.30),
            (throat * 1.1, -0.16 + drop),
            (wide * 1.15, 0.06 + drop),
            (wide * 1.12, 0.52),
            (wide * 0.92, bottom - 0.01),
            (wide * 0.7, bottom),
        )
    body = turned(canvas, profile, tilt)
    glass = product.pattern == "plain"
    colour = print_.paint(body.surface_x, body.surface_y)
    gloss = float(rng.uniform(0.45, 0.8))
    shine = glaze(canvas, body, gloss, top=top + 0.10, bottom=bottom)
    if glass:
        thick = np.abs(body.u) ** 3
        tone = np.asarray(print_.first * (1.05 - 0.40 * thick)[..., None] + (0.07 * (1.0 - thick))[..., None], np.float32)
        canvas.lay(body.region, tone, 1.0 - 0.10 * np.clip(body.region.y, -0.5, 1.0) * np.ones_like(body.u), shine)
    else:
        canvas.lay(body.region, colour, rounded(canvas, body), shine)
    neck = profile[0][0]
    if product.has("a label") or product.has("a wide band"):
        label = product.has("a label")
        start, stop = (0.14, 0.50) if label else (0.22, 0.38)
        girth = (
            float(np.interp([start, (start + stop) / 2, stop], softened(profile)[:, 1], softened(profile)[:, 0]).max()) * 1.006
        )
        paper = print_.second if not label else mixed(print_.second, np.array([0.97, 0.96, 0.93], np.float32), 0.75)
        band = turned(canvas, ((girth, start), (girth, stop)), tilt, shut=True)
        canvas.lay(
            band.region, paper, rounded(canvas, band), glaze(canvas, band, gloss * 0.25, top=start - 0.2, bottom=stop + 0.3)
        )
        if label:
            for row, share in ((0.26, 0.50), (0.36, 0.34), (0.42, 0.42)):
                y = row + np.float64(tilt * girth * 0.9)
                line = ellipse(0.0, y - tilt * girth, girth * 0.98, tilt * girth, 90 - 80 * share, 90 + 80 * share)
                canvas.darken(canvas.line(line, 0.03 if row < 0.3 else 0.014), 0.65)
    cap_colour = print_.second if rng.integers(3) else METAL
    tall = float(rng.uniform(0.10, 0.20))
    cork = turned(canvas, ((neck * 1.16, top - tall), (neck * 1.18, top + 0.02)), tilt)
    canvas.lay(cork.region, cap_colour, rounded(canvas, cork), glaze(canvas, cork, 0.3, top=top - 0.3, bottom=top + 0.3))
    canvas.lay(
        canvas.area(ellipse(0.0, top - tall, neck * 1.16, neck * 1.16 * tilt)), np.asarray(cap_colour * 0.95 + 0.06, np.float32)
    )
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def teapot(canvas: Canvas, product: Product) -> None:
    """A teapot with its spout to the right."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.9)
    tilt = float(rng.uniform(0.14, 0.22))
    gloss = float(rng.uniform(0.3, 0.65))
    overhead = product.has("an overhead handle")
    profile: tuple[Point, ...]
    lift = 0.10 if overhead else 0.0
    if product.has("a round belly"):
        profile = ((0.20, -0.34), (0.40, -0.28), (0.58, 0.00), (0.52, 0.36), (0.32, 0.48), (0.25, 0.50))
    elif product.has("a tall body"):
        profile = ((0.20, -0.46), (0.30, -0.42), (0.40, 0.04), (0.47, 0.38), (0.38, 0.50), (0.32, 0.52))
    else:
        profile = ((0.23, -0.22), (0.48, -0.16), (0.68, 0.10), (0.58, 0.38), (0.40, 0.47), (0.32, 0.48))
    profile = tuple((w, y + lift) for w, y in profile)
    neck, top = profile[0]
    bottom = profile[-1][1]
    belly = max(w for w, _ in profile)
    middle = float(np.interp(0.5, [0, 1], [top, bottom]))
    tone = print_.second if product.pattern == "two-tone" else print_.first
    reach = min(0.84, belly + float(rng.uniform(0.26, 0.34)))
    rise = top - float(rng.uniform(-0.04, 0.06))
    snout = spline([(belly * 0.62, middle + 0.18), (belly + 0.08, middle + 0.10), (reach - 0.12, middle - 0.10), (reach, rise)])
    pipe(canvas, canvas.area(tube(snout, 0.135, 0.052)), tone, gloss, 0.09)
    mouth = canvas.area(rotated(ellipse(reach, rise, 0.052, 0.022), -28.0, (reach, rise)))
    canvas.lay(mouth, np.asarray(print_.first * 0.4, np.float32))
    if overhead:
        arch = ellipse(0.0, top + 0.04, neck + 0.15, float(rng.uniform(0.50, 0.60)), 182.0, 358.0)
        grip = print_.second if rng.integers(2) else OAK
        pipe(canvas, canvas.line(arch, 0.055), grip, 0.2, 0.03)
    else:
        out = min(0.82, belly + float(rng.uniform(0.22, 0.30)))
        ear = spline(
            [
                (-belly * 0.72, top + 0.10),
                (-belly - 0.08, top - 0.02),
                (-out, top + 0.14),
                (-out + 0.06, middle + 0.12),
                (-belly * 0.85, middle + 0.20),
            ]
        )
        pipe(canvas, canvas.line(ear, 0.085), tone, gloss, 0.045)
    body = turned(canvas, profile, tilt, shut=False)
    _pot(canvas, body, print_.paint(body.surface_x, body.surface_y), gloss, top + 0.06, bottom)
    dome = float(rng.uniform(0.08, 0.15))
    lid = turned(canvas, ((0.045, top - dome - 0.005), (neck * 0.6, top - dome * 0.75), (neck * 1.05, top + 0.01)), tilt)
    canvas.darken(canvas.area(ellipse(0.0, top + 0.02, neck * 1.10, neck * 1.10 * tilt + 0.01)), 0.30)
    lid_tone = print_.second if product.pattern in ("two-tone", "gradient") else print_.first
    _pot(canvas, lid, lid_tone, gloss, top - dome, top + 0.2)
    knob = canvas.area(ellipse(0.0, top - dome - 0.05, 0.062, 0.058))
    pipe(canvas, knob, lid_tone, gloss, 0.06)
    canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))


def lamp(canvas: Canvas, product: Product) -> None:
    """A table lamp that is switched on."""
    rng = canvas.rng
    print_ = Print.of(product, canvas)
    tilt = float(rng.uniform(0.08, 0.15))
    bottom = float(rng.uniform(0.68, 0.76))
    high, low = float(rng.uniform(-0.80, -0.74)), float(rng.uniform(-0.16, 0.0))
    stand = (METAL, np.array([0.16, 0.16, 0.17], np.float32), np.array([0.74, 0.60, 0.34], np.float32), OAK, print_.second)[
        int(rng.integers(5))
    ]
    if product.has("three legs"):
        joint = (0.0, low + 0.10)
        for foot in ((-0.34, bottom - 0.02), (0.34, bottom - 0.02), (0.06, bottom + 0.06)):
            pipe(canvas, canvas.area(tube(np.array([joint, foot]), 0.030, 0.018)), stand, 0.15, 0.025)
            canvas.stand(ellipse(foot[0], foot[1], 0.04, 0.015))
    else:
        rod = canvas.area(tube(np.array([(0.0, low - 0.1), (0.0, bottom - 0.05)]), 0.022, 0.022))
        pipe(canvas, rod, METAL, 0.3, 0.02)
        profile: tuple[Point, ...]
        if product.has("a round base"):
            size = float(rng.uniform(0.20, 0.28))
            profile = (
                (0.05, bottom - size * 2.0),
                (size * 0.82, bottom - size * 1.55),
                (size, bottom - size),
                (size * 0.8, bottom - size * 0.35),
                (size * 0.5, bottom),
            )
        else:
            size = float(rng.uniform(0.22, 0.30))
            profile = (
                (0.035, low + 0.05),
                (0.055, low + 0.3),
                (0.05, bottom - 0.14),
                (size * 0.8, bottom - 0.06),
                (size, bottom),
            )
        body = turned(canvas, profile, tilt)
        _pot(canvas, body, stand, 0.45, profile[0][1], bottom)
        canvas.stand(ellipse(0.0, bottom, profile[-1][0], profile[-1][0] * tilt))
    wide = float(rng.uniform(0.44, 0.56))
    shape: tuple[Point, ...]
    if product.has("a cone shade"):
        shape = ((wide * 0.42, high), (wide, low))
    elif product.has("a drum shade"):
        shape = ((wide * 0.86, high + 0.06), (wide * 0.94, low))
    else:
        shape = ((wide * 0.10, high), (wide * 0.58, high + 0.08), (wide * 0.90, high + 0.30), (wide, low))
    shade = turned(canvas, shape, tilt)
    warm = np.array([1.0, 0.86, 0.62], np.float32)
    glow = np.exp(-((shade.u / 0.62) ** 2)) * np.exp(-(((shade.region.y - np.float32(low - 0.12)) / 0.34) ** 2))
    lit = mixed(print_.paint(shade.surface_x, shade.surface_y), warm, np.asarray(0.34 * glow, np.float32))
    canvas.lay(
        shade.region,
        lit,
        np.asarray(0.88 + 0.12 * rounded(canvas, shade, flatness=low) + 0.10 * glow - 0.16 * np.abs(shade.u) ** 4, np.float32),
    )
    if shape[0][0] > 0.12:
        opening(canvas, 0.0, shape[0][1], shape[0][0], tilt, mixed(print_.first, warm, 0.55), lip=0.018)
    hem = ellipse(0.0, low, wide if not product.has("a drum shade") else wide * 0.94, wide * tilt, 4.0, 176.0)
    canvas.darken(canvas.line(hem, 0.02), 0.18)


def chair(canvas: Canvas, product: Product) -> None:
    """A chair, turned a little to the right."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.85)
    yaw, pitch = np.radians(rng.uniform(18, 40)), np.radians(rng.uniform(14, 22))
    legs = (OAK, WALNUT, np.array([0.17, 0.17, 0.18], np.float32), np.asarray(print_.second, np.float32))[int(rng.integers(4))]
    half, deep = float(rng.uniform(0.36, 0.42)), float(rng.uniform(0.34, 0.40))
    seat, back = float(rng.uniform(-0.02, 0.06)), float(rng.uniform(0.66, 0.80))
    thick = float(rng.uniform(0.06, 0.11))
    floor = -0.58
    splay = 0.08 if product.has("splayed legs") else 0.0

    def see(x: float, y: float, z: float) -> Point:
        across = x * np.cos(yaw) + z * np.sin(yaw)
        near = -x * np.sin(yaw) + z * np.cos(yaw)
        return (float(across), float(-y * np.cos(pitch) + near * np.sin(pitch) + 0.10))

    def face(
        corners: tuple[tuple[float, float, float], ...], shade: float, *, printed: bool, tone: Field, swell: float = 0.0
    ) -> None:
        """Lay one flat face: corners in order, the first edge is the print's horizontal."""
        flat = np.array([see(*corner) for corner in corners])
        region = canvas.area(flat)
        colour = tone
        if printed:
            edges = np.stack([flat[1] - flat[0], flat[-1] - flat[0]], axis=1)
            length = [
                float(np.linalg.norm(np.subtract(corners[1], corners[0]))),
                float(np.linalg.norm(np.subtract(corners[-1], corners[0]))),
            ]
            inverse = (np.diag(length) @ np.linalg.inv(edges)).astype(np.float32)
            x, y = region.x - np.float32(flat[0, 0]), region.y - np.float32(flat[0, 1])
            colour = print_.paint(
                inverse[0, 0] * x + inverse[0, 1] * y - np.float32(length[0] / 2),
                inverse[1, 0] * x + inverse[1, 1] * y - np.float32(length[1] / 2),
            )
        soft = canvas.blurred(region.coverage, 0.05)
        relief = np.clip(canvas.slope(soft * np.float32(swell)), -0.4, 0.3) if swell else np.float32(0.0)
        canvas.lay(region, colour, np.asarray(shade * (0.90 + 0.10 * soft) + relief, np.float32))

    def leg(x: float, z: float, tall: float = seat) -> None:
        outward = (np.sign(x) * splay, np.sign(z) * splay)
        foot = see(x + outward[0], floor, z + outward[1])
        head = see(x, tall, z)
        pipe(canvas, canvas.area(tube(np.array([head, foot]), 0.036, 0.026 if splay else 0.034)), legs, 0.08, 0.034)
        canvas.stand(ellipse(foot[0], foot[1], 0.05, 0.018))

    def armrest(x: float) -> None:
        pipe(
            canvas,
            canvas.area(tube(np.array([see(x, seat, deep - 0.06), see(x, seat + 0.26, deep - 0.06)]), 0.026, 0.026)),
            legs,
            0.08,
            0.026,
        )
        pipe(
            canvas,
            canvas.area(tube(np.array([see(x, seat, -deep + 0.10), see(x, seat + 0.26, -deep + 0.10)]), 0.024, 0.024)),
            legs,
            0.08,
            0.024,
        )
        pipe(
            canvas,
            canvas.area(tube(np.array([see(x, seat + 0.27, deep), see(x, seat + 0.27, -deep)]), 0.032, 0.032)),
            legs,
            0.1,
            0.03,
        )

    inset = 0.04
    for x, z in ((-half + inset, -deep + inset), (half - inset, -deep + inset)):
        leg(x, z)
    slatted = product.has("a slatted back")
    lean = 0.08
    base_y, top_y = seat + 0.02, seat + back

    def rear(x: float, y: float) -> tuple[float, float, float]:
        return (x, y, -deep - lean * (y - base_y) / (top_y - base_y))

    side_light = 1.0 if canvas.light.x > 0 else -1.0
    if slatted:
        for x in (-half + inset, half - inset):
            pipe(
                canvas, canvas.area(tube(np.array([see(*rear(x, base_y)), see(*rear(x, top_y))]), 0.034, 0.030)), legs, 0.08, 0.03
            )
        for share in np.linspace(0.40, 0.94, int(rng.integers(3, 5))):
            y = base_y + (top_y - base_y) * float(share)
            face(
                (rear(-half + inset, y), rear(half - inset, y), rear(half - inset, y - 0.10), rear(-half + inset, y - 0.10)),
                0.97,
                printed=True,
                tone=print_.first,
                swell=0.03,
            )
    elif product.has("a round back"):
        for x in (-half * 0.5, half * 0.5):
            pipe(
                canvas,
                canvas.area(tube(np.array([see(*rear(x, base_y)), see(*rear(x, base_y + 0.3))]), 0.030, 0.030)),
                legs,
                0.08,
                0.03,
            )
        ring = [
            rear(half * 0.98 * np.cos(a), base_y + back * 0.60 + back * 0.42 * np.sin(a))
            for a in np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ]
        rim = np.array([see(x, y, z - 0.06) for x, y, z in ring])
        canvas.lay(canvas.area(rim), np.asarray(print_.first * 0.62, np.float32))
        flat = np.array([see(*corner) for corner in ring])
        region = canvas.area(flat)
        soft = canvas.blurred(region.coverage, 0.07)
        canvas.lay(
            region,
            print_.paint(np.asarray(region.x / np.cos(yaw), np.float32), region.y),
            np.asarray(0.90 + 0.10 * soft + np.clip(canvas.slope(soft * 0.07), -0.4, 0.3), np.float32),
        )
    else:
        face(
            (rear(half, top_y), (half, top_y, -deep - lean - 0.08), (half, base_y, -deep - 0.08), rear(half, base_y)),
            0.70 - 0.06 * side_light,
            printed=False,
            tone=print_.first,
        )
        face(
            (rear(-half, top_y), rear(half, top_y), (half, top_y, -deep - lean - 0.08), (-half, top_y, -deep - lean - 0.08)),
            1.08,
            printed=False,
            tone=print_.first,
        )
        face(
            (rear(-half, top_y), rear(half, top_y), rear(half, base_y), rear(-half, base_y)),
            0.98,
            printed=True,
            tone=print_.first,
            swell=0.06,
        )
    if product.has("armrests"):
        armrest(-half)
    for x, z in ((-half + inset, deep - inset), (half - inset, deep - inset)):
        leg(x, z)
    tone = print_.first
    low = seat - thick
    face(
        ((-half, seat, deep), (half, seat, deep), (half, low, deep), (-half, low, deep)),
        0.84 + 0.05 * side_light * -1,
        printed=False,
        tone=tone,
    )
    face(
        ((-half, seat, deep), (-half, seat, -deep), (-half, low, -deep), (-half, low, deep)),
        0.70 - 0.10 * side_light,
        printed=False,
        tone=tone,
    )
    face(
        ((-half, seat, -deep), (half, seat, -deep), (half, seat, deep), (-half, seat, deep)),
        1.06,
        printed=True,
        tone=tone,
        swell=0.05,
    )
    if product.has("armrests"):
        armrest(half)
