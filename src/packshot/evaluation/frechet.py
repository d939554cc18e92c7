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

LOST = 1e-11
"""The share of the trace that rounding may take before singular values are computed as such."""


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
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    Of factors C1 = F1 F1' and C2 = F2 F2', the last trace is the sum of the singular values of F1' F2: those of its square are
    the eigenvalues of C1 C2. No matrix root is taken.
    """
    gap = one.mean - other.mean
    shared = _sum_singular(_factor(one.covariance).T @ _factor(other.covariance))
    return float(gap @ gap + np.trace(one.covariance) + np.trace(other.covariance) - 2 * shared)


def _factor(covariance: Floats) -> Floats:
    """F of F F' = covariance (D, D): triangular by Cholesky, or where that is singular (D, rank) by its eigenvalues."""
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        known = values > len(values) * np.finfo(np.float64).eps * values[-1]
        return np.asarray(vectors[:, known] * np.sqrt(values[known]))


def _sum_singular(matrix: Floats) -> float:
    """The sum of the singular values of (K, L): as roots of eigenvalues, or where those lose too many digits, as such."""
    if not matrix.size:
        return 0.0
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    squares = np.linalg.eigvalsh(matrix @ matrix.T)
    if squares[0] > 0:
        roots = np.sqrt(squares)
        # An eigenvalue is off by up to eps times the largest, which moves its root by that over twice the root.
        if np.finfo(np.float64).eps * squares[-1] * (0.5 / roots).sum() < LOST * roots.sum():
            return float(roots.sum())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


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
