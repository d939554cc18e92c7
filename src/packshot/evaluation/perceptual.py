"""How unlike two pictures look: the distance of a trained network's activations (Zhang et al. 2018, arXiv 1801.03924).

It is not LPIPS, whose networks learnt from ImageNet and whose channels are weighted by what people judged: here the network is
the catalogue's own classifier, and every channel weighs the same. A report calls it `perceptual_catalog`.

The network of a VAE's perceptual term (models/perception.py) is another one: of another design, trained anew within each run,
from the run's seed, with a width of its own. But it learns from all training photos, also from the half that these eyes learn
from, and its distance has the same form, so that models trained with the term may be favoured over those trained without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.psnr import check_range

BATCH = 32
SMALLEST = 1e-10
"""The length below which activations are not scaled up to 1: a place where nothing is seen."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Activations = NDArray[np.float32]


class LayeredEyes(Protocol):
    """Something that turns pictures, uint8 (N, 3, S, S), into activations of several layers, each picture by itself."""

    def look(self, pictures: Pixels) -> Sequence[Activations]:
        """The activations of each layer, (N, C, H, W) with sizes of its own."""


def perceptual_distance(eyes: LayeredEyes, pictures: Pixels, targets: Pixels) -> Floats:
    """Measure how unlike its target each picture looks, both uint8 (N, 3, S, S): (N,), 0 for equal ones and at most 4.

    Equation 1 with w = 1, and the mean over layers in place of their sum: more layers then give no larger numbers. It is blind
    to detail that the eyes average away. Raises ValueError by `check_range`.
    """
    check_range(pictures, targets, 255)
    parts = []
    for at in range(0, len(pictures), BATCH):
        rows = slice(at, at + BATCH)
        layers = zip(eyes.look(pictures[rows]), eyes.look(targets[rows]), strict=True)
        parts.append(np.mean([_layer_distance(one, other) for one, other in layers], axis=0))
    return np.concatenate(parts) if parts else np.empty(0)


def _layer_distance(one: Activations, other: Activations) -> Floats:
    """The squared distance over channels, the mean over places: (N,)."""
    return np.asarray(np.square(_unit(one) - _unit(other)).sum(axis=1).mean(axis=(1, 2)))


def _unit(activations: Activations) -> Floats:
    """Of length 1 over channels at each place, in float64."""
    wide = activations.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), SMALLEST))
