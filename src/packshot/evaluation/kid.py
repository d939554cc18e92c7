"""The kernel distance between two sets of pictures (Binkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, withhold
from packshot.records import Estimate

FEWEST = 50
"""Below so many pictures on either side the distance is withheld: chance alone would move it by more than most models differ."""

Floats = NDArray[np.float64]


def unit_scale(reference: Floats) -> float:
    """What to divide features by, so that the reference's are 1 in root mean square: the kernel's answer depends on it."""
    return float(np.sqrt(np.mean(np.square(reference)))) or 1.0


def kernel_distance(real: Floats, drawn: Floats, *, fewest: int = FEWEST) -> Estimate:
    """Estimate the unbiased squared MMD of features (M, D) and (N, D) under k(x, y) = (x.y / D + 1)^3; 0 for equal distributions.

    Its interval is the exact delete-one jackknife's: a bootstrap would put copies off the kernel's diagonal.
    """
    m, n = len(real), len(drawn)
    if min(m, n) < fewest:
        return withhold(f"needs {fewest} pictures on each side, there are {m} real and {n} drawn", min(m, n))
    if not (np.isfinite(real).all() and np.isfinite(drawn).all()):
        return withhold("not every feature is a finite number", min(m, n))
    within_real, within_drawn = _row_sums(real, real) - _self(real), _row_sums(drawn, drawn) - _self(drawn)
    across_real, across_drawn = _row_sums(real, drawn), _row_sums(drawn, real)
    value = _unbiased(within_real.sum(), within_drawn.sum(), across_real.sum(), m, n)
    without_real = _unbiased(within_real.sum() - 2 * within_real, within_drawn.sum(), across_real.sum() - across_real, m - 1, n)
    without_drawn = _unbiased(
        within_real.sum(), within_drawn.sum() - 2 * within_drawn, across_real.sum() - across_drawn, m, n - 1
    )
    variance = (m - 1) * np.var(without_real) + (n - 1) * np.var(without_drawn)
    return estimate_normal(float(value), float(np.sqrt(variance)), min(m, n))


def kernel_distance_difference(real: Floats, one: Floats, other: Floats, *, fewest: int = FEWEST) -> Estimate:
    """Estimate how much farther `one` (N, D) lies from `real` (M, D) than `other` (N, D) does, by the same kernel.

    Row i of both was drawn for the same category and seed. The relative test of Bounliphone et al. (2016, arXiv 1511.04581): its
    two distances share the real pictures, so that what they have in common cancels. The interval is the exact delete-one
    jackknife's, which leaves out a real picture, or a pair of drawn ones.
    """
    m, n = len(real), len(one)
    if n != len(other):
        raise ValueError(f"drawn pictures are compared in pairs, not {n} with {len(other)}")
    if min(m, n) < fewest:
        return withhold(f"needs {fewest} pictures on each side, there are {m} real and {n} drawn", min(m, n))
    if not all(np.isfinite(features).all() for features in (real, one, other)):
        return withhold("not every feature is a finite number", min(m, n))
    within = _row_sums(one, one) - _self(one) - _row_sums(other, other) + _self(other)
    across_drawn = _row_sums(one, real) - _row_sums(other, real)
    across_real = _row_sums(real, one) - _row_sums(real, other)
    value = within.sum() / (n * (n - 1)) - 2 * across_real.sum() / (m * n)
    without_real = within.sum() / (n * (n - 1)) - 2 * (across_real.sum() - across_real) / ((m - 1) * n)
    without_pair = (within.sum() - 2 * within) / ((n - 1) * (n - 2)) - 2 * (across_real.sum() - across_drawn) / (m * (n - 1))
    variance = (m - 1) * np.var(without_real) + (n - 1) * np.var(without_pair)
    return estimate_normal(float(value), float(np.sqrt(variance)), min(m, n))


def _unbiased(within_real: Floats, within_drawn: Floats, across: Floats, m: int, n: int) -> Floats:
    return within_real / (m * (m - 1)) + within_drawn / (n * (n - 1)) - 2 * across / (m * n)


def _row_sums(rows: Floats, columns: Floats, block: int = 1024) -> Floats:
    """Row sums of the kernel matrix, a block of rows at a time."""
    size = rows.shape[1]
    sums = [np.power(rows[at : at + block] @ columns.T / size + 1, 3).sum(axis=1) for at in range(0, len(rows), block)]
    return np.concatenate(sums)


def _self(rows: Floats) -> Floats:
    return np.asarray(np.power(np.square(rows).sum(axis=1) / rows.shape[1] + 1, 3))
