"""The Frechet distance between two clouds of features (Dowson and Landau 1982, J. Multivariate Anal. 12, 450).

With the catalogue's own classifier as eyes it is `fd_catalog`; it is the "FID" only under Inception's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, jackknife_deviation, withhold
from packshot.records import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gaussian:
    """The mean (D,) and the covariance (D, D) of a cloud of features."""

    mean: Floats
    covariance: Floats

    @classmethod
    def fit(cls, features: Floats) -> Self:
        """The moments of features (N, D), N of at least 2."""
        return cls(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); the last trace from the eigenvalues of the symmetric C1^(1/2) C2 C1^(1/2)."""
    gap = one.mean - other.mean
    values, vectors = np.linalg.eigh(one.covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ other.covariance @ root), 0, None)).sum()
    return float(gap @ gap + np.trace(one.covariance) + np.trace(other.covariance) - 2 * shared)


def estimate_frechet(real: Floats, drawn: Floats) -> Estimate:
    """Estimate the distance of features (M, D) and (N, D) at equal n, the smaller of M and N.

    Its bias falls as 1/n and depends on the model (Chong and Forsyth 2020, arXiv 1911.07023), so only values of one n compare;
    withheld below 2 D pictures, where the covariances are mostly noise.
    """
    n = min(len(real), len(drawn))
    fewest = 2 * real.shape[1]
    if n < fewest:
        return withhold(f"needs {fewest} pictures on each side, twice the features; there are {n}", n)
    real, drawn = real[:n], drawn[:n]
    if not (np.isfinite(real).all() and np.isfinite(drawn).all()):
        return withhold("not every feature is a finite number", n)

    def score(kept_real: NDArray[np.bool_], kept_drawn: NDArray[np.bool_]) -> float:
        return frechet_distance(Gaussian.fit(real[kept_real]), Gaussian.fit(drawn[kept_drawn]))

    value = frechet_distance(Gaussian.fit(real), Gaussian.fit(drawn))
    return estimate_normal(value, jackknife_deviation(score, n, n), n, note=f"biased upwards; compare at n = {n} only")
