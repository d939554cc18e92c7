"""A source that draws its own product photos: no shop, no network, the same pictures on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from packshot.records import BadPhoto
from packshot.sources.base import Photo, Pixels, Source
from packshot.sources.rendering.product import Product, design, kind_at


@dataclass(frozen=True, slots=True)
class Rendered:
    """One drawn photograph and the truth about it."""

    pixels: Pixels
    coverage: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    """How much of each pixel the product covers, uint8 (H, W)."""
    product: Product
    sku: str


class Synthetic(Source):
    """A catalogue of drawn garments and household goods; photo number i depends on the seed and on i alone."""

    kind: Literal["synthetic"] = "synthetic"
    path: str = Field(min_length=1)
    """The renderer, as a source's photos: DVC runs ingest again when what stands there changes."""
    count: int = Field(ge=1, le=1_000_000)
    seed: int = Field(0, ge=0, lt=2**32)
    size: int = Field(128, ge=32, le=1024)

    def describe(self) -> str:
        return f"synthetic, {self.count} photos of {self.size} x {self.size} px, seed {self.seed}"

    def attribute_names(self, root: Path) -> frozenset[str]:
        return frozenset({"colour", "pattern", "caption"})

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        for index in range(self.count):
            product = product_at(self.seed, index)
            yield Photo(
                name=f"{product.category}/{sku_of(index)}.png",
                category=product.category,
                content=partial(draw, self.seed, index, self.size),
                sku=sku_of(index),
                attributes={"colour": product.colour, "pattern": product.pattern, "caption": product.caption},
            )


def sku_of(index: int) -> str:
    """The stock-keeping unit of product number `index`."""
    return f"SYN-{index:06d}"


def product_at(seed: int, index: int) -> Product:
    """Product number `index`, without drawing it."""
    return design(_chances(seed, index, 0), kind_at(index))


def draw(seed: int, index: int, size: int) -> Pixels:
    """The pixels of photo number `index`, uint8 (size, size, 3), RGB."""
    return render(seed, index, size).pixels


def render(seed: int, index: int, size: int) -> Rendered:
    """Photograph product number `index`: the same arguments give the same picture, in any process and in any catalogue."""
    from packshot.sources.rendering.studio import shoot

    product = product_at(seed, index)
    pixels, coverage = shoot(product, size, _chances(seed, index, 1))
    return Rendered(pixels, coverage, product, sku_of(index))


def _chances(seed: int, index: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, stream))))
