"""The drawn catalogue: deterministic, balanced, varied, and what its attributes say."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from packshot.images.fingerprint import Fingerprints, fingerprint, near_duplicates
from packshot.sources.base import Photo
from packshot.sources.rendering import studio
from packshot.sources.rendering.canvas import Canvas
from packshot.sources.rendering.product import KINDS, PALETTE, PATTERNS
from packshot.sources.rendering.scene import photograph
from packshot.sources.synthetic import Rendered, Synthetic, product_at, render

SEED = 7
RENDERER = "src/packshot/sources/rendering"


@cache
def catalogue(size: int = 64) -> tuple[Rendered, ...]:
    return tuple(render(SEED, index, size) for index in range(500))


def lab(colours: object) -> NDArray[np.float64]:
    """Colours, uint8 (N, 3) RGB, as CIE Lab (N, 3)."""
    unit = np.asarray(colours, np.float32).reshape(1, -1, 3) / 255
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB)[0], np.float64)


def photos(count: int, size: int = 64) -> list[Photo]:
    listed = list(Synthetic(path=RENDERER, count=count, seed=SEED, size=size).photos(Path()))
    assert all(isinstance(photo, Photo) for photo in listed)
    return [photo for photo in listed if isinstance(photo, Photo)]


def test_a_photo_is_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib; from packshot.sources.synthetic import render; "
        f"print(hashlib.sha256(b''.join(render({SEED}, i, 64).pixels.tobytes() for i in range(15))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    mine = hashlib.sha256(b"".join(photo.pixels.tobytes() for photo in catalogue()[:15])).hexdigest()
    assert other.stdout.strip() == mine


def test_a_photo_does_not_depend_on_what_was_drawn_before_it() -> None:
    drawn = [render(SEED, index, 64).pixels for index in reversed(range(30))][::-1]
    assert all(np.array_equal(pixels, photo.pixels) for pixels, photo in zip(drawn, catalogue(), strict=False))


def test_a_growing_catalogue_keeps_its_old_photos() -> None:
    few, many = photos(20), photos(60)
    assert [(photo.name, photo.attributes) for photo in few] == [(photo.name, photo.attributes) for photo in many[:20]]
    for one, other in zip(few, many, strict=False):
        assert callable(one.content)
        assert callable(other.content)
        assert np.array_equal(one.content(), other.content())


def test_another_seed_draws_other_products() -> None:
    assert not any(np.array_equal(render(SEED, index, 32).pixels, render(SEED + 1, index, 32).pixels) for index in range(15))


def test_a_photo_is_drawn_wherever_it_is_sent() -> None:
    photo = photos(1)[0]
    sent = pickle.loads(pickle.dumps(photo.content))
    assert np.array_equal(sent(), catalogue()[0].pixels)


def test_listing_says_what_drawing_shows() -> None:
    for index, photo in enumerate(photos(60)):
        drawn = catalogue()[index]
        assert photo.sku == drawn.sku == f"SYN-{index:06d}"
        assert photo.name == f"{drawn.product.category}/{drawn.sku}.png"
        assert photo.category == drawn.product.category
        assert photo.attributes == {
            "colour": drawn.product.colour,
            "pattern": drawn.product.pattern,
            "caption": drawn.product.caption,
        }


@pytest.mark.parametrize("size", [32, 50, 128, 200])
def test_a_photo_has_the_size_asked_for(size: int) -> None:
    photo = render(SEED, 3, size)
    assert photo.pixels.shape == (size, size, 3)
    assert photo.coverage.shape == (size, size)
    assert photo.pixels.dtype == photo.coverage.dtype == np.uint8


def test_a_photo_shows_the_same_at_every_size() -> None:
    for index in range(len(KINDS)):
        large = cv2.resize(render(SEED, index, 128).pixels, (32, 32), interpolation=cv2.INTER_AREA)
        small = cv2.resize(render(SEED, index, 64).pixels, (32, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(large.astype(float) - small).mean() < 7.0


def test_the_categories_take_turns_and_the_common_ones_come_more_often() -> None:
    turn = sum(kind.weight for kind in KINDS)
    counts = Counter(product_at(SEED, index).category for index in range(turn * 3))
    assert counts == {kind.category: 3 * kind.weight for kind in KINDS}
    assert len(counts) >= 10
    assert len({product_at(SEED, index).category for index in range(2 * len(KINDS))}) == len(KINDS)


def test_colours_and_patterns_all_occur() -> None:
    products = [product_at(SEED, index) for index in range(2000)]
    assert {product.colour for product in products} == set(PALETTE)
    assert {product.pattern for product in products} == set(PATTERNS)
    assert len(PALETTE) >= 12
    assert all(product.colour != product.second_colour for product in products)


def test_captions_tell_category_colour_and_pattern() -> None:
    for index in range(500):
        product = product_at(SEED, index)
        assert product.category in product.caption
        assert product.colour in product.caption
        article = "a pair of" if product.category == "trousers" else "an" if product.colour[0] in "aeiou" else "a"
        assert product.caption.startswith(f"{article} {product.colour} ")
        assert (product.pattern in product.caption) == (product.pattern != "plain")
        assert all(feature in product.caption for feature in product.features)


def test_a_plain_product_has_the_colour_of_its_name() -> None:
    names = list(PALETTE)
    palette = lab([PALETTE[name] for name in names])
    ranks = []
    for photo in catalogue():
        if photo.product.pattern == "plain":
            seen = lab(np.median(photo.pixels[photo.coverage > 250], axis=0))[0]
            nearest = [names[at] for at in np.argsort(np.linalg.norm(palette - seen, axis=1))]
            ranks.append(nearest.index(photo.product.colour))
    assert len(ranks) > 100
    assert np.mean(np.array(ranks) == 0) > 0.85
    assert np.mean(np.array(ranks) <= 2) > 0.97


def test_a_patterned_product_shows_both_of_its_colours() -> None:
    shown = []
    for photo in catalogue():
        if photo.product.pattern != "plain":
            pixels = lab(photo.pixels[photo.coverage > 250])
            first, second = lab([PALETTE[photo.product.colour], PALETTE[photo.product.second_colour]])
            share = float(np.mean(np.linalg.norm(pixels - second, axis=1) < np.linalg.norm(pixels - first, axis=1)))
            shown.append(0.03 < share < 0.97)
    assert len(shown) > 100
    assert np.mean(shown) > 0.95


def test_the_background_is_near_white_up_to_the_border() -> None:
    for photo in catalogue():
        frame = np.concatenate([photo.pixels[0], photo.pixels[-1], photo.pixels[:, 0], photo.pixels[:, -1]])
        assert frame.mean() > 228
        assert frame.min() > 170
        assert not np.concatenate([photo.coverage[0], photo.coverage[-1], photo.coverage[:, 0], photo.coverage[:, -1]]).any()


def test_a_product_fills_its_picture_but_not_all_of_it() -> None:
    fill = [float((photo.coverage > 127).mean()) for photo in catalogue()]
    assert min(fill) > 0.06
    assert max(fill) < 0.70


def test_no_product_is_cut_off_at_the_edge_of_its_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []

    def look(canvas: Canvas, *rest: Any, **named: Any) -> Any:
        coverage = canvas.layers[..., 3]
        cut.append(int(np.concatenate([coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]]).max() > 0))
        return photograph(canvas, *rest, **named)

    monkeypatch.setattr(studio, "photograph", look)
    for index in range(500):
        render(SEED + 1, index, 32)
    assert len(cut) == 500
    assert not any(cut)


def test_hardly_any_two_photos_are_near_duplicates() -> None:
    prints = Fingerprints.of([fingerprint(photo.pixels) for photo in catalogue()])
    pairs = list(near_duplicates(prints, 6))
    assert len({index for pair in pairs for index in pair}) <= 0.02 * len(catalogue())


def test_products_of_one_category_vary() -> None:
    for kind in KINDS:
        outlines = [photo.coverage / 255.0 for photo in catalogue() if photo.product.kind is kind]
        apart = [np.abs(one - other).mean() for at, one in enumerate(outlines) for other in outlines[:at]]
        assert np.median(apart) > 0.04, kind.category
        assert min(apart) > 0.004, kind.category


def test_the_categories_can_be_told_apart_at_32_pixels() -> None:
    small = [cv2.resize(photo.pixels, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64).ravel() for photo in catalogue()]
    names = [photo.product.category for photo in catalogue()]
    known, asked = np.array(small[:400]), np.array(small[400:])
    nearest = [int(np.argmin(((known - one) ** 2).sum(1))) for one in asked]
    right = np.mean([names[at] == name for at, name in zip(nearest, names[400:], strict=True)])
    assert right > 0.6


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": 10**9}, {"count": 5, "seed": -1}, {"count": 5, "size": 8}, {"count": 5, "sides": 3}, {}]
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Synthetic.model_validate({"path": RENDERER, **wrong})


def test_the_source_says_what_it_is() -> None:
    assert Synthetic(path=RENDERER, count=2000, seed=1).describe() == "synthetic, 2000 photos of 128 x 128 px, seed 1"


# The mean colours of the upper and the lower half of some photos. Processors may differ in the last digit of a sine, so these
# are not digests; but who changes how products look changes every catalogue drawn so far, and must say so here.
LOOKS: dict[int, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    0: ((208, 188, 186), (214, 196, 194)),
    3: ((221, 214, 223), (214, 209, 213)),
    5: ((205, 224, 238), (224, 230, 232)),
    8: ((239, 237, 235), (188, 177, 167)),
    11: ((243, 231, 220), (234, 225, 215)),
    13: ((204, 204, 196), (155, 155, 147)),
    17: ((218, 200, 188), (204, 184, 172)),
    22: ((231, 233, 231), (198, 200, 195)),
    30: ((191, 191, 185), (190, 190, 183)),
    41: ((202, 221, 222), (212, 216, 213)),
}


@pytest.mark.parametrize("index", LOOKS)
def test_the_catalogue_looks_as_it_always_did(index: int) -> None:
    pixels = catalogue()[index].pixels.astype(np.float64)
    halves = pixels.reshape(2, 32, 64, 3).mean((1, 2))
    assert np.abs(halves - np.array(LOOKS[index])).max() < 2.0
