"""A catalogue small enough for the tests of the gate: shapes of four kinds on white, in many colours, places and sizes."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from packshot.images.shards import Split
from packshot.records import Condition

KINDS = ("bar", "disc", "ring", "square")
SHADE = (Condition(name="shade", kind="label", values=("cold", "warm")), Condition(name="price", kind="number"))
"""What is known of shapes: whether they have much red in them, but for each seventh; and a price, which nobody can see."""


def draw_shapes(count: int, *, side: int = 32, seed: int = 0, conditions: bool = False) -> Split:
    """`count` pictures, uint8 (N, 3, side, side), each of its own group; with `conditions`, those of SHADE."""
    random = np.random.default_rng(seed)
    categories = np.arange(count) % len(KINDS)
    drawn = [_draw(KINDS[category], side, random) for category in categories]
    images = np.stack([image for image, _ in drawn])
    ids = tuple(hashlib.sha256(f"{seed} {row}".encode()).hexdigest() for row in range(count))
    told = np.zeros((count, 4 if conditions else 0), dtype=np.float32)
    if conditions:
        warm = np.array([red > 110 for _, red in drawn])
        told[np.arange(count), warm.astype(int)] = np.arange(count) % 7 != 6
        told[:, 2:] = np.stack([np.sin(np.arange(count)), np.ones(count)], axis=1)
    return Split(images=images, categories=categories.astype(np.int64), ids=ids, groups=ids, conditions=told)


def _draw(kind: str, side: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
    """A shape, and how much red is in it."""
    fine = 4 * side
    canvas = np.full((fine, fine, 3), 255, dtype=np.uint8)
    colour = tuple(int(random.integers(0, most)) for most in (220, 150, 90))
    x, y = (int(value) for value in random.integers(int(0.4 * fine), int(0.6 * fine), 2))
    size = int(random.integers(int(0.15 * fine), int(0.33 * fine)))
    if kind == "bar":
        cv2.rectangle(canvas, (x - size // 3, y - size), (x + size // 3, y + size), colour, -1)
    elif kind == "disc":
        cv2.circle(canvas, (x, y), size, colour, -1)
    elif kind == "ring":
        cv2.circle(canvas, (x, y), size, colour, max(2, size // 3))
    else:
        cv2.rectangle(canvas, (x - size, y - size), (x + size, y + size), colour, -1)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.int64)
    noise = random.normal(0, 3, small.shape)
    return np.clip(small + noise, 0, 255).astype(np.uint8).transpose(2, 0, 1), colour[0]
