"""Each category, and each value of an attribute, by itself: a mean over the catalogue hides the shoes that came out as blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.attributes import Conditions, read_labels
from packshot.evaluation.bootstrap import estimate_mean, estimate_share, withhold
from packshot.evaluation.comparison import pair_photos
from packshot.evaluation.evidence import Evidence, Labels
from packshot.images.shards import Split
from packshot.records import Estimate, Score, Slice

FEWEST = 8
"""Below so many photos or pictures a slice's number is withheld; what a policy asks for is more."""
RESAMPLES = 2_000
"""Of each slice's interval: there are many slices."""
SLICED = ("psnr", "ssim", "class_consistency", "coverage")
"""What is measured slice by slice."""

Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which pictures belong to one slice: of those drawn again, of the new ones, and of the reference."""

    name: str
    redrawn: Rows
    drawn: Rows
    reference: Rows


def measure_slices(evidence: Evidence, pair: tuple[Evidence, Evidence] | None = None) -> tuple[Slice, ...]:
    """Measure every category and every value of a label attribute, and where there is a champion each difference from it.

    `pair` is what of the challenger and of the champion can be compared: the same real side, photos and seeds. Intervals
    are those of one slice alone, at 95 %.
    """
    cuts = list(_cuts(evidence))
    compared = [_compare_all(*pair, cut) for cut in _cuts(pair[0])] if pair else [()] * len(cuts)
    return tuple(
        Slice(
            name=cut.name,
            scores=tuple(Score(metric=name, estimate=_measure(name, evidence, cut)) for name in SLICED),
            over_champion=over,
        )
        for cut, over in zip(cuts, compared, strict=True)
    )


def _compare_all(one: Evidence, other: Evidence, cut: Cut) -> tuple[Score, ...]:
    return tuple(Score(metric=name, estimate=_compare(name, one, other, cut)) for name in SLICED)


def _cuts(evidence: Evidence) -> Iterator[Cut]:
    real, redrawn = evidence.real, evidence.redrawn
    photos = redrawn.photos.categories if redrawn else np.empty(0, dtype=np.int64)
    for category, name in enumerate(real.names):
        yield Cut(f"category {name}", photos == category, evidence.asked == category, real.reference.categories == category)
    reference, asked = _labels(evidence, real.reference.conditions), _labels(evidence, evidence.conditions)
    again = _labels(evidence, redrawn.photos.conditions if redrawn else None)
    for condition in real.conditions:
        if condition.kind == "label":
            none = np.zeros(len(evidence.asked), dtype=bool)
            for number, value in enumerate(condition.values):
                drawn = asked[condition.name] == number if asked else none
                rows = again[condition.name] == number if again else np.empty(0, dtype=bool)
                yield Cut(f"{condition.name} {value}", rows, drawn, reference[condition.name] == number)
    yield from _cut_by_labels(evidence)


def _cut_by_labels(evidence: Evidence) -> Iterator[Cut]:
    """Values that enough held-out photos have, of attributes that no model is told of: no new picture was asked for one."""
    real, redrawn = evidence.real, evidence.redrawn
    again, none = redrawn.photos.ids if redrawn else (), np.zeros(len(evidence.asked), dtype=bool)
    for name, known in real.labels.items():
        met = Counter(known[photo] for photo in real.held_out.ids if photo in known)
        for value in sorted(value for value, count in met.items() if count >= FEWEST):
            rows, reference = (_having(value, known, ids) for ids in (again, real.reference.ids))
            yield Cut(f"{name} {value}", rows, none, reference)


def _having(value: str, known: Mapping[str, str], photos: Sequence[str]) -> Rows:
    return np.array([known.get(photo) == value for photo in photos], dtype=bool)


def _labels(evidence: Evidence, encoded: Conditions | None) -> dict[str, Labels]:
    return {} if encoded is None else dict(read_labels(evidence.real.conditions, encoded))


def _measure(name: str, evidence: Evidence, cut: Cut) -> Estimate:
    redrawn, seed = evidence.redrawn, evidence.real.seed
    match name:
        case "psnr" | "ssim":
            if redrawn is None:
                return withhold("no photo was drawn again")
            values = getattr(redrawn.scores, name)[cut.redrawn]
            return estimate_mean(values, _groups(redrawn.photos, cut.redrawn), resamples=RESAMPLES, seed=seed, fewest=FEWEST)
        case "class_consistency":
            return estimate_share((evidence.recognised == evidence.asked)[cut.drawn], fewest=FEWEST)
        case _:
            met = evidence.neighbours
            if met is None:
                return withhold("there are too few pictures for neighbours")
            rows = cut.reference[: len(met.covered)]
            return estimate_share(met.covered[rows], _groups(evidence.real.reference, rows), fewest=FEWEST)


def _compare(name: str, one: Evidence, other: Evidence, cut: Cut) -> Estimate:
    seed = one.real.seed
    match name:
        case "psnr" | "ssim":
            ours, theirs = one.redrawn, other.redrawn
            if ours is None or theirs is None or ours.how != theirs.how:
                return withhold("the two do not draw photos again in the same way")
            (mine, others), groups = pair_photos(ours, theirs)
            values = getattr(ours.scores, name)[mine] - getattr(theirs.scores, name)[others]
            rows = cut.redrawn[mine]
            told = tuple(group for group, kept in zip(groups, rows, strict=True) if kept)
            return estimate_mean(values[rows], told, resamples=RESAMPLES, seed=seed, fewest=FEWEST)
        case "class_consistency":
            hits = [(evidence.recognised == evidence.asked)[cut.drawn].astype(float) for evidence in (one, other)]
            return estimate_mean(hits[0] - hits[1], resamples=RESAMPLES, seed=seed, fewest=FEWEST)
        case _:
            if one.neighbours is None or other.neighbours is None:
                return withhold("there are too few pictures for neighbours")
            rows = cut.reference[: len(one.neighbours.covered)]
            values = one.neighbours.covered[rows].astype(float) - other.neighbours.covered[rows]
            groups = _groups(one.real.reference, rows)
            return estimate_mean(values, groups, resamples=RESAMPLES, seed=seed, fewest=FEWEST)


def _groups(split: Split, rows: Rows) -> tuple[str, ...]:
    return tuple(split.groups[row] for row in np.flatnonzero(rows))
