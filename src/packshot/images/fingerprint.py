"""What makes two photos the same photo: digests of pixels, perceptual hashes, and groups of near-duplicates."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Pixels = NDArray[np.uint8]
Pairs = NDArray[np.int64]
"""(M, 2): rows of two photos each, the lower one first."""

LAYOUT_SIDE = 8
MAX_SHIFT = 6.0
"""Mean difference (of 255) of two layouts up to which they can be of one photo."""
MAX_UNLIKENESS = 0.02
"""Share of two layouts' variance that they do not have in common, up to which they can be of one photo; copies stay below it."""

_SIDE, _KEPT, _BLOCK = 32, 8, 64


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is left of one picture after scaling, recompression and small crops."""

    phash: int
    """64 bits."""
    phash_mirrored: int
    """The same of the picture's mirror image."""
    layout: bytes
    """Its mean colours on an 8 x 8 grid: 192 bytes, RGB, row by row."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of N photos: hashes and mirrored hashes uint64 (N,), layouts uint8 (N, 8, 8, 3)."""

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
    sign of its odd horizontal frequencies, so the second hash costs nothing.
    """
    picture = Image.fromarray(pixels)
    grey = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    basis = _cosines()
    waves = basis @ np.asarray(grey, dtype=np.float64) @ basis.T
    mirrored = waves * np.where(np.arange(_KEPT) % 2, -1.0, 1.0)
    layout = picture.resize((LAYOUT_SIDE, LAYOUT_SIDE), Image.Resampling.BOX)
    return Fingerprint(phash=_bits(waves), phash_mirrored=_bits(mirrored), layout=layout.tobytes())


def near_duplicates(prints: Fingerprints, radius: int, *, new: NDArray[np.bool_] | None = None) -> Pairs:
    """Every pair (i < j) of photos, or of a photo and another's mirror image, that are copies of one picture: int64 (M, 2), sorted.

    Their hashes differ in at most `radius` of 64 bits, and their layouts agree: on packshots shape alone is not enough, since
    every pair of trousers has the same, and neither is mean colour, since every backdrop has the same. With `new`, (N,), only
    pairs that touch a photo for which it is true.
    """
    found: list[tuple[int, int]] = []
    for start in range(0, len(prints.hashes), _BLOCK):
        rows = prints.hashes[start : start + _BLOCK, None]
        upright = np.triu(np.bitwise_count(rows ^ prints.hashes[None, start:]) <= radius, k=1)
        mirrored = np.triu(np.bitwise_count(rows ^ prints.mirrored[None, start:]) <= radius, k=1)
        for i, j in np.argwhere(upright | mirrored) + start:
            if new is not None and not (new[i] or new[j]):
                continue
            one, other = prints.layouts[i].astype(np.float32), prints.layouts[j].astype(np.float32)
            same = upright[i - start, j - start] and _agree(one, other)
            if same or (mirrored[i - start, j - start] and _agree(one, other[:, ::-1])):
                found.append((int(i), int(j)))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def group(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Join 0..count-1 by pairs, int64 (M, 2): each one's group, named by its smallest member; int64 (count,)."""
    ones = np.ones(len(pairs), dtype=np.bool_)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return first[labels].astype(np.int64)


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The first 8 rows of the orthonormal DCT-II of 32 points."""
    frequency, place = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    rows: NDArray[np.float64] = np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)) * np.sqrt(2.0 / _SIDE)
    rows[0] /= np.sqrt(2.0)
    return rows


def _bits(waves: NDArray[np.float64]) -> int:
    values = waves.ravel()
    ones = values > np.median(values[1:])
    ones[0] = False
    return int.from_bytes(np.packbits(ones).tobytes(), "big")


def _agree(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two layouts, (8, 8, 3), can be of one photo."""
    if np.abs(one - other).mean() > MAX_SHIFT:
        return False
    one, other = one - one.mean(axis=(0, 1)), other - other.mean(axis=(0, 1))
    common = np.square(one).sum() + np.square(other).sum()
    return bool(np.square(one - other).sum() <= MAX_UNLIKENESS * common + 1.0)
