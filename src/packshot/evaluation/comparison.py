"""A challenger beside the champion: each difference on the same photos and from the same seeds, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_mean, withhold
from packshot.evaluation.diversity import estimate_alikeness
from packshot.evaluation.evidence import Evidence, Labels, PhotoMetric, RealSide, Redrawn, pick
from packshot.evaluation.kept import compute_now
from packshot.evaluation.kid import kernel_distance_difference
from packshot.evaluation.metrics import due_metrics
from packshot.evaluation.neighbours import compare_neighbours
from packshot.records import Estimate, Score

UNPAIRED = "of the challenger and the champion one encodes a photo, the other searches for it: no pair"
"""Why photos that both drew again are not compared."""
UNASKED = "the challenger or the champion cannot be asked for the attributes"
"""Why what was asked for is not compared."""

Comparison = Callable[[Evidence, Evidence], Estimate]
"""Challenger less champion. Both evidences rest on the same real side, on the same photos and seeds."""


def make_comparable(one: Evidence, other: Evidence, seen: frozenset[str] = frozenset()) -> tuple[Evidence, Evidence]:
    """What of two evidences on one real side is comparable: the categories that both models know, photos that neither has seen.

    `seen` are the ids and the groups of photos that one of the models has learnt from though they are held out now.
    """
    real = one.real
    kinds = np.intersect1d(one.asked, other.asked)
    if len(kinds) == len(real.names) and not seen:
        return one, other
    if len(kinds) < len(real.names):
        reference, unseen = (
            pick(split, np.flatnonzero(np.isin(split.categories, kinds))) for split in (real.reference, real.unseen)
        )
        real = replace(real, reference=reference, unseen=unseen, keep=compute_now)  # what was kept is of all categories
    return _narrow(one, real, kinds, seen), _narrow(other, real, kinds, seen)


def _narrow(evidence: Evidence, real: RealSide, kinds: Labels, seen: frozenset[str]) -> Evidence:
    redrawn, kept = evidence.redrawn, np.isin(evidence.asked, kinds)
    if redrawn is not None:
        fair = [
            photo not in seen and group not in seen
            for photo, group in zip(redrawn.photos.ids, redrawn.photos.groups, strict=True)
        ]
        redrawn = redrawn.keep(np.flatnonzero(np.array(fair, dtype=bool) & np.isin(redrawn.photos.categories, kinds)))
    told = evidence.conditions
    return Evidence(real, evidence.drawn[kept], evidence.asked[kept], redrawn, None if told is None else told[kept])


def _photos(name: PhotoMetric) -> Comparison:
    """The mean difference over the photos that both drew again."""

    def compare(one: Evidence, other: Evidence) -> Estimate:
        ours, theirs = one.redrawn, other.redrawn
        if ours is None or theirs is None:
            return withhold("no photo was drawn again")
        if ours.how != theirs.how:
            return withhold(UNPAIRED)
        rows, groups = pair_photos(ours, theirs)
        if not len(rows[0]):
            return withhold("there is no photo that both drew again")
        values, others = one.photo_values(name), other.photo_values(name)
        if values is None or others is None:
            return withhold("it is not measured of pictures this small")
        return estimate_mean(values[rows[0]] - others[rows[1]], groups, resamples=one.real.resamples, seed=one.real.seed)

    return compare


def pair_photos(ours: Redrawn, theirs: Redrawn) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], tuple[str, ...]]:
    """Where the photos that both drew again stand on either side, and their groups."""
    places = {photo: row for row, photo in enumerate(theirs.photos.ids)}
    mine = np.array([row for row, photo in enumerate(ours.photos.ids) if photo in places], dtype=np.int64)
    others = np.array([places[ours.photos.ids[row]] for row in mine], dtype=np.int64)
    return (mine, others), tuple(ours.photos.groups[row] for row in mine)


def _kid(one: Evidence, other: Evidence) -> Estimate:
    return kernel_distance_difference(one.real.catalog_features, one.catalog_features, other.catalog_features)


def _kid_pixels(one: Evidence, other: Evidence) -> Estimate:
    scale = one.real.pixels_scale
    return kernel_distance_difference(one.real.pixels_features, one.pixels_raw / scale, other.pixels_raw / scale)


def _kid_inception(one: Evidence, other: Evidence) -> Estimate:
    real, ours, theirs = one.real.inception_features, one.inception_features, other.inception_features
    if real is None or ours is None or theirs is None:
        return withhold("Inception's weights are not at hand")
    return kernel_distance_difference(real, ours, theirs)


def _neighbours(name: str) -> Comparison:
    return lambda one, other: _meet_both(one, other)[name]


@lru_cache(maxsize=1)
def _meet_both(one: Evidence, other: Evidence) -> dict[str, Estimate]:
    """All that rests on the same distances. No rung stands beside them: every picture of which there are as many counts."""
    n = min(len(one.drawn), len(other.drawn), len(one.real.reference))
    return compare_neighbours(
        one.real.catalog_features[:n], one.catalog_features[:n], other.catalog_features[:n], one.real.neighbours
    )


def _class_consistency(one: Evidence, other: Evidence) -> Estimate:
    hits = [evidence.recognised == evidence.asked for evidence in (one, other)]
    return estimate_mean(hits[0].astype(float) - hits[1], fewest=20, resamples=one.real.resamples, seed=one.real.seed)


def _attribute_consistency(one: Evidence, other: Evidence) -> Estimate:
    if not one.named or not other.named:
        return withhold(UNASKED)
    ours, theirs = (np.concatenate([named.hits for named in evidence.named]) for evidence in (one, other))
    return estimate_mean(ours.astype(float) - theirs, fewest=20, resamples=one.real.resamples, seed=one.real.seed)


def _intra_class_ssim(one: Evidence, other: Evidence) -> Estimate:
    ours, theirs = estimate_alikeness(one.alikeness), estimate_alikeness(other.alikeness)
    if ours.value is None or theirs.value is None or ours.low is None or theirs.low is None:
        return withhold(ours.note or theirs.note)
    half = float(np.hypot(ours.value - ours.low, theirs.value - theirs.low))
    return Estimate(
        value=ours.value - theirs.value, low=ours.value - theirs.value - half, high=ours.value - theirs.value + half, n=ours.n
    )


COMPARISONS: Mapping[str, Comparison] = {
    "psnr": _photos("psnr"),
    "ssim": _photos("ssim"),
    "ms_ssim": _photos("ms_ssim"),
    "perceptual_catalog": _photos("perceptual"),
    "kid": _kid,
    "kid_pixels": _kid_pixels,
    "kid_inception": _kid_inception,
    "precision": _neighbours("precision"),
    "recall": _neighbours("recall"),
    "density": _neighbours("density"),
    "coverage": _neighbours("coverage"),
    "class_consistency": _class_consistency,
    "attribute_consistency": _attribute_consistency,
    "intra_class_ssim": _intra_class_ssim,
}
"""The metrics in which two models can be compared; the others speak of a model alone."""


def compare(challenger: Evidence, champion: Evidence) -> tuple[Score, ...]:
    """Compare two evidences that `make_comparable` has made comparable, by every metric in which that can be done."""
    due = (name for name in due_metrics(challenger.real) if name in COMPARISONS)
    return tuple(Score(metric=name, estimate=COMPARISONS[name](challenger, champion)) for name in due)
