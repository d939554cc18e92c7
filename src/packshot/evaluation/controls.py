"""Controls: pictures of which it is known what a gate must say. A policy under which one of them fares otherwise judges nothing.

They stand in for a model's new pictures: real photos that nobody has learnt from must pass, planted frauds must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from packshot.evaluation.baselines import mean_picture
from packshot.evaluation.evidence import Evidence, Labels, Pixels, RealSide, pick, spread
from packshot.evaluation.ladder import RUNGS
from packshot.evaluation.metrics import due_metrics, measure
from packshot.records import Control, Score

Made = tuple[Pixels, Labels]
"""Pictures, uint8 (N, 3, H, W), and the category that each is said to show (N,)."""


@dataclass(frozen=True, slots=True)
class Plant:
    """How a control is made of the real photos, and what a gate must say of it."""

    must: Literal["pass", "fail"]
    make: Callable[[RealSide], Made]


def _rung(name: str) -> Callable[[RealSide], Made]:
    return lambda real: RUNGS[name](np.asarray(real.unseen.images), real.unseen.categories)


def _mean(real: RealSide) -> Made:
    return mean_picture(np.asarray(real.training.images), len(real.unseen)), real.unseen.categories


def _copies(noise: float) -> Callable[[RealSide], Made]:
    """Training photos, with normal noise of so many grey levels."""

    def make(real: RealSide) -> Made:
        rows = spread(real.training.categories)[: len(real.unseen)]
        copied = pick(real.training, np.sort(rows))
        pictures = copied.images + np.random.default_rng(0).normal(0, noise, copied.images.shape) if noise else copied.images
        return np.clip(np.round(pictures), 0, 255).astype(np.uint8), copied.categories

    return make


def _two_missing(real: RealSide) -> Made:
    """Only what is not of the two largest categories, as often as it takes."""
    categories = real.unseen.categories
    largest = np.argsort(-np.bincount(categories), kind="stable")[:2]
    kept = np.flatnonzero(~np.isin(categories, largest))
    rows = np.resize(kept, len(categories)) if len(kept) else np.zeros(len(categories), dtype=np.int64)
    return np.asarray(real.unseen.images)[rows], categories[rows]


def _swapped(real: RealSide) -> Made:
    """Real photos, each said to show the next category."""
    return np.asarray(real.unseen.images), (real.unseen.categories + 1) % len(real.names)


CONTROLS: Mapping[str, Plant] = {
    "real": Plant("pass", _rung("real")),
    "mean_photo": Plant("fail", _mean),
    "training_copies": Plant("fail", _copies(0.0)),
    "noisy_copies": Plant("fail", _copies(5.0)),
    "few_repeated": Plant("fail", _rung("few_repeated")),
    "two_categories_missing": Plant("fail", _two_missing),
    "categories_swapped": Plant("fail", _swapped),
    "brighter_10pct": Plant("fail", _rung("brighter_10pct")),
}


def measure_controls(real: RealSide) -> tuple[Control, ...]:
    """Measure each control by every metric of new pictures, as a model's are."""
    names = due_metrics(real, "pictures")
    measured = []
    for name, plant in CONTROLS.items():
        drawn, asked = plant.make(real)
        told = real.unseen.conditions if name == "real" else None
        found = measure(Evidence(real, drawn, asked, conditions=told), names)
        scores = tuple(Score(metric=metric, estimate=estimate) for metric, estimate in found.items())
        measured.append(Control(name=name, must=plant.must, scores=scores))
    return tuple(measured)
