"""Pixels to files, with fixed settings: the same pixels give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from packshot.serving.marks import Mark, mark_jpeg, mark_png, mark_webp
from packshot.serving.requests import Format

Pixels = NDArray[np.uint8]
"""A picture, uint8 (H, W, 3), RGB."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one format is written."""

    media_type: str
    extension: str
    settings: tuple[int, ...]
    mark: Callable[[bytes, Mark], bytes]


ENCODINGS: Mapping[Format, Encoding] = {
    "png": Encoding("image/png", ".png", (cv2.IMWRITE_PNG_COMPRESSION, 3), mark_png),
    "jpeg": Encoding(
        "image/jpeg",
        ".jpg",
        (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        mark_jpeg,
    ),
    # A quality above 100 is OpenCV's word for lossless.
    "webp": Encoding("image/webp", ".webp", (cv2.IMWRITE_WEBP_QUALITY, 101), mark_webp),
}


def encode(pixels: Pixels, form: Format, mark: Mark) -> bytes:
    """Write a picture, uint8 (H, W, 3) RGB, with its mark."""
    encoding = ENCODINGS[form]
    done, encoded = cv2.imencode(encoding.extension, np.ascontiguousarray(pixels[..., ::-1]), encoding.settings)
    if not done:
        raise ValueError(f"OpenCV wrote no {form}")
    return encoding.mark(encoded.tobytes(), mark)
