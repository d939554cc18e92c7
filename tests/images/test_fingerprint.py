from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from packshot.images.alignment import aligned_misfit, misfit, misfit_floor
from packshot.images.decode import decode
from packshot.images.fingerprint import (
    LAYOUT_SIDE,
    MAX_DISTANCE,
    MAX_MISFIT,
    MAX_SCREENED,
    Fingerprints,
    coarse_vectors,
    fingerprint,
    group,
    near_duplicates,
    pixel_digest,
)
from packshot.images.nearness import near_pairs
from packshot.images.resize import fit_within
from tests.images.files import product

RADIUS = 14


def recompressed(pixels: np.ndarray, quality: int = 60) -> np.ndarray:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(sink.getvalue())))


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def cropped(pixels: np.ndarray, share: float = 0.03) -> np.ndarray:
    """Without `share` of each axis, a third of it above and on the left."""
    down, across = round(pixels.shape[0] * share), round(pixels.shape[1] * share)
    return pixels[down // 3 : pixels.shape[0] - down + down // 3, across // 3 : pixels.shape[1] - across + across // 3]


def mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def recoloured(pixels: np.ndarray) -> np.ndarray:
    """A little brighter, paler and turned by four degrees."""
    picture = ImageEnhance.Color(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(1.05)).enhance(0.9)
    channels = np.array(picture.convert("HSV"))
    channels[..., 0] += 3
    return np.asarray(Image.fromarray(channels, "HSV").convert("RGB"))


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half the size": lambda pixels: scaled(pixels, 0.5),
    "JPEG q60": recompressed,
    "2 pixels cropped": lambda pixels: pixels[2:-2, 2:-2],
    "3 % cropped": cropped,
    "mirrored": mirrored,
    "recoloured slightly": recoloured,
    "all of it": lambda pixels: recompressed(scaled(mirrored(recoloured(cropped(pixels[2:-2, 2:-2]))), 0.75)),
}


def brute_force(prints: Fingerprints, radius: int) -> list[tuple[int, int]]:
    """Every pair looked at, one by one."""
    coarse = coarse_vectors(prints.layouts)
    odd = np.array([-1.0 if column % 2 else 1.0 for row in range(5) for column in range(5) if 0 < row + column <= 4])
    found = []
    for i in range(len(coarse)):
        for j in range(i + 1, len(coarse)):
            for hashes, turn, flip in ((prints.hashes, 1.0, slice(None)), (prints.mirrored, odd, slice(None, None, -1))):
                one, other = (prints.layouts[at : at + 1].astype(np.float32) for at in (i, j))
                other = other[:, :, flip]
                if (
                    np.linalg.norm(coarse[i] * turn - coarse[j]) <= MAX_DISTANCE
                    and (int(prints.hashes[i]) ^ int(hashes[j])).bit_count() <= radius
                    and misfit(one, other)[0] <= MAX_SCREENED
                    and aligned_misfit(one, other)[0] <= MAX_MISFIT
                ):
                    found.append((i, j))
                    break
    return found


def as_pairs(found: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in found.tolist()]


def test_the_hash_is_the_signs_of_scipys_dct() -> None:
    pixels = product(1, 64, 64)
    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX), dtype=float)
    grey = np.floor(small @ [0.299, 0.587, 0.114] + 0.5)
    waves = dctn(grey, norm="ortho")[:8, :8].ravel()
    expected = waves > np.median(waves[1:])
    expected[0] = False
    assert fingerprint(pixels).phash == int("".join("01"[int(bit)] for bit in expected), 2)


def test_a_plain_picture_has_a_plain_fingerprint() -> None:
    print_ = fingerprint(np.full((30, 50, 3), 255, dtype=np.uint8))
    assert (print_.phash, print_.phash_mirrored, print_.layout) == (0, 0, b"\xff" * 3 * LAYOUT_SIDE**2)


@given(st.integers(0, 10_000))
def test_the_mirrored_hash_is_the_hash_of_the_mirror_image(seed: int) -> None:
    pixels = product(seed, 64, 64)
    one, other = fingerprint(pixels), fingerprint(mirrored(pixels))
    assert (one.phash_mirrored ^ other.phash).bit_count() <= 2
    assert (one.phash ^ other.phash_mirrored).bit_count() <= 2
    layouts = [np.frombuffer(each.layout, np.uint8).reshape(LAYOUT_SIDE, LAYOUT_SIDE, 3) for each in (one, other)]
    assert np.abs(layouts[0][:, ::-1].astype(int) - layouts[1]).max() <= 1


def test_planted_copies_are_found_and_strangers_are_not() -> None:
    photos = [product(seed, 200, 200) for seed in range(40)]
    copies = [copy(photos[index]) for index, copy in enumerate(COPIES.values())]
    prints = Fingerprints.of([fingerprint(photo) for photo in [*photos, *copies]])
    assert as_pairs(near_duplicates(prints, RADIUS)) == [(index, 40 + index) for index in range(len(COPIES))]


@pytest.fixture(scope="module")
def photographs(clothing: Path) -> list[np.ndarray]:
    files = random.Random(4).sample(sorted(clothing.glob("*/*.jpg")), 400)
    return [decode(file.read_bytes(), background=(255, 255, 255)).pixels for file in files]


