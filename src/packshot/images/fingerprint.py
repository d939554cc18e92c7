"""What makes two photos the same photo: digests of pixels, perceptual hashes, and groups of near-duplicates."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from packshot.images.alignment import aligned_misfit, misfit, misfit_floor
from packshot.images.nearness import near_pairs

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
Pairs = NDArray[np.int64]
"""(M, 2): rows of two photos each, the lower one first."""

LAYOUT_SIDE = 12
MAX_DISTANCE = 0.35
"""Of two photos' coarse vectors, up to which they can be copies: crops of 3 % at each edge make less, but for 1 %."""
MAX_SCREENED, MAX_MISFIT = 0.5, 0.17
"""Misfit of two layouts (images.alignment) up to which they are looked at closely, and up to which they are of one photo."""

VERSION = "2"
"""Of what `fingerprint` makes of the same pixels, and of which pairs are copies: a part of a catalogue's recipe."""

_ROUNDING = 0.001
"""Of a bound in float32."""
_THUMBNAIL, _KEPT = 32, 8
_SPREAD = 0.6
"""Of a layout's cell over its neighbours, as a Gaussian: enough that small shifts change it smoothly."""
_COARSE = tuple((row, column) for row in range(5) for column in range(5) if 0 < row + column <= 4)
"""The waves of a coarse vector, by their frequencies."""
_CALM = 24.0
"""Length of the waves below which a picture counts as plain."""
_BLOCK, _CLOSE = 2048, 1024
"""Layouts brought to waves at once; pairs looked at closely at once: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is left of one picture after scaling, recompression and small crops."""

    phash: int
    """64 bits."""
    phash_mirrored: int
    """The same of the picture's mirror image."""
    layout: bytes
    """Its colours around the points of a 12 x 12 grid: 432 bytes, RGB, row by row."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of N photos: hashes and mirrored hashes uint64 (N,), layouts uint8 (N, 12, 12, 3)."""

    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    layouts: NDArray[np.uint8]

    @classmethod
    def of(cls, prints: Sequence[Fingerprint]) -> Fingerprints:
        grid = np.frombuffer(b"".join(one.layout for one in prints), dtype=np.uint8)
        return cls(
            hashes=np.array([one.phash for one in prints], dtype=np.uint64),
            mirrored=np.array([one.phash_mirrored for one in prints], dtype=np.uint64),
            layouts=grid.reshape(len(prints), LAYOUT_SIDE, LAYOUT_SIDE, 3),
        )

    @classmethod
    def of_table(cls, table: pa.Table) -> Fingerprints:
        """From a table's columns `phash`, `phash_mirrored` and `layout`, in its order."""
        grid = np.frombuffer(b"".join(table["layout"].to_pylist()), dtype=np.uint8)
        return cls(
            hashes=table["phash"].to_numpy(),
            mirrored=table["phash_mirrored"].to_numpy(),
            layouts=grid.reshape(table.num_rows, LAYOUT_SIDE, LAYOUT_SIDE, 3),
        )


def pixel_digest(pixels: Pixels) -> str:
    """The sha256 of a picture's size and pixels (H, W, 3)."""
    hasher = hashlib.sha256(struct.pack(">II", *pixels.shape[:2]))
    hasher.update(np.ascontiguousarray(pixels).data)
    return hasher.hexdigest()


def fingerprint(pixels: Pixels) -> Fingerprint:
    """The fingerprint of a picture, uint8 (H, W, 3).

    The hash is the signs, about their median, of the 8 x 8 lowest frequencies of a 32 x 32 grey thumbnail, the mean left out
    (pHash: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"). Mirroring a picture changes the
    sign of its odd horizontal frequencies, so the second hash costs nothing. All sums are of whole numbers below 2^53: they are
    exact, and the same on every machine.
    """
    small = Image.fromarray(pixels).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(small, dtype=np.float64).transpose(2, 0, 1)
    grey = np.floor((299 * thumbnail[0] + 587 * thumbnail[1] + 114 * thumbnail[2] + 500) / 1000)
    waves = _cosines() @ grey @ _cosines().T
    mirrored = waves * np.where(np.arange(_KEPT) % 2, -1.0, 1.0)
    layout = np.floor((_gaussians() @ thumbnail @ _gaussians().T) / 2.0**24 + 0.5).astype(np.uint8)
    return Fingerprint(phash=_bits(waves), phash_mirrored=_bits(mirrored), layout=layout.transpose(1, 2, 0).tobytes())


