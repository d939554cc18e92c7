"""Intervals: the bootstrap over groups of near-duplicates, Wilson's interval of a share, the jackknife of a set's score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Estimate the mean of `values` (N,) and its 95 % interval by resampling whole groups; without `groups` each stands alone.

    BCa corrects the percentile interval for bias and skewness (Efron 1987, JASA 82, eq. 2.2 to 2.3; its acceleration from the
    jackknife over groups); its tails are expanded as Hesterberg (2015, Am. Stat. 69, 371) has it, since a resample is narrower
    than a sample. For paired scores pass their differences. Another `confidence` is for intervals that hold several at once.
    Withheld with fewer than `fewest` groups, or where a value is not finite.
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
    tail = _expanded_tail(len(sums), confidence)
    at = np.array([tail, 1 - tail])
    if method == "bca":
        at = _bca_levels(at, mean, means, (sums.sum() - sums) / (counts.sum() - counts))
    low, high = np.quantile(means, at)
    return Estimate(value=mean, low=float(low), high=float(high), n=values.size, note=note)


def estimate_least(several: Mapping[str, tuple[Floats, Sequence[str] | None]], *, resamples: int, seed: int) -> Estimate:
    """Estimate the least of several means, and name whose it is; each is given as its values (N,) and their groups.

    The values that measure a mean also pick the least one, so the estimate errs downwards, the more the nearer the means lie to
    each other. The interval holds the true least nonetheless. `low` is the least of the lower limits at 95 %: it is too high only
    where that of the truly least mean is, so it needs no correction (Berger 1982, Technometrics 24, 295). `high` is the least of
    the upper limits, each at 1 - .05 / K for K means (Bonferroni), since any of them may be too low. Withheld where one of them
    is, as `estimate_mean` has it.
    """

    def estimate_at(confidence: float) -> dict[str, Estimate]:
        return {
            name: estimate_mean(values, groups, resamples=resamples, seed=seed, confidence=confidence)
            for name, (values, groups) in several.items()
        }

    single, joint = estimate_at(CONFIDENCE), estimate_at(1 - (1 - CONFIDENCE) / len(several))
    if withheld := next((found for found in single.values() if found.value is None), None):
        return withheld
    values = {name: found.value for name, found in single.items() if found.value is not None}
    worst = min(values, key=lambda name: values[name])
    low = min(found.low for found in single.values() if found.low is not None)
    high = min(found.high for found in joint.values() if found.high is not None)
    return Estimate(value=values[worst], low=low, high=high, n=single[worst].n, note=f"worst: {worst}")


def least_normal(several: Mapping[str, tuple[float, float, int]]) -> Estimate:
    """As `estimate_least`, of values whose errors are taken as normal: by name the value, its standard deviation, and n."""
    joint = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * len(several)))
    worst = min(several, key=lambda name: several[name][0])
    value, _, n = several[worst]
    low = min(one - REACH * deviation for one, deviation, _ in several.values())
    high = min(one + joint * deviation for one, deviation, _ in several.values())
    return Estimate(value=value, low=low, high=high, n=n, note=f"worst: {worst}")


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


def estimate_share_below(
    drawn: Floats, unseen: Floats, quantile: float, *, resamples: int, seed: int, fewest: int = 100
) -> Estimate:
    """Estimate the share of `drawn` (N,) that lies below the `quantile` of `unseen` (M,), with its 95 % interval.

    The bootstrap redraws both: the quantile is uncertain too. Of sets from one distribution about `quantile` + 1 / M is expected,
    since some of it lies below all M. Withheld with fewer than `fewest` on either side, or where a value is not finite.
    """
    if min(len(drawn), len(unseen)) < fewest:
        return withhold(
            f"needs {fewest} drawn and {fewest} unseen pictures, there are {len(drawn)} and {len(unseen)}", len(drawn)
        )
    if not (np.isfinite(drawn).all() and np.isfinite(unseen).all()):
        return withhold("not every value is a finite number", len(drawn))
    ordered, random = np.sort(drawn), np.random.default_rng(seed)

    def share(limits: Floats) -> Floats:
        return np.searchsorted(ordered, limits, side="left") / len(ordered)

    def limits_of(draws: int) -> Floats:
        picks = random.integers(0, len(unseen), size=(draws, len(unseen)))
        return np.asarray(np.quantile(unseen[picks], quantile, axis=1))

    block = max(1, 2_000_000 // len(unseen))
    limits = np.concatenate([limits_of(min(block, resamples - start)) for start in range(0, resamples, block)])
    redrawn = random.binomial(len(ordered), share(limits)) / len(ordered)
    value = float(share(np.quantile(unseen, [quantile]))[0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(redrawn, [tail, 1 - tail])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), n=len(drawn))


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
    return float(jackknife_deviations(lambda one, other: np.array([score(one, other)]), m, n, blocks)[0])


def jackknife_deviations(
    score: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Floats], m: int, n: int, blocks: int = 20
) -> Floats:
    """As `jackknife_deviation`, of several scores (K,) that are measured together: (K,)."""
    first, second = np.arange(m) % blocks, np.arange(n) % blocks
    every_m, every_n = np.ones(m, dtype=bool), np.ones(n, dtype=bool)
    left = np.array([score(first != block, every_n) for block in range(blocks)])
    right = np.array([score(every_m, second != block) for block in range(blocks)])
    return np.asarray(np.sqrt((blocks - 1) * (left.var(axis=0) + right.var(axis=0))))


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


def _expanded_tail(groups: int, confidence: float) -> float:
    """The level at which the quantiles of resampled means cover like Student's interval."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - confidence) / 2)))


def _bca_levels(levels: Floats, mean: float, means: Floats, left_out: Floats) -> Floats:
    from scipy.special import ndtr, ndtri

    below = np.clip((np.sum(means < mean) + 0.5 * np.sum(means == mean)) / means.size, 1 / means.size, 1 - 1 / means.size)
    bias = ndtri(below)
    pull = left_out.mean() - left_out
    spread = float(np.sum(pull**2)) ** 1.5
    acceleration = float(np.sum(pull**3)) / (6 * spread) if spread > 0 else 0.0
    shifted = bias + ndtri(levels)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)))
