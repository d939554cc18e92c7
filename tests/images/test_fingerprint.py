from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from packshot.images.decode import decode
from packshot.images.fingerprint import Fingerprints, fingerprint, group, near_duplicates, pixel_digest
from tests.images.files import product

RADIUS = 10


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(sink.getvalue())))


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


COPIES = {
    "half the size": lambda pixels: scaled(pixels, 0.5),
    "JPEG q60": lambda pixels: recompressed(pixels, 60),
    "2 pixels cropped": lambda pixels: pixels[2:-2, 2:-2],
    "mirrored": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "all of it": lambda pixels: recompressed(scaled(np.ascontiguousarray(pixels[2:-2, 2:-2][:, ::-1]), 0.75), 60),
}


def test_the_hash_is_the_signs_of_scipys_dct() -> None:
    pixels = product(1, 64, 64)
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.BOX), dtype=float)
    waves = dctn(grey, norm="ortho")[:8, :8].ravel()
    expected = waves > np.median(waves[1:])
    expected[0] = False
    assert fingerprint(pixels).phash == int("".join("01"[int(bit)] for bit in expected), 2)


@given(st.integers(0, 10_000))
def test_the_mirrored_hash_is_the_hash_of_the_mirror_image(seed: int) -> None:
    pixels = product(seed, 64, 64)
    one, other = fingerprint(pixels), fingerprint(np.ascontiguousarray(pixels[:, ::-1]))
    assert (one.phash_mirrored ^ other.phash).bit_count() <= 2
    assert (one.phash ^ other.phash_mirrored).bit_count() <= 2


def test_planted_copies_are_found_and_strangers_are_not() -> None:
    photos = [product(seed, 200, 200) for seed in range(40)]
    copies = [copy(photos[index]) for index, copy in enumerate(COPIES.values())]
    prints = Fingerprints.of([fingerprint(photo) for photo in [*photos, *copies]])
    assert sorted(near_duplicates(prints, RADIUS)) == [(index, 40 + index) for index in range(len(COPIES))]


@pytest.mark.photos
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_real_photos_are_found(clothing: Path, kind: str) -> None:
    files = random.Random(kind).sample(sorted(clothing.glob("*/*.jpg")), 250)
    photos = [decode(file.read_bytes(), background=(255, 255, 255)).pixels for file in files]
    copies = [COPIES[kind](photo) for photo in photos[:50]]
    pairs = set(near_duplicates(Fingerprints.of([fingerprint(photo) for photo in [*photos, *copies]]), RADIUS))
    found = sum((index, len(photos) + index) in pairs for index in range(len(copies)))
    wrong = {index for i, j in pairs for index in (i, j) if j - i != len(photos)}
    assert found >= 0.95 * len(copies)
    assert len(wrong) <= 0.01 * (len(photos) + len(copies))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60), st.integers(0, 16))
def test_all_pairs_within_the_radius_are_found(hashes: list[int], radius: int) -> None:
    count = len(hashes)
    values = np.array(hashes, dtype=np.uint64)
    far = values ^ np.uint64(2**64 - 1)
    prints = Fingerprints(hashes=values, mirrored=far, layouts=np.zeros((count, 8, 8, 3), dtype=np.uint8))
    expected = [
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if (hashes[i] ^ hashes[j]).bit_count() <= radius or 64 - (hashes[i] ^ hashes[j]).bit_count() <= radius
    ]
    assert sorted(near_duplicates(prints, radius)) == expected


def test_pairs_are_found_across_blocks() -> None:
    chances = np.random.default_rng(0)
    values = chances.integers(0, 2**64, 2500, dtype=np.uint64)
    values[2400], values[1100] = values[3], values[1000]
    prints = Fingerprints(hashes=values, mirrored=~values, layouts=np.zeros((2500, 8, 8, 3), dtype=np.uint8))
    assert sorted(near_duplicates(prints, 4)) == [(3, 2400), (1000, 1100)]


def test_one_shape_in_two_colours_is_two_photos() -> None:
    red, blue = np.full((40, 40, 3), 255, dtype=np.uint8), np.full((40, 40, 3), 255, dtype=np.uint8)
    red[8:30, 12:28], blue[8:30, 12:28] = (180, 20, 20), (20, 20, 180)
    assert not list(near_duplicates(Fingerprints.of([fingerprint(red), fingerprint(blue)]), 16))


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_groups_are_the_connected_parts(count: int, edges: list[tuple[int, int]]) -> None:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = [(i % count, j % count) for i, j in edges]
    ours = group(count, pairs)
    ends = np.array(pairs or [(0, 0)])
    _, theirs = connected_components(
        coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)), directed=False
    )
    assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))
    assert all(root <= index and ours[root] == root for index, root in enumerate(ours))


def test_a_digest_tells_shapes_and_pixels_apart() -> None:
    picture = product(2)
    changed = picture.copy()
    changed[0, 0, 0] ^= 1
    turned = np.ascontiguousarray(picture.reshape(picture.shape[1], picture.shape[0], 3))
    assert len({pixel_digest(picture), pixel_digest(changed), pixel_digest(turned)}) == 3
    assert pixel_digest(picture) == pixel_digest(np.asfortranarray(picture))
