"""Shoes and bags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field, Points, ellipse, mirrored, outline, shifted, spline, tube
from packshot.sources.rendering.clay import BLACK, BRASS, METAL, WHITE, pipe
from packshot.sources.rendering.cloth import cloth, creases, patch, printed, seam
from packshot.sources.rendering.prints import Print, mixed
from packshot.sources.rendering.product import Product


@dataclass(frozen=True, slots=True)
class Last:
    """The measures of a shoe, toe to the right: x of heel and ankle; y of the collar, of the sole's top and bottom."""

    heel: float
    ankle: float
    collar: float
    deck: float
    ground: float
    toe: float
    """How high the toe stands above the sole."""

    def throat(self) -> Points:
        """The line of the laces, from the ankle to the toe."""
        bend = (self.ankle + 0.09, self.collar * 0.55 + (self.deck - 0.38) * 0.45)
        return spline(
            [(self.ankle + 0.02, self.collar + 0.02), bend, (0.14, self.deck - 0.37), (0.40, self.deck - self.toe - 0.13)]
        )


def shoe(canvas: Canvas, product: Product) -> None:
    """A sneaker from the side, its toe to the right."""
    print_ = Print.of(product, canvas)
    high = product.has("a high top")
    last = Last(
        heel=-0.74,
        ankle=-0.22,
        collar=canvas.between(-0.52, -0.42) if high else canvas.between(-0.24, -0.16),
        deck=0.42 - canvas.between(0.11, 0.16),
        ground=0.42,
        toe=canvas.between(0.10, 0.15),
    )
    rubber = print_.second if canvas.chance(3) else WHITE
    _upper(canvas, last, print_)
    _trims(canvas, product, last, print_, rubber)
    throat = last.throat()
    patch(canvas, tube(shifted(throat, 0.012, -0.02), 0.048, 0.03), mixed(print_.first, print_.second, 0.15), brightness=0.95)
    seam(canvas, shifted(throat, -0.045, 0.075), depth=0.22)
    if product.has("laces"):
        _lace(canvas, throat, 6 if high else 5, WHITE if float(print_.first.mean()) < 0.8 else BLACK)
    else:
        for share in (0.2, 0.45, 0.7) if high else (0.34, 0.62):
            at = throat[int(share * (len(throat) - 1))]
            patch(
                canvas,
                tube(np.array([shifted(at, 0.05, -0.05), shifted(at, -0.13, 0.17)]), 0.04, 0.036),
                print_.second,
                puff=0.025,
            )
    _sole(canvas, last, rubber)


def _upper(canvas: Canvas, last: Last, print_: Print) -> None:
    heel, ankle, collar, deck, toe = last.heel, last.ankle, last.collar, last.deck, last.toe
    mouth = (heel + ankle) / 2
    canvas.lay(canvas.area(ellipse(mouth + 0.03, collar + 0.02, (ankle - heel) / 2 - 0.02, 0.05)), print_.first * 0.45)
    edge = outline(
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
        [(ankle, collar - 0.005), (mouth + 0.02, collar + 0.065), (heel + 0.06, collar - 0.02)],
    )
    region = canvas.area(edge)
    height = creases(canvas, region, 60, 0.4, 0.15) * 0.005 - 0.10 * (region.y - deck) ** 2
    canvas.lay(region, print_.paint(region.x, region.y + height), cloth(canvas, region, height, puff=0.07, depth=1.4))


def _trims(canvas: Canvas, product: Product, last: Last, print_: Print, rubber: Field) -> None:
    """The heel counter, the toe cap and the stripes."""
    heel, deck, toe = last.heel, last.deck, last.toe
    flank = [(heel + 0.022, deck - 0.24), (heel + 0.16, deck - 0.20), (heel + 0.30, deck + 0.02)]
    patch(
        canvas,
        outline(flank, [(heel + 0.03, deck + 0.02), (heel + 0.016, deck - 0.1), (heel + 0.022, deck - 0.24)]),
        print_.second,
    )
    nose = [(0.80, deck + 0.03), (0.83, deck - toe * 0.55), (0.74, deck - toe - 0.03), (0.66, deck - toe - 0.06)]
    cap = outline(nose, [(0.66, deck - toe - 0.06), (0.56, deck - 0.06), (0.53, deck + 0.03)])
    patch(canvas, cap, rubber if canvas.chance(2) else print_.first * 0.92, puff=0.05)
    if product.has("a side stripe"):
        for shift in (0.0, 0.12):
            band = spline([(-0.02 + shift, deck - 0.30), (-0.10 + shift, deck - 0.14), (-0.20 + shift, deck + 0.01)])
            patch(canvas, tube(band, 0.028, 0.034), print_.second, puff=0.02)


