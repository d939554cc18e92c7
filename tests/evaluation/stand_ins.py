"""A real side and evidences that cost next to nothing, for simulations: pictures are noise of 16 pixels, eyes are averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.evidence import Evidence, RealSide, Redrawn, Scores
from packshot.images.shards import Split

SIDE = 16
KINDS = ("cup", "hat")


@dataclass(frozen=True)
class Averages:
    """Eyes that see the mean of each quarter of each channel, (N, 12), and a category by the brighter half."""

    digest: str = "a" * 64

    def see(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        half = SIDE // 2
        blocks = pictures.reshape(len(pictures), 3, 2, half, 2, half).mean(axis=(3, 5), dtype=np.float64)
        return blocks.reshape(len(pictures), -1) / 25.0

    def name(self, seen: NDArray[np.float64]) -> NDArray[np.int64]:
        return (25.0 * seen.mean(axis=1) > 128).astype(np.int64)

    def look(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        return (pictures.astype(np.float32),)


def paint(seed: int, count: int, *, shift: float = 0.0) -> NDArray[np.uint8]:
    """Pictures whose quarters vary from one to the next, brighter by `shift` grey levels."""
    random = np.random.default_rng(seed)
    coarse = random.normal(128 + shift, 25, (count, 3, 2, 2)).repeat(SIDE // 2, axis=2).repeat(SIDE // 2, axis=3)
    return np.clip(coarse + random.normal(0, 8, coarse.shape), 0, 255).astype(np.uint8)


def split(seed: int, count: int, name: str) -> Split:
    ids = tuple(f"{name}-{row}" for row in range(count))
    return Split(images=paint(seed, count), categories=np.arange(count) % 2, ids=ids, groups=ids)


def make_real(count: int = 160, seed: int = 0, **other: object) -> RealSide:
    """A real side of `count` photos on each of its shelves."""
    shelves = {
        name: split(seed * 10 + place, count, name) for place, name in enumerate(("training", "reference", "held_out", "unseen"))
    }
    eyes = Averages()
    return RealSide(names=KINDS, **shelves, catalog=eyes, pixels=eyes, neighbours=5, seed=seed, resamples=1000, **other)


def make_evidence(
    real: RealSide, seed: int, *, noise: float = 10.0, shift: float = 0.0, count: int = 160, how: str = "encoded"
) -> Evidence:
    """What a model drew: photos again with so much noise, and new pictures that are brighter by `shift`."""
    photos = np.asarray(real.held_out.images)
    again = np.clip(photos + np.random.default_rng(seed).normal(0, noise, photos.shape), 0, 255).astype(np.uint8)
    nothing = Scores(np.zeros(len(photos)), np.zeros(len(photos)))
    redrawn = Redrawn(real.held_out, again, how, nothing, nothing)
    return Evidence(real, paint(seed + 10_000, count, shift=shift), np.arange(count) % 2, redrawn)
