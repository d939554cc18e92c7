"""Intervals: the bootstrap over groups of near-duplicates, Wilson's interval of a share, the jackknife of a set's score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from packshot.records import Estimate

CONFIDENCE = 0.95
"""Two-sided, of every interval in a report."""
REACH = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""How many standard deviations it reaches where errors are normal: 1.96."""

Floats = NDArray[np.float64]


def withhold(reason: str, n: int = 0) -> Estimate:
    """An estimate that is not given, and why."""
    return Estimate(value=None, n=n, note=reason)


def estimate_mean(
    values: Floats,
    groups: Sequence[str] | None = None,
    *,
    method: Literal["percentile", "bca"] = "bca",
    resamples: int = 10_000,
    seed: int = 7,
    fewest: int = 8,
    note: str = "",
) -> Estimate:
    """Estimate the mean of `values` (N,) and its 95 % interval by resampling whole groups; without `groups` each stands alone.

    BCa corrects the percentile interval for bias and skewness (Efron 1987, JASA 82, eq. 2.2 to 2.3; its acceleration from the
    jackknife over groups); its tails are expanded as Hesterberg (2015, Am. Stat. 69, 371) has it, since a resample is narrower
    than a sample. For paired scores pass their differences. Withheld with fewer than `fewest` groups, or where a
    value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size and not np.isfinite(values).all():
        return withhold("not every value is a finite number", values.size)
    sums, counts = _by_group(values, groups)
    if len(sums) < fewest:
        return withhold(f"needs {fewest} independent photos, there are {len(sums)}", values.size)
    mean = float(sums.sum() / counts.sum())
    if np.ptp(values) == 0:
        return Estimate(value=mean, low=mean, high=mean, n=values.size, note=note)
    means = _resampled_means(sums, counts, resamples, seed)
    tail = _expanded_tail(len(sums))
    at = np.array([tail, 1 - tail])
    if method == "bca":
        at = _bca_levels(at, mean, means, (sums.sum() - sums) / (counts.sum() - counts))
    low, high = np.quantile(means, at)
    return Estimate(value=mean, low=float(low), high=float(high), n=values.size, note=note)


def estimate_share(hits: NDArray[np.bool_], groups: Sequence[str] | None = None, *, fewest: int = 20, note: str = "") -> Estimate:
    """Estimate the share of True in `hits` (N,) with Wilson's 95 % interval (Wilson 1927), whose n counts groups, not photos."""
    hits = np.asarray(hits, dtype=bool)
    independent = len(set(groups)) if groups is not None else hits.size
    if independent < fewest:
        return withhold(f"needs {fewest} independent pictures, there are {independent}", hits.size)
    share = float(hits.mean())
    z2 = REACH**2
    middle = (share + z2 / (2 * independent)) / (1 + z2 / independent)
    half = np.sqrt(z2 * (share * (1 - share) / independent + z2 / (4 * independent**2))) / (1 + z2 / independent)
    low, high = min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))
    return Estimate(value=share, low=float(low), high=float(high), n=hits.size, note=note)


def estimate_normal(value: float, deviation: float, n: int, note: str = "") -> Estimate:
    """An estimate whose error is taken as normal with the standard `deviation`."""
    if not (np.isfinite(value) and np.isfinite(deviation)):
        return withhold("the value is not a finite number", n)
    half = REACH * deviation
    return Estimate(value=float(value), low=float(value - half), high=float(value + half), n=n, note=note)


def jackknife_deviation(
    score: Callable[[NDArray[np.bool_], NDArray[np.bool_]], float], m: int, n: int, blocks: int = 20
) -> float:
    """The standard deviation of a score of two sets (sizes m and n) by leaving out one of `blocks` parts of each in turn.

    `score` takes the kept rows of both sets. The delete-a-group jackknife (Shao and Wu 1989, Ann. Stat. 17, 1176); unlike the
    bootstrap it never shows a set the same picture twice, which a score of neighbours would take for a copy.
    """
    first, second = np.arange(m) % blocks, np.arange(n) % blocks
    every_m, every_n = np.ones(m, dtype=bool), np.ones(n, dtype=bool)
    left = np.array([score(first != block, every_n) for block in range(blocks)])
    right = np.array([score(every_m, second != block) for block in range(blocks)])
    return float(np.sqrt((blocks - 1) * (left.var() + right.var())))


def _by_group(values: Floats, groups: Sequence[str] | None) -> tuple[Floats, Floats]:
    if groups is None:
        return values, np.ones_like(values)
    if len(groups) != values.size:
        raise ValueError(f"{values.size} values stand against {len(groups)} groups")
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(np.bincount(index, weights=values), dtype=np.float64), np.bincount(index).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """Means of `resamples` draws of len(sums) groups with replacement; a block of draws at a time bounds the memory."""
    random = np.random.default_rng(seed)
    drawn = len(sums)
    block = max(1, 2_000_000 // drawn)
    means = []
    for start in range(0, resamples, block):
        picks = random.integers(0, drawn, size=(min(block, resamples - start), drawn))
        means.append(sums[picks].sum(axis=1) / counts[picks].sum(axis=1))
    return np.concatenate(means)


def _expanded_tail(groups: int) -> float:
    """The level at which the quantiles of resampled means cover like Student's interval."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - CONFIDENCE) / 2)))


def _bca_levels(levels: Floats, mean: float, means: Floats, left_out: Floats) -> Floats:
    from scipy.special import ndtr, ndtri

    below = np.clip((np.sum(means < mean) + 0.5 * np.sum(means == mean)) / means.size, 1 / means.size, 1 - 1 / means.size)
    bias = ndtri(below)
    pull = left_out.mean() - left_out
    spread = float(np.sum(pull**2)) ** 1.5
    acceleration = float(np.sum(pull**3)) / (6 * spread) if spread > 0 else 0.0
    shifted = bias + ndtri(levels)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)))