def _lace(canvas: Canvas, throat: Points, rows: int, tone: Field) -> None:
    for share in np.linspace(0.16, 0.92, rows):
        at = throat[int(share * (len(throat) - 1))]
        stroke = np.array([shifted(at, 0.035, -0.035), shifted(at, -0.035, 0.055)])
        canvas.darken(canvas.line(shifted(stroke, 0.008, 0.012), 0.03), 0.25)
        canvas.lay(canvas.line(stroke, 0.03), tone)


def _sole(canvas: Canvas, last: Last, tone: Field) -> None:
    heel, deck, ground, spring = last.heel, last.deck, last.ground, canvas.between(0.02, 0.05)
    edge = outline(
        [(heel, deck - 0.01), (heel - 0.025, ground - 0.05), (heel + 0.02, ground)],
        [(heel + 0.02, ground), (0.50, ground), (0.74, ground - spring), (0.84, deck + 0.02), (0.815, deck - 0.03)],
        [(0.80, deck - 0.02), (0.2, deck + 0.012), (-0.3, deck - 0.012), (heel, deck - 0.01)],
    )
    region = canvas.area(edge)
    low = np.clip((region.y - deck) / (ground - deck) - 0.75, 0.0, 1.0)
    canvas.lay(region, tone, cloth(canvas, region, puff=0.04) * (1.0 - 0.5 * low))
    canvas.darken(canvas.line(spline([(heel, deck), (-0.3, deck), (0.2, deck + 0.02), (0.80, deck - 0.01)]), 0.014), 0.35)
    tread = np.array([(heel - 0.01, ground - 0.035), (0.52, ground - 0.035), (0.76, ground - 0.04 - spring)])
    canvas.darken(canvas.line(tread, 0.012), 0.28)
    canvas.stand(
        np.array([(heel + 0.02, ground - 0.02), (0.60, ground - 0.02), (0.55, ground + 0.03), (heel + 0.06, ground + 0.03)])
    )


@dataclass(frozen=True, slots=True)
class Body:
    """The measures of a bag: half its width above and below, y of its top, its bottom and its handle."""

    above: float
    below: float
    top: float
    bottom: float
    handle: float


def bag(canvas: Canvas, product: Product) -> None:
    """A handbag from the front."""
    print_ = Print.of(product, canvas)
    flap = product.has("a flap")
    below = canvas.between(0.42, 0.64)
    body = Body(
        above=below * (canvas.between(0.93, 1.0) if flap else canvas.between(0.74, 1.06)),
        below=below,
        top=canvas.between(-0.20, -0.02),
        bottom=canvas.between(0.50, 0.76),
        handle=canvas.between(-0.74, -0.58),
    )
    trim = print_.second if product.pattern != "plain" else print_.first * 0.72
    metal = BRASS if canvas.chance(2) else METAL
    if product.has("two handles"):
        pipe(canvas, canvas.line(_loop(body, 0.05), 0.05), trim * 0.78, 0.1, 0.025)
    elif flap:
        x, middle = body.above, (body.top + body.handle) / 2
        up = [(-x + 0.03, body.top + 0.12), (-x * 0.78, middle - 0.05), (-0.12, body.handle - 0.06)]
        strap = spline([*up, (0.20, body.handle), (x * 0.82, middle), (x - 0.03, body.top + 0.12)])
        pipe(canvas, canvas.line(strap, 0.04), trim, 0.1, 0.02)
    else:
        ring = ellipse(0.0, body.top + 0.02, body.above * 0.62, body.top - body.handle, 180.0, 360.0)
        pipe(canvas, canvas.line(ring, 0.075), trim if canvas.chance(2) else metal, 0.25, 0.035)
    _pouch(canvas, body, print_)
    if flap:
        clasp = _flap(canvas, body, print_) - 0.03
    else:
        seam(
            canvas,
            spline([(-body.above + 0.01, body.top + 0.055), (0.0, body.top + 0.08), (body.above - 0.01, body.top + 0.055)]),
        )
        clasp = body.top + 0.07
    if product.has("an outer pocket"):
        low, wide = body.bottom - 0.12, body.below
        half = outline(
            [(0.0, low - 0.30), (wide * 0.60, low - 0.30)],
            [(wide * 0.62, low - 0.05), (wide * 0.54, low)],
            [(wide * 0.54, low), (0.0, low + 0.01)],
        )
        patch(canvas, mirrored(half), trim if product.pattern == "plain" or canvas.chance(2) else print_.first, puff=0.04)
    if product.has("two handles"):
        pipe(canvas, canvas.line(_loop(body, 0.0), 0.055), trim, 0.1, 0.028)
        for x in (-body.above * 0.52, body.above * 0.52):
            canvas.lay(canvas.line(np.array([(x, body.top + 0.15), (x, body.top + 0.151)]), 0.06), metal)
    if product.has("a metal clasp"):
        pipe(canvas, canvas.area(ellipse(0.0, clasp, 0.075, 0.055)), metal, 0.6, 0.05)


