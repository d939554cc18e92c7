"""Whether a picture drawn as a dress looks like a dress to a classifier trained on real photos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_share, least_normal, withhold
from packshot.records import Estimate

FEWEST = 20

Labels = NDArray[np.int64]


def estimate_consistency(asked: Labels, recognised: Labels) -> Estimate:
    """Estimate the share of pictures that are recognised as the category they were asked for."""
    return estimate_share(asked == recognised, fewest=FEWEST)


def estimate_worst_shortfall(
    asked: Labels, recognised: Labels, real: Labels, real_recognised: Labels, names: tuple[str, ...]
) -> Estimate:
    """Estimate the share recognised, less the share of real photos recognised, in the category where that is least.

    Categories with fewer than 20 pictures on either side are left out; `estimate_least` says how the interval holds the least.
    """
    found = find_shortfalls(asked, recognised, real, real_recognised, names)
    return least_normal(found) if found else withhold(f"no category has {FEWEST} pictures on both sides")


def find_shortfalls(
    asked: Labels, recognised: Labels, real: Labels, real_recognised: Labels, names: tuple[str, ...]
) -> dict[str, tuple[float, float, int]]:
    """By category the share recognised less that of real photos, its standard deviation, and the pictures; few are left out."""
    found = {}
    for category in np.unique(asked):
        one = recognised[asked == category] == category
        other = real_recognised[real == category] == category
        if min(len(one), len(other)) >= FEWEST:
            deviation = float(np.sqrt(sum(_variance(hits) for hits in (one, other))))
            found[names[category]] = float(one.mean() - other.mean()), deviation, len(one)
    return found


def _variance(hits: NDArray[np.bool_]) -> float:
    """Of a share, with two hits and two misses added (Agresti and Coull 1998): never 0."""
    share = (hits.sum() + 2) / (len(hits) + 4)
    return float(share * (1 - share) / (len(hits) + 4))