def near_duplicates(prints: Fingerprints, radius: int, *, new: NDArray[np.bool_] | None = None) -> Pairs:
    """Every pair (i < j) of photos, or of a photo and another's mirror image, that are copies of one picture; (M, 2), sorted.

    They agree in three respects, each of which leaves fewer pairs to the next: their coarse vectors are near each other (found
    exactly, by images.nearness, without looking at most pairs), their hashes differ in at most `radius` of 64 bits, and their
    layouts are one when aligned. On packshots shape alone is not enough, since every pair of
    trousers has the same, and neither is mean colour, since every backdrop has the same. With `new`, (N,), only pairs that touch
    a photo for which it is true are looked for.
    """
    coarse = coarse_vectors(prints.layouts)
    mirror = np.where([column % 2 for _, column in _COARSE], -1.0, 1.0)
    asked = np.arange(len(coarse)) if new is None else np.flatnonzero(new)
    copies = [np.zeros((0, 2), dtype=np.int64)]
    for mirrored in (False, True):
        ones = coarse[asked] * mirror if mirrored else coarse[asked]
        alike = [copies[0]]
        agree = partial(_agree, prints, asked, radius, mirrored)
        alike += near_pairs(ones, coarse, MAX_DISTANCE, alike=new is None, also=agree)
        pairs = np.concatenate(alike)
        pairs = np.unique(np.sort(np.stack([asked[pairs[:, 0]], pairs[:, 1]], axis=1), axis=1), axis=0)
        copies.append(_keep_aligned(prints, pairs, mirrored=mirrored))
    found: Pairs = np.unique(np.concatenate(copies), axis=0)
    return found


def _agree(prints: Fingerprints, asked: Rows, radius: int, mirrored: bool, ones: Rows, others: Rows) -> NDArray[np.bool_]:
    """Whether hashes agree, of the photos asked for and of others: with `mirrored`, the later one's is its mirror image's."""
    first, second = np.minimum(asked[ones], others), np.maximum(asked[ones], others)
    hashes = prints.mirrored if mirrored else prints.hashes
    alike: NDArray[np.bool_] = np.bitwise_count(prints.hashes[first] ^ hashes[second]) <= radius
    return alike & (first < second)


def _keep_aligned(prints: Fingerprints, pairs: Pairs, *, mirrored: bool) -> Pairs:
    """The pairs whose layouts are one when aligned."""
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _CLOSE):
        some = pairs[start : start + _CLOSE]
        ones, others = (prints.layouts[some[:, end]].astype(np.float32) for end in (0, 1))
        others = others[:, :, ::-1] if mirrored else others
        possible = misfit_floor(ones, others) <= MAX_SCREENED + _ROUNDING
        some, ones, others = some[possible], ones[possible], others[possible]
        screened = misfit(ones, others) <= MAX_SCREENED
        fits = aligned_misfit(ones[screened], others[screened]) <= MAX_MISFIT
        kept.append(some[screened][fits])
    return np.concatenate(kept)


def coarse_vectors(layouts: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The lowest waves of grey layouts, uint8 (N, 12, 12, 3), scaled to the length 1, less for plain pictures; float64 (N, 14).

    Brightness and contrast do not change them, small crops little, and mirroring changes the sign of every odd horizontal one.
    """
    basis = dct_basis(5, LAYOUT_SIDE)
    vectors = np.empty((len(layouts), len(_COARSE)))
    for start in range(0, len(layouts), _BLOCK):
        grey = layouts[start : start + _BLOCK] @ np.array([0.299, 0.587, 0.114])
        waves = basis @ grey @ basis.T
        chosen = np.stack([waves[:, row, column] for row, column in _COARSE], axis=1)
        vectors[start : start + _BLOCK] = chosen / np.sqrt(np.square(chosen).sum(axis=1, keepdims=True) + _CALM**2)
    return vectors


def group(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Join 0..count-1 by pairs, int64 (M, 2): each one's group, named by its smallest member; int64 (count,)."""
    ones = np.ones(len(pairs), dtype=np.bool_)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    named: NDArray[np.int64] = first[labels].astype(np.int64)
    return named


def dct_basis(kept: int, points: int) -> NDArray[np.float64]:
    """The first `kept` rows of the orthonormal DCT-II of so many points."""
    frequency, place = np.arange(kept)[:, None], np.arange(points)[None, :]
    rows: NDArray[np.float64] = np.cos(np.pi * (2 * place + 1) * frequency / (2 * points)) * np.sqrt(2.0 / points)
    rows[0] /= np.sqrt(2.0)
    return rows


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The basis of the hash in whole numbers, of 2^14."""
    whole: NDArray[np.float64] = np.round(dct_basis(_KEPT, _THUMBNAIL) * 2**14)
    return whole


@lru_cache(maxsize=1)
def _gaussians() -> NDArray[np.float64]:
    """What each row of a layout takes of each row of the thumbnail, in whole numbers: each row's sum is 2^12."""
    place = (np.arange(_THUMBNAIL) + 0.5) * (LAYOUT_SIDE / _THUMBNAIL)
    shares = np.exp(-0.5 * np.square((place[None, :] - (np.arange(LAYOUT_SIDE)[:, None] + 0.5)) / _SPREAD))
    whole: NDArray[np.float64] = np.round(shares / shares.sum(axis=1, keepdims=True) * 2**12)
    whole[np.arange(LAYOUT_SIDE), whole.argmax(axis=1)] += 2**12 - whole.sum(axis=1)
    return whole


def _bits(waves: NDArray[np.float64]) -> int:
    values = waves.ravel()
    ones = values > np.median(values[1:])
    ones[0] = False
    return int.from_bytes(np.packbits(ones).tobytes(), "big")
