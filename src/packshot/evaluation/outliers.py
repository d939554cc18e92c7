"""Whether some new pictures are broken: unlike any real photo, which a distance between whole sets hardly tells.

A squared kernel distance grows with the square of their share: one broken picture in twenty counts a four-hundredth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_share_below
from packshot.records import Estimate

FEWEST = 100
QUANTILE = 0.01
"""Farther from real pictures than all but this share of unseen photos: an outlier. That share is expected of a perfect model."""

Floats = NDArray[np.float64]


def estimate_outlier_rate(drawn: Floats, unseen: Floats, *, resamples: int, seed: int) -> Estimate:
    """Estimate the share of drawn pictures that lie farther from the nearest real picture than all but 1 % of unseen photos do.

    Takes both sets' distances, (N,) and (M,), to their nearest picture of the reference, which holds none of the unseen photos:
    those of `memorisation.nearest_training`, by the features of the catalogue's classifier. Of a perfect model 1 % + 1 / M is
    expected. Withheld below 100 pictures on either side, or where a distance is not finite.
    """
    return estimate_share_below(-drawn, -unseen, QUANTILE, resamples=resamples, seed=seed, fewest=FEWEST)
