"""Every pair of vectors that are near each other, exactly: leaves of a k-d tree, joined by matrix products.

In fourteen dimensions a walk through a tree compares nearly everything, one number at a time. Here space is parted along the
three axes in which the vectors differ most, so that leaves are narrow there and most pairs of leaves are too far apart to be
looked at; those that are not are compared by one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF = 128
"""Vectors in a leaf, at most."""
AXES = 3
"""Along which leaves are parted: more of them would make leaves wider in each."""

_AT_ONCE = 4_096
"""Vectors that a leaf is compared with at once: what bounds the memory."""

_SLACK = 1e-4
"""Of a squared distance of unit vectors in float32: what passes for its sake is measured again."""


def near_pairs(
    ones: Floats, others: Floats, distance: float, *, alike: bool, also: Callable[[Ints, Ints], NDArray[np.bool_]] | None = None
) -> Iterator[Ints]:
    """Pairs (row of `ones`, row of `others`), int64 (M, 2), at most `distance` apart, a leaf's at a time.

    The vectors, (N, D) and (K, D), are no longer than about 1. With `alike`, row i of one is as far from row j of the other as
    the other way about (the same vectors, or their mirror images): of a pair and its reverse one may be left out then.
    `also` tells, of rows of each, which pairs are wanted at all: it is asked before distances are measured exactly.
    """
    axes = _main_axes(others)
    turned, there = ones @ axes, others @ axes
    tall = _leaves(turned)
    wide = tall if alike else _leaves(there)
    low, high = _boxes(turned, tall)
    floor, roof = _boxes(there, wide)
    rows, columns = _extend(turned, first=True), _extend(there, first=False)
    for place, leaf in enumerate(tall):
        start = place if alike else 0
        gaps = np.maximum(0.0, np.maximum(floor[start:] - high[place], low[place] - roof[start:]))
        near = np.flatnonzero(np.square(gaps).sum(axis=1) <= distance**2 + _SLACK) + start
        reach = np.concatenate([wide[other] for other in near]) if len(near) else leaf[:0]
        for first in range(0, len(reach), _AT_ONCE):
            some = reach[first : first + _AT_ONCE]
            closeness = rows[leaf] @ columns[some].T
            across, down = np.divmod(np.flatnonzero(closeness >= np.float32(-(distance**2 + _SLACK) / 2)), len(some))
            across, down = leaf[across], some[down]
            if also is not None:
                wanted = also(across, down)
                across, down = across[wanted], down[wanted]
            # Of the vectors as they came: their turn depends on all the others, and so would a pair on the very bound.
            exact = np.square(ones[across] - others[down]).sum(axis=1) <= distance**2
            yield np.stack([across[exact], down[exact]], axis=1)


def _main_axes(vectors: Floats) -> Floats:
    """A rotation, (D, D), by which the first axes are those in which vectors differ most."""
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    turned: Floats = axes[:, ::-1]
    return turned


def _leaves(vectors: Floats) -> list[Ints]:
    """The rows in leaves of at most LEAF, each split at the median of the widest of its first axes."""
    leaves = []
    waiting = [np.arange(len(vectors))] if len(vectors) else []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= LEAF:
            leaves.append(rows)
            continue
        some = vectors[rows]
        axis = int(np.argmax(np.ptp(some[:, :AXES], axis=0)))
        middle = len(rows) // 2
        parted = np.argpartition(some[:, axis], middle)
        waiting += [rows[parted[middle:]], rows[parted[:middle]]]
    return leaves


def _boxes(vectors: Floats, leaves: list[Ints]) -> tuple[Floats, Floats]:
    size = (len(leaves), vectors.shape[1])
    low = np.array([vectors[leaf].min(axis=0) for leaf in leaves]).reshape(size)
    high = np.array([vectors[leaf].max(axis=0) for leaf in leaves]).reshape(size)
    return low, high


def _extend(vectors: Floats, *, first: bool) -> NDArray[np.float32]:
    """Vectors with two more numbers, so that the product of a first and a second one is -1/2 of their squared distance."""
    halves = -0.5 * np.square(vectors).sum(axis=1, keepdims=True)
    ends = [halves, np.ones_like(halves)] if first else [np.ones_like(halves), halves]
    return np.concatenate([vectors, *ends], axis=1).astype(np.float32)
