"""Whether a picture drawn as a dress looks like a dress to a classifier trained on real photos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_normal, estimate_share, withhold
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

    Categories with fewer than 20 pictures on either side are left out.
    """
    found = []
    for category in np.unique(asked):
        one = recognised[asked == category] == category
        other = real_recognised[real == category] == category
        if min(len(one), len(other)) >= FEWEST:
            variance = sum(_variance(hits) for hits in (one, other))
            found.append((float(one.mean() - other.mean()), float(np.sqrt(variance)), len(one), names[category]))
    if not found:
        return withhold(f"no category has {FEWEST} pictures on both sides")
    value, deviation, n, name = min(found)
    return estimate_normal(value, deviation, n, note=f"worst: {name}")


def _variance(hits: NDArray[np.bool_]) -> float:
    """Of a share, with two hits and two misses added (Agresti and Coull 1998): never 0."""
    share = (hits.sum() + 2) / (len(hits) + 4)
    return float(share * (1 - share) / (len(hits) + 4))