@pytest.mark.photos
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_real_photos_are_found(photographs: list[np.ndarray], kind: str) -> None:
    copies = [COPIES[kind](photo) for photo in photographs[:100]]
    prints = [fingerprint(fit_within(np.ascontiguousarray(photo), 128)) for photo in [*photographs, *copies]]
    pairs = set(as_pairs(near_duplicates(Fingerprints.of(prints), RADIUS)))
    planted = {(index, len(photographs) + index) for index in range(len(copies))}
    assert len(planted & pairs) >= 0.95 * len(planted)
    assert len(pairs - planted) <= 0.01 * len(pairs) + 1


def relatives(chances: np.random.Generator, count: int) -> Fingerprints:
    """Fingerprints with many near misses: pictures of a few kinds, moved, recoloured, mirrored, with bits of hashes turned."""
    pictures = []
    for _ in range(count):
        pixels = scaled(product(int(chances.integers(6)), 48, 48), float(chances.uniform(0.6, 1.4)))
        edges = chances.integers(0, 4, 4)
        pixels = pixels[edges[0] : len(pixels) - edges[1], edges[2] : pixels.shape[1] - edges[3]]
        colours = np.clip(pixels * chances.uniform(0.9, 1.1, 3), 0, 255).astype(np.uint8)
        pictures.append(fingerprint(np.ascontiguousarray(colours[:, :: int(chances.choice([1, -1]))])))
    prints = Fingerprints.of(pictures)
    noise = [sum(1 << int(bit) for bit in {*chances.integers(0, 64, chances.integers(0, 7)).tolist()}) for _ in range(count)]
    return Fingerprints(prints.hashes ^ np.array(noise, dtype=np.uint64), prints.mirrored, prints.layouts)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(0, 16))
def test_the_pairs_are_those_of_comparing_all(seed: int, count: int, radius: int) -> None:
    chances = np.random.default_rng(seed)
    prints = relatives(chances, count)
    expected = brute_force(prints, radius)
    assert as_pairs(near_duplicates(prints, radius)) == expected
    new = chances.random(count) < 0.3
    assert as_pairs(near_duplicates(prints, radius, new=new)) == [(i, j) for i, j in expected if new[i] or new[j]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 700), st.integers(1, 300), st.floats(0.01, 0.6))
def test_near_vectors_are_those_of_comparing_all(seed: int, many: int, few: int, distance: float) -> None:
    chances = np.random.default_rng(seed)
    ones, others = (chances.normal(size=(count, 6)) * [0.5, 0.3, 0.2, 0.1, 0.1, 0.1] for count in (few, many))
    apart = np.linalg.norm(ones[:, None] - others[None], axis=2)
    doubtful = np.abs(apart - distance) < 1e-9
    found = np.concatenate([np.zeros((0, 2), np.int64), *near_pairs(ones, others, distance, alike=False)])
    told = np.zeros_like(doubtful)
    told[found[:, 0], found[:, 1]] = True
    assert len(found) == told.sum()
    assert ((told == (apart <= distance)) | doubtful).all()
    within = np.zeros((many, many), dtype=bool)
    for pairs in near_pairs(others, others, distance, alike=True):
        within[pairs[:, 0], pairs[:, 1]] = within[pairs[:, 1], pairs[:, 0]] = True
    apart = np.linalg.norm(others[:, None] - others[None], axis=2)
    assert ((within == (apart <= distance)) | (np.abs(apart - distance) < 1e-9)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 255.0))
def test_the_floor_of_a_misfit_is_below_it(seed: int, apart: float) -> None:
    chances = np.random.default_rng(seed)
    ones = np.concatenate([relatives(chances, 12).layouts, chances.integers(0, 256, (12, LAYOUT_SIDE, LAYOUT_SIDE, 3))])
    moved = np.clip(np.roll(ones, 1, axis=0) + chances.uniform(-apart, apart, ones.shape), 0, 255)
    for others in (moved, np.roll(ones, 1, axis=0), ones):
        pair = ones.astype(np.float32), others.astype(np.float32)
        assert (misfit_floor(*pair) <= misfit(*pair) * 1.0001 + 1e-4).all()


def test_one_shape_in_two_colours_is_two_photos() -> None:
    red, blue = np.full((40, 40, 3), 255, dtype=np.uint8), np.full((40, 40, 3), 255, dtype=np.uint8)
    red[8:30, 12:28], blue[8:30, 12:28] = (180, 20, 20), (20, 20, 180)
    assert not len(near_duplicates(Fingerprints.of([fingerprint(red), fingerprint(blue)]), 16))


def test_no_photos_have_no_copies() -> None:
    assert near_duplicates(Fingerprints.of([]), 10).shape == (0, 2)
    assert near_duplicates(Fingerprints.of([fingerprint(product())]), 10).shape == (0, 2)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_groups_are_the_connected_parts(count: int, edges: list[tuple[int, int]]) -> None:
    pairs = np.array([(i % count, j % count) for i, j in edges], dtype=np.int64).reshape(-1, 2)
    ours = group(count, pairs).tolist()
    ends = pairs if len(pairs) else np.zeros((1, 2), dtype=np.int64)
    _, theirs = connected_components(coo_matrix((np.ones(len(ends)), tuple(ends.T)), shape=(count, count)), directed=False)
    assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))
    assert all(root <= index and ours[root] == root for index, root in enumerate(ours))


def test_a_digest_tells_shapes_and_pixels_apart() -> None:
    picture = product(2)
    changed = picture.copy()
    changed[0, 0, 0] ^= 1
    turned = np.ascontiguousarray(picture.reshape(picture.shape[1], picture.shape[0], 3))
    assert len({pixel_digest(picture), pixel_digest(changed), pixel_digest(turned)}) == 3
    assert pixel_digest(picture) == pixel_digest(np.asfortranarray(picture))
