"""Precision and recall (Kynkaanniemi 2019, arXiv 1904.06991), density and coverage (Naeem 2020, arXiv 2002.09797)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 100
"""Below so many pictures on either side the four are withheld."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Who lies in whose ball: the ball of a picture reaches to its k-th nearest neighbour in its own set."""

    precise: NDArray[np.bool_]
    """(N,): the drawn picture lies in a real one's ball."""
    recalled: NDArray[np.bool_]
    """(N,): the real picture lies in a drawn one's ball."""
    density: Floats
    """(N,): in how many real balls the drawn picture lies, over k."""
    covered: NDArray[np.bool_]
    """(N,): the real picture's ball holds a drawn one."""


def meet_neighbours(real: Floats, drawn: Floats, k: int) -> Neighbours:
    """Find the neighbours between features (N, D) and (N, D); equal N, since coverage and recall depend on it.

    Raises ValueError where the sets differ in size or hold no more than k pictures.
    """
    if len(real) != len(drawn):
        raise ValueError(f"neighbours are compared at equal n, not {len(real)} and {len(drawn)}")
    if len(real) <= k:
        raise ValueError(f"{len(real)} pictures have no {k} neighbours each")
    real_reach, drawn_reach = _reach(real, k), _reach(drawn, k)
    apart = squared_distances(real, drawn)
    in_real = apart < real_reach[:, None]
    return Neighbours(
        precise=np.asarray(in_real.any(axis=0)),
        recalled=np.asarray((apart < drawn_reach[None, :]).any(axis=1)),
        density=in_real.sum(axis=0) / k,
        covered=np.asarray(in_real.any(axis=1)),
    )


def squared_distances(rows: Floats, columns: Floats) -> Floats:
    """(M, D) and (N, D) -> (M, N), never below 0."""
    apart = rows @ columns.T
    apart *= -2
    apart += np.square(rows).sum(axis=1)[:, None]
    apart += np.square(columns).sum(axis=1)[None, :]
    return np.maximum(apart, 0, out=apart)


def _reach(features: Floats, k: int) -> Floats:
    """The squared distance from each to its k-th nearest other."""
    apart = squared_distances(features, features)
    np.fill_diagonal(apart, np.inf)
    return np.asarray(np.partition(apart, k - 1, axis=1)[:, k - 1])
