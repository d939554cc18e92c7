"""Where a product is laid out and photographed: what draws each category, and whether it stands or hangs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from packshot.sources.rendering.accessories import bag, shoe
from packshot.sources.rendering.bottles import bottle
from packshot.sources.rendering.canvas import Canvas
from packshot.sources.rendering.furniture import chair, lamp
from packshot.sources.rendering.hats import hat
from packshot.sources.rendering.pottery import bowl, mug, teapot, vase
from packshot.sources.rendering.product import Product
from packshot.sources.rendering.scene import OVERSAMPLING, arrange, photograph
from packshot.sources.rendering.skirts import dress, skirt
from packshot.sources.rendering.tops import longsleeve, t_shirt
from packshot.sources.rendering.trousers import trousers

_HANGING: Mapping[str, Callable[[Canvas, Product], None]] = {
    "t-shirt": t_shirt,
    "longsleeve": longsleeve,
    "dress": dress,
    "trousers": trousers,
    "skirt": skirt,
}
_STANDING: Mapping[str, Callable[[Canvas, Product], None]] = {
    "hat": hat,
    "shoe": shoe,
    "bag": bag,
    "mug": mug,
    "vase": vase,
    "lamp": lamp,
    "chair": chair,
    "bottle": bottle,
    "teapot": teapot,
    "bowl": bowl,
}


def shoot(product: Product, size: int, chances: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photograph a product: pixels (size, size, 3), RGB, and how much of each the product covers, (size, size), both uint8."""
    standing = product.category in _STANDING
    scene = arrange(chances, from_left=product.from_left, mirror=product.from_left and product.kind.sided, standing=standing)
    canvas = Canvas(size * OVERSAMPLING, scene.light, chances)
    (_STANDING if standing else _HANGING)[product.category](canvas, product)
    return photograph(canvas, scene, chances, size, standing)
