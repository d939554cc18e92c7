"""Real photos, made worse by known amounts: the units in which thresholds are written.

"No farther from real photos than real photos blurred by one pixel" travels to another catalogue; "below 0.05" does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def _each(change: Callable[[Pixels], Pixels]) -> Callable[[Pixels, Labels], tuple[Pixels, Labels]]:
    """A rung that changes photo by photo, uint8 (H, W, 3)."""

    def degrade(photos: Pixels, categories: Labels) -> tuple[Pixels, Labels]:
        changed = np.stack([change(np.ascontiguousarray(photo.transpose(1, 2, 0))) for photo in photos])
        return changed.transpose(0, 3, 1, 2), categories

    return degrade


def _blur(sigma: float) -> Callable[[Pixels], Pixels]:
    def change(photo: Pixels) -> Pixels:
        import cv2

        return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), dtype=np.uint8)

    return change


def _compress(photo: Pixels) -> Pixels:
    import cv2

    _, encoded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 50])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def _brighten(photo: Pixels) -> Pixels:
    return np.minimum(photo.astype(np.uint16) + 26, 255).astype(np.uint8)


def _add_noise(photos: Pixels, categories: Labels) -> tuple[Pixels, Labels]:
    noise = np.random.default_rng(0).normal(0, 0.05 * 255, photos.shape)
    return np.clip(np.round(photos + noise), 0, 255).astype(np.uint8), categories


def _drop_largest(photos: Pixels, categories: Labels) -> tuple[Pixels, Labels]:
    """Leave out the largest category, and fill its place with others."""
    kept = np.flatnonzero(categories != np.bincount(categories).argmax())
    rows = np.resize(kept, len(photos)) if len(kept) else np.arange(len(photos))
    return photos[rows], categories[rows]


def _repeat_few(photos: Pixels, categories: Labels) -> tuple[Pixels, Labels]:
    """A twentieth of the photos, twenty times."""
    few = np.arange(0, len(photos), 20)
    rows = np.resize(few, len(photos))
    return photos[rows], categories[rows]


RUNGS: Mapping[str, Callable[[Pixels, Labels], tuple[Pixels, Labels]]] = {
    "real": lambda photos, categories: (photos, categories),
    "blur_half_px": _each(_blur(0.5)),
    "blur_1px": _each(_blur(1.0)),
    "blur_2px": _each(_blur(2.0)),
    "noise_5pct": _add_noise,
    "jpeg_q50": _each(_compress),
    "brighter_10pct": _each(_brighten),
    "largest_category_missing": _drop_largest,
    "few_repeated": _repeat_few,
}
"""Each makes of photos (N, 3, H, W) and their categories as many worse ones. The first makes them no worse."""

CLIMBING = ("kid", "kid_pixels", "precision", "recall", "density", "coverage")
"""What is measured on every rung."""
OF_REAL_PHOTOS = ("fd_catalog", "class_consistency", "intra_class_ssim", "copy_rate", "authenticity", "copying_z")
"""What is measured on unseen real photos as well."""
OF_ATTRIBUTES = ("attribute_consistency",)
"""And where models are conditioned on attributes."""
BASELINES = ("mean_photo", "nearest_photo")
"""Beside PCA, whose size is the model's."""

REFERENCE_NAMES: tuple[str, ...] = (
    *(f"{metric}_{rung}" for metric in CLIMBING for rung in RUNGS),
    *(f"{metric}_real" for metric in (*OF_REAL_PHOTOS, *OF_ATTRIBUTES)),
    *(f"{metric}_{baseline}" for metric in ("psnr", "ssim") for baseline in BASELINES),
)
"""What a bound may be written against."""
