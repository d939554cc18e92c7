"""Whether a picture asked for in red looks red to a classifier trained on real photos' own attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_share, least_normal, withhold
from packshot.evaluation.consistency import find_shortfalls
from packshot.records import Condition, Estimate

FEWEST = 20
NOTHING = f"no label attribute is known of {FEWEST} photos, or none was asked for"

Labels = NDArray[np.int64]
Conditions = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Named:
    """One label attribute of some pictures: the value that each was asked for or is known to have, and the one that is seen."""

    condition: Condition
    asked: Labels
    """Its number in the condition's values (N,); pictures of which it is not known are left out."""
    recognised: Labels

    @property
    def hits(self) -> NDArray[np.bool_]:
        return np.asarray(self.asked == self.recognised)


def read_labels(conditions: Sequence[Condition], encoded: Conditions) -> Mapping[str, Labels]:
    """The value of each label attribute of each picture (N,), from conditions (N, D); -1 where it is not known."""
    found, start = {}, 0
    for condition in conditions:
        columns = encoded[:, start : start + condition.size]
        if condition.kind == "label":
            found[condition.name] = np.where(columns.any(axis=1), columns.argmax(axis=1), -1).astype(np.int64)
        start += condition.size
    return found


def borrow_conditions(conditions: Conditions, categories: Labels, asked: Labels, seed: int) -> Conditions:
    """For each category of `asked` (N,) what is known of a real photo of it, float32 (N, D): each photo in its turn, by lot.

    `conditions` (M, D) and `categories` (M,) are those of the real photos, at least one of each category that is asked for.
    """
    random = np.random.default_rng(seed)
    rows = np.zeros(len(asked), dtype=np.int64)
    for category in np.unique(asked):
        wanted = np.flatnonzero(asked == category)
        members = np.flatnonzero(categories == category)
        rounds = [random.permutation(members) for _ in range(-(-len(wanted) // len(members)))]
        rows[wanted] = np.concatenate(rounds)[: len(wanted)]
    return np.asarray(conditions[rows])


def estimate_attribute_consistency(named: Sequence[Named]) -> Estimate:
    """Estimate the share of recognised values, over all label attributes that pictures were asked for with."""
    if not named:
        return withhold(NOTHING)
    each = ", ".join(f"{one.condition.name} {one.hits.mean():.2f}" for one in named if len(one.hits)) if len(named) > 1 else ""
    return estimate_share(np.concatenate([one.hits for one in named]), fewest=FEWEST, note=each)


def estimate_worst_attribute(drawn: Sequence[Named], real: Sequence[Named]) -> Estimate:
    """Estimate the share recognised, less that of real photos, for the value of an attribute where that is least.

    Values with fewer than 20 pictures on either side are left out.
    """
    if not drawn:
        return withhold(NOTHING)
    found: dict[str, tuple[float, float, int]] = {}
    for one, other in zip(drawn, real, strict=True):
        names = tuple(f"{one.condition.name} {value}" for value in one.condition.values)
        found |= find_shortfalls(one.asked, one.recognised, other.asked, other.recognised, names)
    return least_normal(found) if found else withhold(f"no value of an attribute has {FEWEST} pictures on both sides")
