"""Shoes and bags."""

from __future__ import annotations

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, ellipse, mirrored, outline, spline, tube
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.surface import Print, cloth, creases, mixed, pipe, seam

BRASS = np.array([0.80, 0.66, 0.36], np.float32)
STEEL = np.array([0.74, 0.74, 0.76], np.float32)


def shoe(canvas: Canvas, product: Product) -> None:
    """A sneaker from the side, its toe to the right."""
    rng = canvas.rng
    print_ = Print.of(product, canvas)
    high = product.has("a high top")
    collar = float(rng.uniform(-0.52, -0.42) if high else rng.uniform(-0.24, -0.16))
    ground, sole = 0.42, float(rng.uniform(0.11, 0.16))
    toe = float(rng.uniform(0.10, 0.15))
    heel = -0.74
    white = np.array([0.94, 0.94, 0.92], np.float32)
    sole_tone = white if rng.integers(3) else print_.second
    accent = print_.second
    deck = ground - sole
    ankle = -0.22 if high else -0.20

    canvas.lay(
        canvas.area(ellipse((heel + ankle) / 2 + 0.03, collar + 0.02, (ankle - heel) / 2 - 0.02, 0.05)),
        np.asarray(print_.first * 0.45, np.float32),
    )
    upper = outline(
        [(heel + 0.06, collar - 0.02), (heel + 0.015, (collar + deck) / 2), (heel + 0.03, deck + 0.02)],
        [(heel + 0.03, deck + 0.02), (0.80, deck + 0.03)],
        [
            (0.80, deck + 0.03),
            (0.83, deck - toe * 0.55),
            (0.74, deck - toe - 0.03),
            (0.58, deck - toe - 0.075),
            (0.40, deck - toe - 0.12),
        ],
        [(0.40, deck - toe - 0.12), (0.14, deck - 0.38), (ankle + 0.06, collar + 0.02), (ankle, collar - 0.005)],
        [(ankle, collar - 0.005), ((heel + ankle) / 2 + 0.02, collar + 0.065), (heel + 0.06, collar - 0.02)],
    )
    part = canvas.area(upper)
    height = np.asarray(creases(canvas, part, 60, 0.4, 0.15) * 0.005 - 0.10 * (part.y - deck) ** 2, np.float32)
    canvas.lay(
        part,
        print_.paint(np.asarray(part.x + 0 * part.y, np.float32), np.asarray(part.y + height, np.float32)),
        cloth(canvas, part, height, puff=0.07, depth=1.4),
    )

    counter = canvas.area(
        outline(
            [(heel + 0.022, deck - 0.24), (heel + 0.16, deck - 0.20), (heel + 0.30, deck + 0.02)],
            [(heel + 0.03, deck + 0.02), (heel + 0.016, deck - 0.1), (heel + 0.022, deck - 0.24)],
        )
    )
    canvas.lay(counter, accent, cloth(canvas, counter, puff=0.03))
    cap = canvas.area(
        outline(
            [(0.80, deck + 0.03), (0.83, deck - toe * 0.55), (0.74, deck - toe - 0.03), (0.66, deck - toe - 0.06)],
            [(0.66, deck - toe - 0.06), (0.56, deck - 0.06), (0.53, deck + 0.03)],
        )
    )
    cap_tone = sole_tone if rng.integers(2) else np.asarray(print_.first * 0.92, np.float32)
    canvas.lay(cap, cap_tone, cloth(canvas, cap, puff=0.05))
    if product.has("a side stripe"):
        for shift in (0.0, 0.12):
            band = spline([(-0.02 + shift, deck - 0.30), (-0.10 + shift, deck - 0.14), (-0.20 + shift, deck + 0.01)])
            stripe = canvas.area(tube(band, 0.028, 0.034))
            canvas.lay(stripe, accent, cloth(canvas, stripe, puff=0.02))
    throat = spline(
        [
            (ankle + 0.02, collar + 0.02),
            (ankle + 0.09, collar * 0.55 + (deck - 0.38) * 0.45),
            (0.14, deck - 0.37),
            (0.40, deck - toe - 0.13),
        ]
    )
    tongue = canvas.area(tube(throat + (0.012, -0.02), 0.048, 0.03))
    canvas.lay(tongue, mixed(print_.first, accent, 0.15), cloth(canvas, tongue, puff=0.03) * 0.95)
    facing = throat + (-0.045, 0.075)
    seam(canvas, facing, depth=0.22)
    if product.has("laces"):
        lace = white if float(print_.first.mean()) < 0.8 else np.array([0.25, 0.25, 0.27], np.float32)
        for share in np.linspace(0.16, 0.92, 6 if high else 5):
            at = throat[int(share * (len(throat) - 1))]
            stroke = np.array([at + (0.035, -0.035), at + (-0.035, 0.055)])
            canvas.darken(canvas.line(stroke + (0.008, 0.012), 0.03), 0.25)
            canvas.lay(canvas.line(stroke, 0.03), lace)
    else:
        for share in (0.34, 0.62) if not high else (0.2, 0.45, 0.7):
            at = throat[int(share * (len(throat) - 1))]
            strap = canvas.area(tube(np.array([at + (0.05, -0.05), at + (-0.13, 0.17)]), 0.04, 0.036))
            canvas.lay(strap, accent, cloth(canvas, strap, puff=0.025))
    spring = float(rng.uniform(0.02, 0.05))
    base = outline(
        [(heel, deck - 0.01), (heel - 0.025, ground - 0.05), (heel + 0.02, ground)],
        [(heel + 0.02, ground), (0.50, ground), (0.74, ground - spring), (0.84, deck + 0.02), (0.815, deck - 0.03)],
        [(0.80, deck - 0.02), (0.2, deck + 0.012), (-0.3, deck - 0.012), (heel, deck - 0.01)],
    )
    part = canvas.area(base)
    canvas.lay(
        part,
        sole_tone,
        np.asarray(
            cloth(canvas, part, puff=0.04) * (1.0 - 0.5 * np.clip(part.y - np.float32(deck + sole * 0.75), 0.0, 1.0) / sole),
            np.float32,
        ),
    )
    canvas.darken(canvas.line(spline([(heel + 0.0, deck), (-0.3, deck), (0.2, deck + 0.02), (0.80, deck - 0.01)]), 0.014), 0.35)
    canvas.darken(
        canvas.line(np.array([(heel - 0.01, ground - 0.035), (0.52, ground - 0.035), (0.76, ground - 0.04 - spring)]), 0.012),
        0.28,
    )
    canvas.stand(
        np.array([(heel + 0.02, ground - 0.02), (0.60, ground - 0.02), (0.55, ground + 0.03), (heel + 0.06, ground + 0.03)])
    )


