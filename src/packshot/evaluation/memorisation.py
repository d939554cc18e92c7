"""Whether a model copies its training photos: three looks at the nearest training photo.

A model that hands out its training photos has a perfect kernel distance, recall and coverage; only these see through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, estimate_share, estimate_share_below, withhold
from packshot.evaluation.neighbours import squared_distances
from packshot.records import Estimate

FEWEST = 100
QUANTILE = 0.01
"""Nearer to the training photos than this share of unseen photos: a copy. Without copying that share is expected."""

Floats = NDArray[np.float64]


def nearest_training(features: Floats, training: Floats, block: int = 1024) -> tuple[Floats, NDArray[np.int64]]:
    """The distance (N,) from each of `features` (N, D) to its nearest of `training` (M, D), and which one that is (N,)."""
    distances, indices = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for at in range(0, len(features), block):
        apart = squared_distances(features[at : at + block], training)
        nearest = apart.argmin(axis=1)
        indices.append(nearest)
        distances.append(np.sqrt(apart[np.arange(len(nearest)), nearest]))
    return np.concatenate(distances), np.concatenate(indices)


def training_gaps(training: Floats, mirrored: Floats, block: int = 1024) -> Floats:
    """How far each training photo (M, D) lies from its nearest other one, mirrored or not; its own mirror image is no other."""
    both, count, gaps = np.concatenate([training, mirrored]), len(training), [np.empty(0)]
    for at in range(0, count, block):
        apart = squared_distances(training[at : at + block], both)
        rows = np.arange(len(apart))
        apart[rows, at + rows] = apart[rows, count + at + rows] = np.inf
        gaps.append(np.sqrt(apart.min(axis=1)))
    return np.concatenate(gaps)


def estimate_copy_rate(drawn: Floats, unseen: Floats, *, resamples: int, seed: int) -> Estimate:
    """Estimate the share of drawn pictures that lie nearer to a training photo than all but 1 % of unseen photos do.

    Takes both sets' distances to their nearest training photo.
    """
    return estimate_share_below(drawn, unseen, QUANTILE, resamples=resamples, seed=seed, fewest=FEWEST)


def estimate_authenticity(distances: Floats, nearest: NDArray[np.int64], gaps: Floats) -> Estimate:
    """Estimate the share of pictures that lie farther from their nearest training photo than that one from its own nearest.

    Alaa et al. 2022, arXiv 2102.08921, equation 9. `gaps` are those of the training photos.
    """
    return estimate_share(distances > gaps[nearest], fewest=FEWEST)


def estimate_copying_z(drawn: Floats, unseen: Floats) -> Estimate:
    """Estimate C_T (Meehan et al. 2020, arXiv 2004.05675, undivided): Mann-Whitney's z of the distances to the training photos.

    Far below 0 the drawn pictures lie nearer to the training photos than unseen photos do: copies. Above 0 they lie farther off.
    """
    m, n = len(drawn), len(unseen)
    if min(m, n) < FEWEST:
        return withhold(f"needs {FEWEST} drawn and {FEWEST} unseen pictures, there are {m} and {n}", m)
    from scipy.stats import mannwhitneyu

    larger = mannwhitneyu(drawn, unseen, method="asymptotic").statistic
    return estimate_normal(float((larger - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)), 1.0, m)