def _loop(body: Body, shift: float) -> Points:
    """One of two handles; the far one stands a little higher and to the right."""
    x, middle, high = body.above * 0.52, (body.top + body.handle) / 2, body.handle - shift
    left = [(-x + shift, body.top + 0.16), (-x * 0.94 + shift, middle), (-x * 0.45 + shift, high)]
    return spline([*left, (x * 0.45 + shift, high), (x * 0.94 + shift, middle), (x + shift, body.top + 0.16)])


def _pouch(canvas: Canvas, body: Body, print_: Print) -> None:
    above, below, top, bottom, corner = body.above, body.below, body.top, body.bottom, 0.07
    middle = (top + bottom) / 2
    half = outline(
        [(0.0, top + 0.02), (above * 0.6, top + 0.008), (above, top)],
        [(above, top), ((above + below) / 2 + 0.02, middle), (below, bottom - corner)],
        [(below, bottom - corner), (below - 0.02, bottom - 0.02), (below - corner, bottom)],
        [(below - corner, bottom), (0.0, bottom + 0.012)],
    )
    region = canvas.area(mirrored(half))
    height = creases(canvas, region, 80, 0.6, 0.25) * 0.008 + creases(canvas, region, 20, 0.4, 0.25) * 0.005
    printed(canvas, region, print_, height, puff=0.07)
    flank = [(above - 0.035, top + 0.03), ((above + below) / 2 - 0.02, middle), (below - 0.045, bottom - 0.07)]
    seam(canvas, mirrored(outline(flank, [(below - 0.08, bottom - 0.045), (0.0, bottom - 0.035)])), depth=0.12)
    ground = [
        (-below + 0.06, bottom - 0.02),
        (below - 0.06, bottom - 0.02),
        (below - 0.10, bottom + 0.04),
        (-below + 0.10, bottom + 0.04),
    ]
    canvas.stand(np.array(ground))


def _flap(canvas: Canvas, body: Body, print_: Print) -> float:
    """Lay the flap; y of its lower edge."""
    x, top = body.above, body.top
    drop = top + (body.bottom - top) * canvas.between(0.42, 0.62)
    shadow = outline([(0.0, top), (x, top)], [(x + 0.01, drop - 0.10), (x * 0.78, drop + 0.02), (0.0, drop + 0.045)])
    canvas.darken(canvas.area(mirrored(shadow)), 0.16)
    crest = [(0.0, top - 0.035), (x - 0.05, top - 0.03), (x + 0.012, top + 0.03)]
    lid = canvas.area(
        mirrored(outline(crest, [(x + 0.016, top + 0.06), (x + 0.02, drop - 0.14), (x * 0.78, drop - 0.02), (0.0, drop)]))
    )
    printed(canvas, lid, print_, creases(canvas, lid, 10, 0.6, 0.3) * 0.006, puff=0.05)
    return drop
