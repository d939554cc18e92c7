"""torchvision's data sets of small labelled pictures, as a source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from packshot.images.labelled import LabelledName, LabelledSplit, load_labelled
from packshot.records import BadPhoto
from packshot.sources.base import Photo, Pixels, Source


class Torchvision(Source):
    """One split of a data set by its name; its files lie below `path`, and are downloaded where they do not.

    A picture's class is its category, and its number there a part of its name: it stays the same whatever `count` is.
    """

    kind: Literal["torchvision"]
    name: LabelledName
    path: str = Field(min_length=1)
    split: LabelledSplit = "train"
    count: int | None = Field(None, ge=1)
    """Only so many of the first; all where it is not said."""

    def describe(self) -> str:
        return f"torchvision {self.name}, {self.split}{f', the first {self.count}' if self.count else ''}"

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        found = load_labelled(self.name, root / self.path, self.split)
        for index, label in enumerate(found.labels[: self.count].tolist()):
            category = found.classes[label]
            pixels = as_rgb(found.pixels[index])
            yield Photo(
                name=f"{category}/{self.split}-{index:06d}.png",
                category=category,
                content=partial(as_rgb, pixels),
                sha256=sha256(pixels.tobytes()).hexdigest(),
            )


def as_rgb(pixels: Pixels) -> Pixels:
    """A picture with three channels, uint8 (H, W, 3), from one with three or none."""
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2))
