"""How alike the pictures of one category are: SSIM between pairs (Odena et al. 2017, arXiv 1610.09585)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, least_normal, withhold
from packshot.evaluation.ssim import ssim
from packshot.records import Estimate

PARTNERS = 4
"""How many others of its category each picture seeks out; it is sought out by as many."""
FEWEST = 20

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Alikeness:
    """How alike each picture is to others of its category: the mean SSIM of its pairs."""

    categories: NDArray[np.int64]
    values: Floats


def measure_alikeness(pictures: Pixels, categories: NDArray[np.int64], *, seed: int) -> Alikeness:
    """Compare each picture, uint8 (N, 3, H, W), with up to 8 others of its category; lonely ones are left out."""
    random = np.random.default_rng(seed)
    first: list[NDArray[np.int64]] = []
    second: list[NDArray[np.int64]] = []
    for category in np.unique(categories):
        members = random.permutation(np.flatnonzero(categories == category))
        for shift in range(1, min(PARTNERS, len(members) - 1) + 1):
            first.append(members)
            second.append(np.roll(members, shift))
    if not first:
        return Alikeness(np.empty(0, dtype=np.int64), np.empty(0))
    one, other = np.concatenate(first), np.concatenate(second)
    alike = ssim(pictures[one], pictures[other], data_range=255)
    sums = np.bincount(one, alike, len(pictures)) + np.bincount(other, alike, len(pictures))
    pairs = np.bincount(one, minlength=len(pictures)) + np.bincount(other, minlength=len(pictures))
    paired = pairs > 0
    return Alikeness(categories[paired], sums[paired] / pairs[paired])


def estimate_alikeness(alike: Alikeness) -> Estimate:
    """Estimate the mean over all pictures."""
    if len(alike.values) < FEWEST:
        return withhold(
            f"needs {FEWEST} pictures with others of their category, there are {len(alike.values)}", len(alike.values)
        )
    return estimate_normal(float(alike.values.mean()), _deviation(alike.values), len(alike.values))


def estimate_worst_excess(drawn: Alikeness, real: Alikeness, names: tuple[str, ...]) -> Estimate:
    """Estimate by how much the drawn pictures are more alike than the real ones, in the category where it is most.

    A model that knows one picture of one category passes every mean over the catalogue. Categories with fewer than 20 pictures
    on either side are left out; the interval is that of `estimate_least`, turned round.
    """
    found = {}
    for category in np.unique(drawn.categories):
        one, other = drawn.values[drawn.categories == category], real.values[real.categories == category]
        if min(len(one), len(other)) >= FEWEST:
            deviation = float(np.hypot(_deviation(one), _deviation(other)))
            found[names[category]] = float(other.mean() - one.mean()), deviation, len(one)
    if not found:
        return withhold(f"no category has {FEWEST} pictures on both sides")
    least = least_normal(found)
    value, low, high = (None if end is None else -end for end in (least.value, least.high, least.low))
    return Estimate(value=value, low=low, high=high, n=least.n, note=least.note)


def _deviation(values: Floats) -> float:
    """Of a mean of pairs (a U-statistic of degree 2): twice that of a mean of as many single values (Hoeffding 1948)."""
    return float(2 * values.std(ddof=1) / np.sqrt(len(values)))
