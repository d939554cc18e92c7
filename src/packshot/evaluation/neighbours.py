"""Precision and recall (Kynkaanniemi 2019, arXiv 1904.06991), density and coverage (Naeem 2020, arXiv 2002.09797)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, jackknife_deviations, withhold
from packshot.records import Estimate

FEWEST = 100
"""Below so many pictures on either side the four are withheld."""
MOST_COMPARED = 1500
"""Pictures on each side of a comparison of two models, which measures the neighbours forty times over."""

MEANS = ("precision", "recall", "density", "coverage")

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

    def means(self) -> Floats:
        """Of MEANS, (4,)."""
        return np.array([self.precise.mean(), self.recalled.mean(), self.density.mean(), self.covered.mean()])


@dataclass(frozen=True, slots=True)
class Distances:
    """All squared distances among N real and N drawn pictures, measured once."""

    real: Floats
    drawn: Floats
    across: Floats
    """(real, drawn)."""

    @classmethod
    def measure(cls, real: Floats, drawn: Floats) -> Distances:
        """The distances of features (N, D) and (N, D)."""
        return cls(_among(real), _among(drawn), squared_distances(real, drawn))

    def keep(self, real: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Distances:
        """Those of some of the pictures."""
        return Distances(self.real[real][:, real], self.drawn[drawn][:, drawn], self.across[real][:, drawn])

    def meet(self, k: int) -> Neighbours:
        """Who lies in whose ball."""
        in_real = self.across < _reach(self.real, k)[:, None]
        return Neighbours(
            precise=np.asarray(in_real.any(axis=0)),
            recalled=np.asarray((self.across < _reach(self.drawn, k)[None, :]).any(axis=1)),
            density=in_real.sum(axis=0) / k,
            covered=np.asarray(in_real.any(axis=1)),
        )


def meet_neighbours(real: Floats, drawn: Floats, k: int) -> Neighbours:
    """Find the neighbours between features (N, D) and (N, D); equal N, since coverage and recall depend on it.

    Raises ValueError where the sets differ in size or hold no more than k pictures.
    """
    if len(real) != len(drawn):
        raise ValueError(f"neighbours are compared at equal n, not {len(real)} and {len(drawn)}")
    if len(real) <= k:
        raise ValueError(f"{len(real)} pictures have no {k} neighbours each")
    return Distances.measure(real, drawn).meet(k)


def compare_neighbours(real: Floats, one: Floats, other: Floats, k: int) -> dict[str, Estimate]:
    """Estimate by how much each of MEANS of `one` (N, D) exceeds that of `other` (N, D), both beside `real` (N, D).

    Row i of both was drawn for the same category and seed. The intervals are the delete-a-group jackknife's over real pictures
    and over pairs of drawn ones (Shao and Wu 1989): a share among neighbours depends on all pictures around, so that the
    bootstrap of its own terms would be too narrow. No more than 1,500 pictures of each side are compared, the first ones.
    """
    n = min(len(real), len(one), len(other), MOST_COMPARED)
    if n < max(FEWEST, 2 * k):
        return dict.fromkeys(MEANS, withhold(f"needs {FEWEST} pictures on each side, there are {n}", n))
    sides = tuple(Distances.measure(real[:n], drawn[:n]) for drawn in (one, other))

    def score(kept_real: NDArray[np.bool_], kept_drawn: NDArray[np.bool_]) -> Floats:
        ours, theirs = (side.keep(kept_real, kept_drawn).meet(k) for side in sides)
        return ours.means() - theirs.means()

    every = np.ones(n, dtype=bool)
    told = zip(MEANS, score(every, every), jackknife_deviations(score, n, n), strict=True)
    return {name: estimate_normal(value, deviation, n) for name, value, deviation in told}


def squared_distances(rows: Floats, columns: Floats) -> Floats:
    """(M, D) and (N, D) -> (M, N), never below 0."""
    apart = rows @ columns.T
    apart *= -2
    apart += np.square(rows).sum(axis=1)[:, None]
    apart += np.square(columns).sum(axis=1)[None, :]
    return np.maximum(apart, 0, out=apart)


def _among(features: Floats) -> Floats:
    """The squared distances among one set, each infinitely far from itself."""
    apart = squared_distances(features, features)
    np.fill_diagonal(apart, np.inf)
    return apart


def _reach(apart: Floats, k: int) -> Floats:
    """The squared distance from each to its k-th nearest other."""
    return np.asarray(np.partition(apart, k - 1, axis=1)[:, k - 1])
