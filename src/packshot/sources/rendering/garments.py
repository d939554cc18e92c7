"""Garments, laid flat or on an invisible mannequin."""

from __future__ import annotations

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Point, Points, Region, mirrored, outline, rotated, spline
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.surface import Print, cloth, creases, mixed, seam


def _drape(canvas: Canvas, region: Region, amount: float = 1.0) -> Field:
    """The folds of a torso: long drags from the shoulders and finer ones across."""
    tilt = float(canvas.rng.uniform(-14, 14))
    long = creases(canvas, region, 84 + tilt, 0.62, 0.15)
    cross = creases(canvas, region, float(canvas.rng.uniform(20, 160)), 0.34, 0.16)
    pinched = np.abs(creases(canvas, region, float(canvas.rng.uniform(35, 145)), 0.40, 0.13))
    return np.asarray((long * 0.011 + cross * 0.006 + pinched * 0.009) * np.float32(amount), np.float32)


def _panel(canvas: Canvas, region: Region, print_: Print, amount: float = 1.0, degrees: float = 0.0) -> None:
    """Lay one piece of printed cloth; the print is turned with the piece, as it is cut."""
    height = _drape(canvas, region, amount)
    turn = np.radians(degrees)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = region.x * c + region.y * s, region.y * c - region.x * s
    canvas.lay(region, print_.paint(u + height * 1.2, v + height), cloth(canvas, region, height))


def _neck_front(width: float, top: float, depth: float, kind: str) -> tuple[Point, ...]:
    """The front neckline from its right end to the middle."""
    if kind == "a V-neck":
        return ((width, top), (width * 0.52, top + depth * 0.50), (0.0, top + depth))
    return ((width, top), (width * 0.86, top + depth * 0.55), (width * 0.48, top + depth * 0.92), (0.0, top + depth))