def bag(canvas: Canvas, product: Product) -> None:
    """A handbag from the front."""
    rng = canvas.rng
    print_ = Print.of(product, canvas)
    trim: Field = print_.second if product.pattern != "plain" else np.asarray(print_.first * 0.72, np.float32)
    metal = BRASS if rng.integers(2) else STEEL
    flap = product.has("a flap and a long strap")
    wide = float(rng.uniform(0.42, 0.64))
    wide_top = wide * float(rng.uniform(0.74, 1.06))
    if flap:
        wide_top = wide - float(rng.uniform(0.0, 0.05))
    top, bottom = float(rng.uniform(-0.20, -0.02)), float(rng.uniform(0.50, 0.76))
    handle = float(rng.uniform(-0.74, -0.58))

    if product.has("two handles"):
        for shift, dark in ((0.05, 0.78), (0.0, 1.0)):
            inset = wide_top * 0.52
            loop = spline(
                [
                    (-inset + shift, top + 0.10),
                    (-inset * 0.92 + shift, (top + handle) / 2),
                    (-inset * 0.45 + shift, handle - shift),
                    (inset * 0.45 + shift, handle - shift),
                    (inset * 0.92 + shift, (top + handle) / 2),
                    (inset + shift, top + 0.10),
                ]
            )
            if dark == 1.0:
                continue
            pipe(canvas, canvas.line(loop, 0.05), np.asarray(trim * dark, np.float32), 0.1, 0.025)
    elif flap:
        strap = spline(
            [
                (-wide_top + 0.03, top + 0.12),
                (-wide_top * 0.78, (top + handle) / 2 - 0.05),
                (-0.12, handle - 0.06),
                (0.20, handle),
                (wide_top * 0.82, (top + handle) / 2),
                (wide_top - 0.03, top + 0.12),
            ]
        )
        pipe(canvas, canvas.line(strap, 0.04), trim, 0.1, 0.02)
    else:
        ring = ellipse(0.0, top + 0.02, wide_top * 0.62, abs(handle - top), 180.0, 360.0)
        pipe(canvas, canvas.line(ring, 0.075), trim if rng.integers(2) else metal, 0.25, 0.035)

    corner = 0.07
    half = outline(
        [(0.0, top + (0.03 if not flap else 0.0)), (wide_top * 0.6, top + 0.008), (wide_top, top)],
        [(wide_top, top), ((wide_top + wide) / 2 + 0.02, (top + bottom) / 2), (wide, bottom - corner)],
        [(wide, bottom - corner), (wide - 0.02, bottom - 0.02), (wide - corner, bottom)],
        [(wide - corner, bottom), (0.0, bottom + 0.012)],
    )
    part = canvas.area(mirrored(half))
    height = np.asarray(creases(canvas, part, 80, 0.6, 0.25) * 0.008 + creases(canvas, part, 20, 0.4, 0.25) * 0.005, np.float32)
    canvas.lay(
        part,
        print_.paint(np.asarray(part.x + height, np.float32), np.asarray(part.y + height, np.float32)),
        cloth(canvas, part, height, puff=0.07, depth=1.3),
    )
    seam(
        canvas,
        mirrored(
            outline(
                [
                    (wide_top - 0.035, top + 0.03),
                    ((wide_top + wide) / 2 - 0.02, (top + bottom) / 2),
                    (wide - 0.045, bottom - 0.07),
                ],
                [(wide - 0.08, bottom - 0.045), (0.0, bottom - 0.035)],
            )[::-1]
        ),
        depth=0.12,
    )
    canvas.stand(
        np.array(
            [
                (-wide + 0.06, bottom - 0.02),
                (wide - 0.06, bottom - 0.02),
                (wide - 0.10, bottom + 0.04),
                (-wide + 0.10, bottom + 0.04),
            ]
        )
    )

    if flap:
        drop = top + (bottom - top) * float(rng.uniform(0.42, 0.62))
        lid = canvas.area(
            mirrored(
                outline(
                    [(0.0, top - 0.035), (wide_top - 0.05, top - 0.03), (wide_top + 0.012, top + 0.03)],
                    [(wide_top + 0.016, top + 0.06), (wide_top + 0.02, drop - 0.14), (wide_top * 0.78, drop - 0.02), (0.0, drop)],
                )
            )
        )
        canvas.darken(
            canvas.area(
                mirrored(
                    outline(
                        [(0.0, top), (wide_top, top)],
                        [(wide_top + 0.01, drop - 0.10), (wide_top * 0.78, drop + 0.02), (0.0, drop + 0.045)],
                    )
                )
            ),
            0.16,
        )
        lid_height = creases(canvas, lid, 10, 0.6, 0.3) * 0.006
        canvas.lay(
            lid,
            print_.paint(np.asarray(lid.x + 0 * lid.y, np.float32), np.asarray(lid.y + 0 * lid.x, np.float32)),
            cloth(canvas, lid, lid_height, puff=0.05),
        )
        clasp_y = drop - 0.03
    else:
        rim = spline([(-wide_top + 0.01, top + 0.055), (0.0, top + 0.08), (wide_top - 0.01, top + 0.055)])
        seam(canvas, rim, depth=0.2)
        clasp_y = top + 0.07
    if product.has("an outer pocket"):
        low = bottom - 0.12
        pocket = canvas.area(
            mirrored(
                outline(
                    [(0.0, low - 0.30), (wide * 0.60, low - 0.30)],
                    [(wide * 0.62, low - 0.05), (wide * 0.54, low)],
                    [(wide * 0.54, low), (0.0, low + 0.01)],
                )
            )
        )
        tone = trim if product.pattern == "plain" or rng.integers(2) else print_.first
        canvas.lay(pocket, tone, cloth(canvas, pocket, puff=0.04))
    if product.has("two handles"):
        inset = wide_top * 0.52
        loop = spline(
            [
                (-inset, top + 0.16),
                (-inset * 0.96, (top + handle) / 2),
                (-inset * 0.45, handle),
                (inset * 0.45, handle),
                (inset * 0.96, (top + handle) / 2),
                (inset, top + 0.16),
            ]
        )
        pipe(canvas, canvas.line(loop, 0.055), trim, 0.1, 0.028)
        for side in (-1.0, 1.0):
            canvas.lay(canvas.line(np.array([(side * inset, top + 0.15), (side * inset, top + 0.151)]), 0.06), metal, 1.0)
    if product.has("a metal clasp"):
        clasp = canvas.area(ellipse(0.0, clasp_y, 0.075, 0.055))
        pipe(canvas, clasp, metal, 0.6, 0.05)
