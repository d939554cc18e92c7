"""What a model must stand beside: the mean photo, the nearest training photo, and PCA with as many numbers a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.memorisation import nearest_training

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

ROUNDS = 8
"""Of subspace iteration: after them the error of the reconstructions is within a thousandth of the best possible."""


@dataclass(frozen=True, slots=True)
class PrincipalComponents:
    """A linear autoencoder: the mean (D,) and orthonormal directions (K, D) of greatest variance, largest first."""

    mean: Floats
    directions: Floats

    @classmethod
    def fit(cls, pictures: Pixels, size: int) -> Self:
        """Find the `size` leading directions of pictures, uint8 (N, ...), by block subspace iteration (Halko et al. 2011, 4.4).

        Where there are no more than `size` independent pictures there are as many directions as pictures less one.
        """
        rows = _flatten(pictures)
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows -= mean
        size = max(1, min(size, len(rows) - 1, rows.shape[1]))
        wide = min(size + 24, *rows.shape)
        basis = np.random.default_rng(0).standard_normal((rows.shape[1], wide), dtype=np.float32)
        for _ in range(ROUNDS):
            basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
        _, _, turned = np.linalg.svd(rows @ basis, full_matrices=False)
        directions = (basis @ turned.T).T[:size]
        return cls(mean, np.ascontiguousarray(directions))

    def encode(self, pictures: Pixels) -> Floats:
        """The coordinates of pictures, uint8 (N, ...): float32 (N, K), in units of the full range of a pixel."""
        return np.asarray((_flatten(pictures) - self.mean) @ self.directions.T)

    def redraw(self, pictures: Pixels) -> Pixels:
        """Encode and decode pictures, uint8 (N, ...), clamped and rounded as a model's are."""
        return _to_pixels(self.encode(pictures) @ self.directions + self.mean, pictures.shape)


def mean_picture(training: Pixels, count: int) -> Pixels:
    """The mean of the training photos, `count` times."""
    mean = training.mean(axis=0, dtype=np.float64)
    return np.repeat(np.round(mean).astype(np.uint8)[None], count, axis=0)


def nearest_photos(pictures: Pixels, training: Pixels) -> Pixels:
    """For each of `pictures` the training photo with the least squared error."""
    _, nearest = nearest_training(_flatten(pictures).astype(np.float64), _flatten(training).astype(np.float64))
    return np.asarray(training[nearest])


def _flatten(pictures: Pixels) -> Floats:
    return np.asarray(pictures.reshape(len(pictures), -1), dtype=np.float32) / np.float32(255)


def _to_pixels(rows: Floats, shape: tuple[int, ...]) -> Pixels:
    return np.clip(np.round(rows * 255), 0, 255).astype(np.uint8).reshape(shape)