def _back(canvas: Canvas, width: float, top: float, depth: float, colour: Field) -> None:
    """The inside of the back, seen through the neckline."""
    half = outline(
        [(0.0, top + 0.035), (width * 0.6, top + 0.022), (width, top - 0.012)],
        [(width, top), (width * 0.9, top + depth), (0.0, top + depth + 0.03)],
    )
    canvas.lay(canvas.area(mirrored(half)), np.asarray(colour * 0.74, np.float32))
    rib = mirrored(spline([(width * 0.97, top + 0.005), (width * 0.6, top + 0.04), (0.0, top + 0.052)])[::-1])
    canvas.darken(canvas.line(rib[len(rib) // 2 - 12 : len(rib) // 2 + 12], 0.03), 0.06)


def _sleeve(
    canvas: Canvas, side: float, root: tuple[Point, Point], outer: Points, inner: Points, print_: Print, cuff: Field | None
) -> None:
    """A sleeve between the shoulder and the armpit (`root`): its outer and its inner edge run from there to the cuff."""
    (shoulder, armpit) = root
    edge = np.concatenate([outer, inner[::-1], [(armpit[0] - 0.10, armpit[1] + 0.02), (shoulder[0] - 0.10, shoulder[1] + 0.10)]])
    flip = np.array([side, 1.0])
    region = canvas.area(edge * flip)
    reach = outer[-1] - outer[0]
    degrees = float(np.degrees(np.arctan2(reach[0], reach[1]))) * -side
    _panel(canvas, region, print_, 0.9, degrees)
    far = np.stack([outer[-1], inner[-1]])
    back = (outer[-1] - outer[-2]) / (np.linalg.norm(outer[-1] - outer[-2]) + 1e-9)
    if cuff is not None:
        band = np.concatenate([far, (far - back * 0.055)[::-1]])
        part = canvas.area(band * flip)
        canvas.lay(part, cuff, cloth(canvas, part, puff=0.02))
    else:
        seam(canvas, (far - back * 0.04) * flip, depth=0.16)


def _top(canvas: Canvas, product: Product, *, long: bool) -> None:
    rng = canvas.rng
    print_ = Print.of(product, canvas)
    accent = (
        print_.second
        if product.pattern != "plain"
        else mixed(print_.first, np.full(3, float(print_.first.mean() < 0.45), np.float32), 0.25)
    )
    neck = next(feature for feature in product.features if "neck" in feature)
    width = float(rng.uniform(0.15, 0.19)) * (1.2 if neck == "a scoop neck" else 1.0)
    depth = {"a crew neck": 0.10, "a V-neck": 0.27, "a scoop neck": 0.20, "a roll neck": 0.07}[neck] * float(
        rng.uniform(0.9, 1.15)
    )
    top = float(rng.uniform(-0.72, -0.66))
    shoulder = (float(rng.uniform(0.40, 0.47)), top + float(rng.uniform(0.09, 0.13)))
    armpit = (float(rng.uniform(0.35, 0.40)), float(rng.uniform(-0.24, -0.16)))
    hem = (float(rng.uniform(0.36, 0.46)), float(rng.uniform(0.60, 0.74)))
    waist = (min(armpit[0], hem[0]) - float(rng.uniform(0.0, 0.045)), 0.22)
    raglan = product.has("raglan sleeves")
    sleeve_print = (
        Print.of(product, canvas) if not raglan else Print("plain", accent, accent, accent, 1, 0, 0.5, False, print_.sharpness)
    )
    sleeve_print = sleeve_print if raglan else print_

    _back(canvas, width, top, depth, print_.first)
    if long:
        spread = float(rng.uniform(0.10, 0.34))
        wrist = (shoulder[0] + spread, float(rng.uniform(0.52, 0.66)))
        elbow = (shoulder[0] + spread * 0.62 + 0.06, 0.02)
        outer = spline([shoulder, (shoulder[0] + 0.075 + spread * 0.15, shoulder[1] + 0.22), (elbow[0] + 0.02, elbow[1]), wrist])
        inner = spline([armpit, (elbow[0] - 0.15, elbow[1] + 0.10), (wrist[0] - 0.135, wrist[1] + 0.03)])
        cuff = accent if product.has("ribbed cuffs") else None
    else:
        wide = 1.25 if product.has("wide sleeves") else 1.0
        angle = np.radians(rng.uniform(38, 66))
        reach = float(rng.uniform(0.26, 0.36))
        tip = (shoulder[0] + reach * np.cos(angle), shoulder[1] + reach * np.sin(angle))
        open_ = float(rng.uniform(0.22, 0.25)) * wide
        outer = spline(
            [
                shoulder,
                (shoulder[0] + reach * 0.55 * np.cos(angle) + 0.025, shoulder[1] + reach * 0.5 * np.sin(angle) - 0.01),
                tip,
            ]
        )
        inner = spline([armpit, (tip[0] - open_ * np.sin(angle), tip[1] + open_ * np.cos(angle))])
        cuff = accent if product.has("contrasting cuffs") else None
    for side in (-1.0, 1.0):
        _sleeve(canvas, side, (shoulder, armpit), outer, inner, sleeve_print, cuff)

    front = _neck_front(width, top, depth, neck)
    half = outline(
        front[::-1],
        [(width, top), ((width + shoulder[0]) / 2, top + (shoulder[1] - top) * 0.42), shoulder],
        [shoulder, (shoulder[0] - 0.035, (shoulder[1] + armpit[1]) / 2), armpit],
        [armpit, waist, hem],
        [hem, (hem[0] * 0.5, hem[1] + 0.022), (0.0, hem[1] + 0.028)],
    )
    body = canvas.area(mirrored(half))
    _panel(canvas, body, print_)
    for side in (-1.0, 1.0):
        join = (
            [shoulder, (shoulder[0] - 0.035, (shoulder[1] + armpit[1]) / 2), armpit]
            if not raglan
            else [(width, top + 0.02), armpit]
        )
        seam(canvas, spline(join) * (side, 1.0))
        if raglan:
            wedge = outline(
                [(width, top), shoulder],
                [shoulder, (shoulder[0] - 0.035, (shoulder[1] + armpit[1]) / 2), armpit],
                [armpit, (width, top)],
            )
            part = canvas.area(wedge * (side, 1.0))
            canvas.lay(part, accent, cloth(canvas, part, puff=0.03))
    seam(
        canvas,
        mirrored(spline([(0.0, hem[1] - 0.018), (hem[0] * 0.5, hem[1] - 0.024), (hem[0] - 0.004, hem[1] - 0.045)])),
        depth=0.14,
    )

    collar = mirrored(spline(front)[::-1])
    if neck == "a roll neck":
        roll = mirrored(
            outline(
                [(0.0, top - 0.10), (width * 0.9, top - 0.09)],
                [(width * 0.9, top - 0.09), (width * 1.1, top + 0.01)],
                [(width * 1.1, top + 0.01), (width * 0.6, top + depth * 0.9), (0.0, top + depth + 0.02)],
            )
        )
        part = canvas.area(roll)
        canvas.lay(part, print_.first, cloth(canvas, part, creases(canvas, part, 90, 0.8, 0.03) * 0.004, puff=0.03))
    else:
        part = canvas.line(collar, 0.042)
        canvas.lay(part, accent if product.has("contrasting cuffs") or raglan else print_.first, 0.90)
        seam(canvas, collar + (0.0, 0.022), depth=0.13)
    if product.has("a chest pocket"):
        corners = np.array([(0.10, -0.30), (0.29, -0.30), (0.29, -0.12), (0.195, -0.07), (0.10, -0.12)])
        part = canvas.area(corners)
        canvas.lay(part, accent, cloth(canvas, part, puff=0.02))
        canvas.darken(canvas.line(corners, 0.012, closed=True), 0.22)
    if product.has("a button placket"):
        stop = top + depth + 0.30
        canvas.darken(
            canvas.line(np.array([(0.035, top + depth), (0.035, stop), (-0.035, stop), (-0.035, top + depth)]), 0.012), 0.22
        )
        for at in np.linspace(top + depth + 0.05, stop - 0.05, 3):
            canvas.lay(canvas.line(np.array([(0.0, at), (0.001, at)]), 0.035), np.array([0.95, 0.94, 0.91], np.float32), 0.9)


def t_shirt(canvas: Canvas, product: Product) -> None:
    """A T-shirt from the front."""
    _top(canvas, product, long=False)


def longsleeve(canvas: Canvas, product: Product) -> None:
    """A shirt with long sleeves from the front."""
    _top(canvas, product, long=True)


def _flared(
    canvas: Canvas, region: Region, waist: tuple[float, float], hem: tuple[float, float], folds: float, depth: float
) -> tuple[Field, Field]:
    """The folds of a skirt, which fan out from the waist: their height field, and the place across the skirt in units of its hem.

    `waist` and `hem` are (half width, y).
    """
    t = (region.y - np.float32(waist[1])) * np.float32(1.0 / (hem[1] - waist[1]))
    half = np.maximum(waist[0] + (hem[0] - waist[0]) * np.clip(t, 0.0, 1.2), 0.05).astype(np.float32)
    across = np.asarray(region.x / half, np.float32)
    sway = creases(canvas, region, 88.0, 1.4, 0.30)
    angle = across * np.float32(folds) + np.float32(canvas.rng.uniform(0, 6.28)) + 0.9 * sway
    height = (np.sin(angle) + 0.4 * np.sin(angle * 2.1 + 1.0)) * np.float32(depth) * np.clip(t, 0.0, 1.0) ** 0.8
    return np.asarray(height, np.float32), np.asarray(across * np.float32(hem[0]), np.float32)


def dress(canvas: Canvas, product: Product) -> None:
    """A dress from the front."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.85)
    top, width = float(rng.uniform(-0.80, -0.75)), float(rng.uniform(0.13, 0.18))
    waist = (float(rng.uniform(0.20, 0.25)), float(rng.uniform(-0.24, -0.10)))
    armpit = (float(rng.uniform(0.25, 0.29)), -0.46)
    flared = product.has("a flared skirt")
    hem = (float(rng.uniform(0.46, 0.64) if flared else rng.uniform(0.25, 0.33)), float(rng.uniform(0.46, 0.82)))
    depth = float(rng.uniform(0.10, 0.20))
    shoulder = (float(rng.uniform(0.29, 0.33)), top + 0.06)
    kind = "a V-neck" if rng.integers(3) == 0 else "a crew neck"
    curve = 0.04 if flared else 0.015

    if product.has("straps"):
        bust = -0.55
        for side in (-1.0, 1.0):
            canvas.lay(canvas.line(np.array([(0.15, bust + 0.03), (0.12, top)]) * (side, 1.0), 0.035), print_.first, 0.9)
        half = outline(
            [(0.0, bust + 0.05), (0.09, bust), (0.17, bust - 0.015)],
            [(0.17, bust - 0.01), (0.21, bust + 0.09), (armpit[0] - 0.02, -0.40)],
        )
    else:
        _back(canvas, width, top, depth, print_.first)
        if not product.has("no sleeves"):
            long = product.has("long sleeves")
            reach = 0.88 if long else float(rng.uniform(0.20, 0.30))
            angle = np.radians(rng.uniform(70, 78) if long else rng.uniform(48, 66))
            tip = (shoulder[0] + reach * np.cos(angle), shoulder[1] + reach * np.sin(angle))
            open_ = 0.11 if long else 0.17
            inner_tip = (tip[0] - open_ * np.sin(angle), tip[1] + open_ * np.cos(angle))
            outer = spline([shoulder, (shoulder[0] * 0.45 + tip[0] * 0.55 + 0.035, shoulder[1] * 0.5 + tip[1] * 0.5), tip])
            inner = spline(
                [armpit, (armpit[0] * 0.4 + inner_tip[0] * 0.6 + 0.015, armpit[1] * 0.4 + inner_tip[1] * 0.6), inner_tip]
            )
            for side in (-1.0, 1.0):
                _sleeve(canvas, side, (shoulder, armpit), outer, inner, print_, None)
        half = outline(
            _neck_front(width, top, depth, kind)[::-1],
            [(width, top), shoulder],
            [shoulder, (shoulder[0] - 0.055, -0.60), armpit],
        )
    side_line = [
        (armpit[0] - (0.02 if product.has("straps") else 0.0), armpit[1] + 0.06),
        (waist[0] + 0.01, waist[1] - 0.08),
        waist,
    ]
    bodice = canvas.area(mirrored(np.concatenate([half, spline(side_line), [(0.0, waist[1] + 0.01)]])))
    _panel(canvas, bodice, print_, 0.8)

    hip = (waist[0] + (hem[0] - waist[0]) * 0.42 + (0.02 if flared else 0.06), waist[1] + 0.26)
    skirt_half = outline(
        [(0.0, waist[1] - 0.012), (waist[0], waist[1] - 0.012)],
        [waist, hip, hem],
        [hem, (hem[0] * 0.55, hem[1] + curve), (0.0, hem[1] + curve * 1.3)],
    )
    skirt_part = canvas.area(mirrored(skirt_half))
    folds = float(rng.uniform(9, 15)) if flared else float(rng.uniform(3, 6))
    height, across = _flared(canvas, skirt_part, waist, hem, folds, 0.017 if flared else 0.008)
    canvas.lay(skirt_part, print_.paint(across + height, skirt_part.y + height * 0.6), cloth(canvas, skirt_part, height))
    if product.has("a belt"):
        belt = canvas.area(
            mirrored(
                np.array(
                    [
                        (0.0, waist[1] - 0.045),
                        (waist[0] + 0.012, waist[1] - 0.05),
                        (waist[0] + 0.012, waist[1] + 0.025),
                        (0.0, waist[1] + 0.03),
                    ]
                )
            )
        )
        canvas.lay(belt, print_.second, cloth(canvas, belt, puff=0.03))
    else:
        seam(canvas, np.array([(-waist[0], waist[1] - 0.005), (waist[0], waist[1] - 0.005)]), depth=0.18)
    if not product.has("straps"):
        canvas.lay(canvas.line(mirrored(spline(_neck_front(width, top, depth, kind))[::-1]), 0.026), print_.first, 0.88)


def skirt(canvas: Canvas, product: Product) -> None:
    """A skirt from the front."""
    rng = canvas.rng
    print_ = Print.of(product, canvas)
    straight, ruffled, pleated = product.has("a straight cut"), product.has("a ruffled hem"), product.has("pleats")
    band = float(rng.uniform(0.12, 0.15)) if product.has("a wide waistband") else 0.065
    waist = (float(rng.uniform(0.30, 0.37)), float(rng.uniform(-0.64, -0.54)))
    hem = (float(rng.uniform(0.37, 0.44) if straight else rng.uniform(0.60, 0.76)), float(rng.uniform(0.22, 0.70)))
    hip = (waist[0] + (hem[0] - waist[0]) * 0.40 + (0.07 if straight else 0.015), waist[1] + 0.32)
    curve = 0.02 if straight else 0.06
    half = outline(
        [(0.0, waist[1]), waist], [waist, hip, hem], [hem, (hem[0] * 0.55, hem[1] + curve), (0.0, hem[1] + curve * 1.35)]
    )
    if ruffled:
        drop = 0.17
        wide = (hem[0] + 0.07, hem[1] + drop)
        wave = [(float(x), wide[1] + curve + (0.022 if at % 2 else -0.004)) for at, x in enumerate(np.linspace(wide[0], 0.0, 9))]
        ruffle = canvas.area(mirrored(outline([(0.0, hem[1] - 0.02), (hem[0] - 0.005, hem[1] - 0.03)], [hem, wide], wave)))
        height, across = _flared(canvas, ruffle, (hem[0], hem[1] - 0.05), wide, 22.0, 0.016)
        canvas.lay(ruffle, print_.paint(across + height, ruffle.y), cloth(canvas, ruffle, height, puff=0.03) * 0.97)
    part = canvas.area(mirrored(half))
    if pleated:
        t = np.clip((part.y - waist[1]) / (hem[1] - waist[1]), 0.0, 1.0)
        across = np.asarray(part.x / (waist[0] + (hem[0] - waist[0]) * t), np.float32)
        count = float(rng.integers(6, 11))
        saw = (across * np.float32(count) + 1.0) % 1.0
        body = cloth(canvas, part, creases(canvas, part, 88.0, 1.2, 0.25) * 0.008)
        shade = body * (1.06 - 0.30 * np.clip(saw - 0.66, 0.0, 1.0) * 2.4 + 0.05 * saw)
        canvas.lay(part, print_.paint(across * np.float32(hem[0]), part.y), np.asarray(shade, np.float32))
    else:
        height, across = _flared(
            canvas, part, waist, hem, float(rng.uniform(3, 6) if straight else rng.uniform(8, 14)), 0.008 if straight else 0.019
        )
        canvas.lay(part, print_.paint(across + height, part.y + height * 0.5), cloth(canvas, part, height))
        seam(
            canvas,
            mirrored(
                spline(
                    [
                        (0.0, hem[1] + curve * 1.35 - 0.045),
                        (hem[0] * 0.55, hem[1] + curve - 0.045),
                        (hem[0] - 0.01, hem[1] - 0.045),
                    ]
                )
            ),
            depth=0.12,
        )
    belt = canvas.area(
        mirrored(
            outline(
                [(0.0, waist[1] - 0.012), (waist[0] + 0.004, waist[1] - 0.022)],
                [(waist[0] + 0.012, waist[1] + band), (0.0, waist[1] + band + 0.012)],
            )
        )
    )
    wide_band = product.has("a wide waistband")
    canvas.lay(
        belt,
        print_.second if wide_band and product.pattern != "plain" else print_.first,
        cloth(canvas, belt, puff=0.03) * (0.93 if wide_band else 0.9),
    )
    seam(canvas, np.array([(-waist[0], waist[1] + band), (0.0, waist[1] + band + 0.01), (waist[0], waist[1] + band)]), depth=0.25)
    if straight:
        seam(canvas, np.array([(0.0, hem[1] + curve), (0.0, hem[1] - 0.2)]), width=0.014, depth=0.4)


def trousers(canvas: Canvas, product: Product) -> None:
    """Trousers from the front."""
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.8)
    waist = (float(rng.uniform(0.27, 0.32)), float(rng.uniform(-0.80, -0.74)))
    hip = (waist[0] + float(rng.uniform(0.05, 0.08)), waist[1] + 0.30)
    crotch = (0.0, waist[1] + float(rng.uniform(0.42, 0.50)))
    cropped = rng.integers(4) == 0
    bottom = float(rng.uniform(0.46, 0.58) if cropped else rng.uniform(0.72, 0.84))
    inside, knee_out, hem_out = {
        "straight legs": (0.075, 0.34, 0.34),
        "wide legs": (0.05, 0.43, 0.52),
        "tapered legs": (0.10, 0.32, 0.265),
        "flared legs": (0.08, 0.30, 0.44),
    }[next(feature for feature in product.features if feature.endswith("legs"))]
    spread = float(rng.uniform(0.0, 0.07))
    knee_y = (crotch[1] + bottom) / 2
    hem_in = inside if not product.has("flared legs") else inside * 0.5
    for side in (-1.0, 1.0):
        leg = outline(
            [(0.0, waist[1]), waist],
            [waist, hip, (knee_out + spread * 0.5, knee_y), (hem_out + spread, bottom)],
            [(hem_out + spread, bottom), ((hem_out + hem_in) / 2 + spread, bottom + 0.018), (hem_in + spread, bottom + 0.012)],
            [(hem_in + spread, bottom + 0.012), (inside * 0.9 + spread * 0.5 + 0.01, knee_y), (0.012, crotch[1] + 0.03), crotch],
        )
        flip = (side, 1.0)
        part = canvas.area(leg * flip)
        long = creases(canvas, part, 90 + side * 3, 1.0, 0.13)
        knee = creases(canvas, part, 90 + side * float(rng.uniform(50, 75)), 0.25, 0.10)
        near = np.exp(-(((part.y - np.float32(crotch[1] + 0.06)) / 0.16) ** 2)) + 0.8 * np.exp(
            -(((part.y - np.float32(knee_y + 0.1)) / 0.13) ** 2)
        )
        height = np.asarray(long * 0.010 + knee * near * 0.012, np.float32)
        axis = side * spread * 0.8 * np.clip((part.y - crotch[1]) / (bottom - crotch[1]), 0.0, 1.0)
        shade = cloth(canvas, part, height, puff=0.06)
        if product.has("creases"):
            middle = side * ((hem_in + hem_out) / 2 + spread) * np.clip((part.y - waist[1] - 0.15) / 0.25, 0.6, 1.0)
            shade = np.asarray(shade * (1.0 - 0.17 * np.exp(-((((part.x - middle) * side - 0.012) / 0.018) ** 2))), np.float32)
        canvas.lay(part, print_.paint(np.asarray(part.x - axis + height, np.float32), part.y + height), shade)
        cuff_y = bottom - (0.10 if product.has("turn-ups") else 0.035)
        if product.has("turn-ups"):
            cuff = canvas.area(
                np.array(
                    [
                        (hem_out + spread + 0.012, bottom + 0.005),
                        (hem_in + spread - 0.012, bottom + 0.018),
                        (hem_in + spread - 0.014, cuff_y),
                        (hem_out + spread + 0.012, cuff_y),
                    ]
                )
                * flip
            )
            canvas.lay(
                cuff,
                print_.second if product.pattern != "plain" else mixed(print_.first, np.ones(3, np.float32), 0.25),
                cloth(canvas, cuff, puff=0.03),
            )
        else:
            seam(canvas, np.array([(hem_in + spread, cuff_y + 0.01), (hem_out + spread, cuff_y)]) * flip, depth=0.15)
        pocket = spline(
            [(waist[0] * 0.62, waist[1] + 0.09), (waist[0] * 0.74, waist[1] + 0.19), (hip[0] - 0.015, waist[1] + 0.24)]
        )
        seam(canvas, pocket * flip, depth=0.28)
    seam(canvas, np.array([(0.0, waist[1] + 0.08), (0.0, crotch[1])]), depth=0.30)
    seam(canvas, spline([(0.07, waist[1] + 0.08), (0.065, crotch[1] - 0.16), (0.0, crotch[1] - 0.07)]), depth=0.16)
    band = canvas.area(
        mirrored(
            np.array(
                [
                    (0.0, waist[1] - 0.004),
                    (waist[0] + 0.003, waist[1] - 0.02),
                    (waist[0] + 0.012, waist[1] + 0.07),
                    (0.0, waist[1] + 0.085),
                ]
            )
        )
    )
    canvas.lay(band, print_.first, cloth(canvas, band, puff=0.03) * 0.9)
    for x in (-0.21, -0.10, 0.10, 0.21):
        canvas.darken(canvas.line(np.array([(x, waist[1] - 0.01), (x, waist[1] + 0.08)]), 0.022), 0.18)
    canvas.lay(
        canvas.line(np.array([(0.0, waist[1] + 0.04), (0.001, waist[1] + 0.04)]), 0.04),
        np.array([0.75, 0.72, 0.66], np.float32),
        0.95,
    )


def hat(canvas: Canvas, product: Product) -> None:
    """A cap from the side, a hat with a brim, or a knitted hat."""
    if product.has("a curved peak"):
        _cap(canvas, product)
    elif product.has("a wide brim"):
        _brimmed(canvas, product)
    else:
        _knitted(canvas, product)


def _cap(canvas: Canvas, product: Product) -> None:
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.85)
    accent = print_.second if product.pattern != "plain" or rng.integers(2) else print_.first
    height, base = float(rng.uniform(-0.52, -0.40)), 0.22
    reach = float(rng.uniform(0.78, 0.88))
    droop = float(rng.uniform(0.02, 0.12))
    under = canvas.area(
        outline(
            [(0.30, base - 0.06), (0.62, base - 0.03), (reach - 0.03, base + 0.08 + droop)],
            [(reach - 0.03, base + 0.09 + droop), (0.52, base + 0.16), (0.14, base + 0.12)],
        )
    )
    canvas.lay(under, np.asarray(accent * 0.55, np.float32))
    dome = outline(
        [
            (-0.62, base + 0.06),
            (-0.63, -0.10),
            (-0.46, height + 0.14),
            (-0.10, height),
            (0.22, height + 0.12),
            (0.40, -0.08),
            (0.44, base - 0.02),
        ],
        [(0.44, base - 0.02), (0.10, base + 0.10), (-0.30, base + 0.12), (-0.62, base + 0.06)],
    )
    part = canvas.area(dome)
    folds = creases(canvas, part, 40, 0.5, 0.2) * 0.006
    bulge = np.sqrt(np.clip(1.0 - ((part.x + 0.09) / 0.56) ** 2 - ((part.y - 0.2) / (0.25 - height)) ** 2 * 0.9, 0.0, 1.0)) * 0.26
    u, v = part.x * 1.1, part.y + 0.15 * (part.x + 0.09) ** 2
    canvas.lay(
        part,
        print_.paint(np.asarray(u, np.float32), np.asarray(v, np.float32)),
        cloth(canvas, part, np.asarray(folds + bulge, np.float32), puff=0.05),
    )
    crown = (-0.10, height + 0.01)
    for foot in ((-0.30, base + 0.11), (0.12, base + 0.09)):
        seam(
            canvas,
            spline(
                [
                    crown,
                    ((crown[0] * 0.4 + foot[0] * 0.6) + (0.10 if foot[0] > 0 else -0.09), (crown[1] + foot[1]) / 2 - 0.06),
                    foot,
                ]
            ),
            depth=0.24,
        )
    canvas.lay(canvas.line(np.array([crown, (crown[0] + 0.02, crown[1])]), 0.06), accent, 0.95)
    peak = canvas.area(
        outline(
            [(0.10, base + 0.10), (0.28, base - 0.05), (0.45, base - 0.10)],
            [(0.45, base - 0.10), (0.68, base - 0.06), (reach, base + 0.07 + droop)],
            [(reach, base + 0.08 + droop), (0.66, base + 0.06), (0.40, base + 0.06), (0.10, base + 0.12)],
        )
    )
    canvas.lay(
        peak, accent, cloth(canvas, peak, np.asarray(-0.25 * (peak.y - base) * np.ones_like(peak.x), np.float32), puff=0.05)
    )
    canvas.stand(
        outline(
            [(-0.6, base + 0.07), (-0.2, base + 0.14), (0.2, base + 0.13)],
            [(0.2, base + 0.10), (-0.2, base + 0.08), (-0.6, base + 0.05)],
        )
    )


def _brimmed(canvas: Canvas, product: Product) -> None:
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.8)
    base, top = 0.18, float(rng.uniform(-0.46, -0.32))
    wide, flat = float(rng.uniform(0.74, 0.86)), float(rng.uniform(0.20, 0.27))
    wave = float(rng.uniform(-0.05, 0.05))
    t = np.radians(np.linspace(0, 360, 73))
    brim = np.stack(
        [wide * np.cos(t), base + wide * flat * np.sin(t) + wave * np.cos(2 * t) - 0.03 * np.abs(np.cos(t)) ** 3], axis=1
    )
    canvas.stand(brim * (0.96, 1.0) + (0.0, 0.02))
    part = canvas.area(brim)
    dish = 0.10 * np.sqrt(np.clip((part.x / wide) ** 2 + ((part.y - base) / (wide * flat)) ** 2, 0.0, 1.5))
    canvas.lay(part, print_.first, cloth(canvas, part, np.asarray(dish, np.float32), puff=0.03) * 0.95)
    w0, w1 = float(rng.uniform(0.40, 0.46)), float(rng.uniform(0.30, 0.38))
    dent = float(rng.uniform(0.0, 0.09))
    crown = mirrored(
        outline(
            [(0.0, top + dent), (w1 * 0.55, top - 0.02), (w1, top + 0.05)],
            [(w1, top + 0.05), ((w0 + w1) / 2 + 0.015, -0.12), (w0, base)],
            [(w0, base), (w0 * 0.6, base + 0.085), (0.0, base + 0.11)],
        )
    )
    body = canvas.area(crown)
    u = np.clip(body.x / np.float32(w0 + 0.02), -1, 1)
    bulge = np.sqrt(1.0 - u * u) * 0.22
    canvas.lay(
        body,
        print_.paint(np.arcsin(u) * np.float32(w0), np.asarray(body.y - 0.10 * np.sqrt(1 - u * u), np.float32)),
        cloth(canvas, body, np.asarray(bulge + creases(canvas, body, 70, 0.5, 0.2) * 0.005, np.float32)),
    )
    ribbon = canvas.area(
        mirrored(
            outline(
                [(0.0, base - 0.03), (w0 * 0.6, base - 0.055), (w0 * 0.985, base - 0.13)],
                [(w0 * 0.985, base - 0.13), (w0 + 0.002, base)],
                [(w0, base), (w0 * 0.6, base + 0.085), (0.0, base + 0.11)],
            )
        )
    )
    canvas.lay(
        ribbon,
        print_.second,
        cloth(
            canvas,
            ribbon,
            np.asarray(np.sqrt(1 - np.clip(ribbon.x / (w0 + 0.02), -1, 1) ** 2) * 0.2 + 0 * ribbon.y, np.float32),
            puff=0.02,
        ),
    )


def _knitted(canvas: Canvas, product: Product) -> None:
    rng = canvas.rng
    print_ = Print.of(product, canvas, 0.9)
    wide, top, base = float(rng.uniform(0.46, 0.54)), float(rng.uniform(-0.56, -0.42)), 0.30
    if rng.integers(2):
        ball = canvas.area(
            rotated(
                np.array(
                    [
                        (0.15 * np.cos(a) * (1 + 0.06 * (at % 2)), top - 0.07 + 0.15 * np.sin(a) * (1 + 0.06 * (at % 2)))
                        for at, a in enumerate(np.linspace(0, 6.28, 42))
                    ]
                ),
                0.0,
            )
        )
        canvas.lay(ball, print_.second, cloth(canvas, ball, creases(canvas, ball, 20, 0.06, 0.05) * 0.012, puff=0.07))
    dome = mirrored(
        outline(
            [(0.0, top), (wide * 0.5, top + 0.06), (wide * 0.92, top + 0.36), (wide, base)], [(wide, base), (0.0, base + 0.06)]
        )
    )
    body = canvas.area(dome)
    u = np.clip(body.x / np.float32(wide + 0.01), -1, 1)
    ribs = np.sin(np.arcsin(u) * 26.0) * 0.005
    bulge = np.sqrt(1 - u * u) * 0.20 + ribs + creases(canvas, body, 80, 0.4, 0.2) * 0.006
    canvas.lay(
        body,
        print_.paint(np.arcsin(u) * np.float32(wide), np.asarray(body.y - 0.06 * np.sqrt(1 - u * u), np.float32)),
        cloth(canvas, body, np.asarray(bulge, np.float32), puff=0.07),
    )
    high = float(rng.uniform(0.20, 0.30))
    w = wide + 0.035
    cuff = canvas.area(
        mirrored(
            outline(
                [(0.0, base - high + 0.09), (w * 0.6, base - high + 0.06), (w, base - high)],
                [(w, base - high), (w + 0.012, base - high / 2), (w, base)],
                [(w, base), (w * 0.6, base + 0.07), (0.0, base + 0.10)],
            )
        )
    )
    turn = np.clip(cuff.x / np.float32(w + 0.015), -1, 1)
    relief = np.sqrt(1 - turn * turn) * 0.20 + np.sin(np.arcsin(turn) * 30.0) * 0.009
    tone = print_.second if product.pattern != "plain" and rng.integers(2) else print_.first
    canvas.lay(cuff, tone, cloth(canvas, cuff, np.asarray(relief + 0 * cuff.y, np.float32), puff=0.05))
    canvas.stand(outline([(-w, base), (-w * 0.6, base + 0.07), (0.0, base + 0.11), (w * 0.6, base + 0.07), (w, base)]))
