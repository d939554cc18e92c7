"""Patterns: what to paint at any point of a surface, whatever shape it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot.sources.rendering.canvas import Canvas, Field
from packshot.sources.rendering.product import PALETTE, Product


def colour_of(name: str) -> Field:
    """A named colour as float32 sRGB in 0..1."""
    return np.array(PALETTE[name], np.float32) / np.float32(255)


def mixed(first: Field, second: Field, share: Field | float) -> Field:
    """`first` where the share is 0, `second` where it is 1."""
    weight = np.asarray(share, np.float32)[..., None]
    return np.asarray(first + (second - first) * weight, np.float32)


@dataclass(frozen=True, slots=True)
class Print:
    """A product's pattern with its measures drawn: what to paint at any point (u, v) of its surface."""

    name: str
    first: Field
    second: Field
    third: Field
    period: float
    phase: float
    duty: float
    upright: bool
    sharpness: float
    """Pixels a unit of the frame."""

    @classmethod
    def of(cls, product: Product, canvas: Canvas, grain: float = 1.0) -> Print:
        """Draw the measures of a product's pattern; `grain` makes it coarser (above 1) or finer."""
        rng = canvas.rng
        jitter = rng.normal(0.0, 0.012, (2, 3)).astype(np.float32)
        first = colour_of(product.colour) + jitter[0]
        second = colour_of(product.second_colour) + jitter[1]
        third = mixed(first, colour_of("yellow" if product.second_colour != "yellow" else "orange"), 0.8)
        return cls(
            name=product.pattern,
            first=first,
            second=second,
            third=third,
            period=float(rng.uniform(0.8, 1.25)) * grain,
            phase=float(rng.uniform(0.0, 1.0)),
            duty=float(rng.uniform(0.34, 0.56)),
            upright=bool(rng.integers(3) == 0),
            sharpness=canvas.side / 2.0,
        )

    def paint(self, u: Field, v: Field) -> Field:
        """The surface's colours, (3,) where it is plain, else (H, W, 3); u runs across the surface, v down it, in frame units."""
        if self.name == "plain":
            return self.first
        across, down = np.broadcast_arrays(u, v)
        if self.name == "gradient":
            return mixed(self.first, self.second, ramp(down, -0.25 + 0.3 * self.phase, 0.75))
        if self.name == "two-tone":
            return mixed(self.first, self.second, self._edge(down - (0.05 + 0.3 * self.phase)))
        if self.name == "striped":
            return mixed(self.first, self.second, self._bars(across if self.upright else down, 0.30, self.duty))
        if self.name == "pinstriped":
            return mixed(self.first, self.second, self._bars(across, 0.17, 0.24))
        if self.name == "checked":
            period = 0.32
            bars = self._bars(across, period, 0.5) + self._bars(down, period, 0.5)
            return mixed(self.first, self.second, bars * np.float32(0.5))
        if self.name == "chevron":
            period = 0.32 * self.period
            zigzag = np.abs((across / period + self.phase) % 1.0 - 0.5) * period
            return mixed(self.first, self.second, self._bars(np.asarray(down + zigzag, np.float32), 0.24, 0.5))
        if self.name == "dotted":
            return mixed(self.first, self.second, self._edge(0.27 * 0.30 * self.period - self._rings(across, down, 0.27)[0]))
        return self._flowers(across, down)

    def _edge(self, distance: Field) -> Field:
        return np.asarray(np.clip(distance * np.float32(self.sharpness) + 0.5, 0.0, 1.0), np.float32)

    def _bars(self, along: Field, period: float, duty: float) -> Field:
        period *= self.period
        place = np.abs((along + np.float32(self.phase * period)) % np.float32(period) - np.float32(period / 2))
        return self._edge(np.float32(duty * period / 2) - place)

    def _rings(self, across: Field, down: Field, period: float) -> tuple[Field, Field, Field]:
        """The distance to the next of a lattice of centres in brick order, and the place relative to it."""
        period *= self.period
        row = np.floor(down / np.float32(period * 0.866) + np.float32(self.phase))
        y = (down / np.float32(period * 0.866) + np.float32(self.phase) - row - 0.5) * np.float32(period * 0.866)
        x = ((across / np.float32(period) + (row % 2) * np.float32(0.5) + np.float32(self.phase)) % 1.0 - 0.5) * np.float32(
            period
        )
        return np.sqrt(x * x + y * y), x, y

    def _flowers(self, across: Field, down: Field) -> Field:
        far, x, y = self._rings(across, down, 0.40)
        petals = np.float32(0.40 * self.period) * (0.27 + 0.10 * np.cos(5.0 * np.arctan2(y, x) + np.float32(6.3 * self.phase)))
        ground = mixed(self.first, self.second, self._edge(petals - far))
        return mixed(ground, self.third, self._edge(np.float32(0.10 * 0.40 * self.period) - far))


def ramp(value: Field, start: float, stop: float) -> Field:
    """0 before the start, 1 after the stop, smooth between."""
    t = np.clip((value - np.float32(start)) * np.float32(1.0 / (stop - start)), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)
