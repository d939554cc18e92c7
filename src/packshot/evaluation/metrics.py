"""The metrics that a report holds. Adding one: write its function in a file of its own, then a line in METRICS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from packshot.evaluation.attributes import estimate_attribute_consistency, estimate_worst_attribute
from packshot.evaluation.bootstrap import estimate_least, estimate_mean, estimate_share, withhold
from packshot.evaluation.consistency import estimate_consistency, estimate_worst_shortfall
from packshot.evaluation.diversity import estimate_alikeness, estimate_worst_excess
from packshot.evaluation.evidence import Evidence, Floats, PhotoMetric, RealSide, Redrawn, pick
from packshot.evaluation.frechet import estimate_frechet
from packshot.evaluation.kid import kernel_distance
from packshot.evaluation.memorisation import estimate_authenticity, estimate_copy_rate, estimate_copying_z
from packshot.evaluation.ms_ssim import SMALLEST
from packshot.evaluation.neighbours import FEWEST
from packshot.evaluation.outliers import estimate_outlier_rate
from packshot.evaluation.psnr import CAP
from packshot.evaluation.robustness import estimate_robustness
from packshot.images.shards import Split
from packshot.records import Estimate

FEWEST_OF_CATEGORY = 8
"""Photos of a category below which it is not looked at when the worst is sought."""

Subject = Literal["photos", "pictures", "cost"]
"""What a metric looks at: held-out photos that are drawn again, new pictures, or what it costs to draw them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about a model, and which way is better."""

    measure: Callable[[Evidence], Estimate]
    description: str
    unit: str = ""
    higher_is_better: bool = True
    of: Subject = "pictures"
    when: Literal["always", "conditioned", "inception", "timed"] = "always"
    """Measured always; where models are conditioned on label attributes; where Inception's weights are at hand; or by the clock,
    beside the report, which repeats to the bit."""


def _reconstruction(name: Literal["psnr", "ssim"], less: Literal["", "pca", "nearest"] = "") -> Callable[[Evidence], Estimate]:
    """The mean score of photos drawn again, or the mean paired difference from a baseline's on the same photos."""

    def measure(evidence: Evidence) -> Estimate:
        redrawn = evidence.redrawn
        if redrawn is None:
            return withhold("no photo was drawn again")
        values = getattr(redrawn.scores, name)
        if less:
            values = values - getattr(getattr(redrawn, less), name)
        real = evidence.real
        return estimate_mean(values, redrawn.photos.groups, resamples=real.resamples, seed=real.seed, note=_how(redrawn))

    return measure


def _again(name: PhotoMetric) -> Callable[[Evidence], Estimate]:
    """The mean of a metric of each photo that was drawn again."""

    def measure(evidence: Evidence) -> Estimate:
        redrawn, real = evidence.redrawn, evidence.real
        if redrawn is None:
            return withhold("no photo was drawn again")
        values = evidence.photo_values(name)
        if values is None:
            return withhold(f"needs pictures of {SMALLEST} pixels", len(redrawn.photos))
        return estimate_mean(values, redrawn.photos.groups, resamples=real.resamples, seed=real.seed, note=_how(redrawn))

    return measure


def _worst_slice(evidence: Evidence) -> Estimate:
    redrawn = evidence.redrawn
    if redrawn is None:
        return withhold("no photo was drawn again")
    return _least_category(redrawn.scores.psnr - redrawn.pca.psnr, redrawn.photos, evidence.real)


def _least_category(values: Floats, photos: Split, real: RealSide) -> Estimate:
    """The mean of `values`, one for each of `photos`, in the category where it is least."""
    several = {}
    for category in np.unique(photos.categories):
        rows = np.flatnonzero(photos.categories == category)
        groups = tuple(photos.groups[row] for row in rows)
        if len(set(groups)) >= FEWEST_OF_CATEGORY:
            several[real.names[category]] = values[rows], groups
    if not several:
        return withhold(f"no category has {FEWEST_OF_CATEGORY} photos")
    return estimate_least(several, resamples=real.resamples, seed=real.seed)


def _robustness(evidence: Evidence) -> Estimate:
    redrawn, real = evidence.redrawn, evidence.real
    if redrawn is None:
        return withhold("no photo was drawn again")
    if not redrawn.disturbed:
        return withhold("it searches for photos: to search for disturbed ones too would be costly")
    clean, groups = redrawn.scores.psnr, redrawn.photos.groups
    return estimate_robustness(clean, redrawn.disturbed, groups, resamples=real.resamples, seed=real.seed)


def _kid_inception(evidence: Evidence) -> Estimate:
    real, drawn = evidence.real.inception_features, evidence.inception_features
    if real is None or drawn is None:
        return withhold("Inception's weights are not at hand")
    return kernel_distance(real, drawn)


def _fid(evidence: Evidence) -> Estimate:
    real, drawn = evidence.real.inception_features, evidence.inception_features
    if real is None or drawn is None:
        return withhold("Inception's weights are not at hand")
    return estimate_frechet(real, drawn)


def _outlier_rate(evidence: Evidence) -> Estimate:
    real = evidence.real
    return estimate_outlier_rate(evidence.isolation, real.unseen_isolation, resamples=2_000, seed=real.seed)


def _size(evidence: Evidence) -> Estimate:
    cost = evidence.cost
    return (
        withhold("no weights were weighed")
        if cost is None
        else Estimate(value=cost.size_mb, low=cost.size_mb, high=cost.size_mb, n=1)
    )


def _latency(evidence: Evidence) -> Estimate:
    return withhold("nobody held the clock") if evidence.cost is None else evidence.cost.latency_ms


def _exact(evidence: Evidence) -> Estimate:
    if evidence.redrawn is None:
        return withhold("no photo was drawn again")
    return estimate_share(evidence.redrawn.scores.psnr >= CAP, evidence.redrawn.photos.groups, fewest=8)


def _how(redrawn: Redrawn) -> str:
    return "" if redrawn.how == "encoded" else "by searching the latents"


def _kid(evidence: Evidence) -> Estimate:
    return kernel_distance(evidence.real.catalog_features, evidence.catalog_features)


def _kid_pixels(evidence: Evidence) -> Estimate:
    return kernel_distance(evidence.real.pixels_features, evidence.pixels_raw / evidence.real.pixels_scale)


def _neighbours(name: Literal["precise", "recalled", "density", "covered"]) -> Callable[[Evidence], Estimate]:
    def measure(evidence: Evidence) -> Estimate:
        met = evidence.neighbours
        if met is None:
            return _too_few(evidence)
        found = getattr(met, name)
        if name == "density":
            return estimate_mean(found, resamples=evidence.real.resamples, seed=evidence.real.seed)
        groups = evidence.real.reference.groups[: len(found)] if name in {"recalled", "covered"} else None
        return estimate_share(found, groups)

    return measure


def _coverage_worst(evidence: Evidence) -> Estimate:
    met, real = evidence.neighbours, evidence.real
    if met is None:
        return _too_few(evidence)
    n = len(met.covered)
    short = met.covered.astype(float) - real.meet_unseen(n).covered
    return _least_category(short, pick(real.reference, np.arange(n)), real)


def _too_few(evidence: Evidence) -> Estimate:
    have = evidence.matched
    return withhold(f"needs {FEWEST} pictures on each side, there are {have}", have)


def _class_consistency_worst(evidence: Evidence) -> Estimate:
    real = evidence.real
    return estimate_worst_shortfall(
        evidence.asked, evidence.recognised, real.unseen.categories, real.unseen_recognised, real.names
    )


def _intra_class_ssim_worst(evidence: Evidence) -> Estimate:
    return estimate_worst_excess(evidence.alikeness, evidence.real.unseen_alikeness, evidence.real.names)


def _copy_rate(evidence: Evidence) -> Estimate:
    real = evidence.real
    return estimate_copy_rate(evidence.nearest[0], real.unseen_distances, resamples=2_000, seed=real.seed)


def _fd_catalog(evidence: Evidence) -> Estimate:
    n = evidence.matched
    return estimate_frechet(evidence.real.catalog_features[:n], evidence.catalog_features[:n])


def _class_consistency(evidence: Evidence) -> Estimate:
    return estimate_consistency(evidence.asked, evidence.recognised)


def _attribute_consistency(evidence: Evidence) -> Estimate:
    return estimate_attribute_consistency(evidence.named)


def _attribute_consistency_worst(evidence: Evidence) -> Estimate:
    return estimate_worst_attribute(evidence.named, evidence.real.unseen_named)


def _intra_class_ssim(evidence: Evidence) -> Estimate:
    return estimate_alikeness(evidence.alikeness)


def _authenticity(evidence: Evidence) -> Estimate:
    return estimate_authenticity(*evidence.nearest, evidence.real.training_gaps)


def _copying_z(evidence: Evidence) -> Estimate:
    return estimate_copying_z(evidence.nearest[0], evidence.real.unseen_distances)


METRICS: Mapping[str, Metric] = {
    "psnr": Metric(_reconstruction("psnr"), "Held-out photos drawn again: mean of each photo's PSNR", "dB", of="photos"),
    "ssim": Metric(_reconstruction("ssim"), "Held-out photos drawn again: structural similarity (Wang 2004)", of="photos"),
    "ms_ssim": Metric(_again("ms_ssim"), "Held-out photos drawn again: SSIM at several scales (Wang 2003)", of="photos"),
    "perceptual_catalog": Metric(
        _again("perceptual"),
        "Held-out photos drawn again: distance of the activations of the catalogue's own classifier (not LPIPS)",
        higher_is_better=False,
        of="photos",
    ),
    "psnr_over_pca": Metric(
        _reconstruction("psnr", "pca"), "PSNR less that of PCA with as many numbers a picture", "dB", of="photos"
    ),
    "ssim_over_pca": Metric(_reconstruction("ssim", "pca"), "SSIM less that of PCA with as many numbers a picture", of="photos"),
    "psnr_over_pca_worst": Metric(_worst_slice, "PSNR less that of PCA, in the category where it is least", "dB", of="photos"),
    "psnr_over_nearest": Metric(
        _reconstruction("psnr", "nearest"), "PSNR less that of the nearest training photo", "dB", of="photos"
    ),
    "robustness": Metric(
        _robustness, "PSNR gained (below 0, lost) where photos are disturbed first, by what costs most", "dB", of="photos"
    ),
    "exact_photos": Metric(
        _exact, "Share of held-out photos that come back to the bit: a leak", higher_is_better=False, of="photos"
    ),
    "kid": Metric(
        _kid, "Kernel distance of new pictures from real ones, seen by the catalogue's own classifier", higher_is_better=False
    ),
    "kid_pixels": Metric(
        _kid_pixels, "Kernel distance seen by 64 principal components of pixels: colour and layout", higher_is_better=False
    ),
    "fd_catalog": Metric(
        _fd_catalog, "Frechet distance seen by the catalogue's own classifier (not Inception's FID)", higher_is_better=False
    ),
    "kid_inception": Metric(
        _kid_inception,
        "Kernel distance seen by Inception: comparable with published ones",
        higher_is_better=False,
        when="inception",
    ),
    "fid": Metric(_fid, "Frechet distance seen by Inception: the FID", higher_is_better=False, when="inception"),
    "precision": Metric(_neighbours("precise"), "Share of new pictures that lie among real ones"),
    "recall": Metric(_neighbours("recalled"), "Share of real pictures that lie among new ones"),
    "density": Metric(_neighbours("density"), "How densely real pictures surround new ones; 1 for real photos"),
    "coverage": Metric(_neighbours("covered"), "Share of real pictures that have a new one near"),
    "coverage_worst": Metric(
        _coverage_worst, "Share that have a new one near less that of real photos, in the category where it is worst"
    ),
    "class_consistency": Metric(_class_consistency, "Share of new pictures recognised as what was asked for"),
    "class_consistency_worst": Metric(
        _class_consistency_worst, "Share recognised less that of real photos, in the category where it is worst"
    ),
    "attribute_consistency": Metric(
        _attribute_consistency, "Share of attributes, such as a colour, recognised as what was asked for", when="conditioned"
    ),
    "attribute_consistency_worst": Metric(
        _attribute_consistency_worst,
        "Share recognised less that of real photos, for the value of an attribute where it is worst",
        when="conditioned",
    ),
    "intra_class_ssim": Metric(
        _intra_class_ssim, "How alike the new pictures of a category are: high where it collapses", higher_is_better=False
    ),
    "intra_class_ssim_worst": Metric(
        _intra_class_ssim_worst,
        "By how much more alike than real photos, in the category where it is worst",
        higher_is_better=False,
    ),
    "copy_rate": Metric(
        _copy_rate, "Share of new pictures nearer to a training photo than 99 % of unseen photos are", higher_is_better=False
    ),
    "authenticity": Metric(
        _authenticity, "Share of new pictures farther from their nearest training photo than that one from its nearest"
    ),
    "copying_z": Metric(_copying_z, "Below 0, new pictures lie nearer to training photos than unseen photos do (C_T)", "sd"),
    "outlier_rate": Metric(
        _outlier_rate, "Share of new pictures farther from all real ones than 99 % of unseen photos are", higher_is_better=False
    ),
    "size_mb": Metric(_size, "Megabytes of the weights that are served", "MB", higher_is_better=False, of="cost"),
    "latency_ms": Metric(
        _latency,
        "Time to draw one picture alone, on one core of the machine that evaluated",
        "ms",
        higher_is_better=False,
        of="cost",
        when="timed",
    ),
}
"""In the order in which a report tells them."""


def due_metrics(real: RealSide, subject: Subject | None = None) -> tuple[str, ...]:
    """The metrics that a model is measured by, or those of one subject: all but those for which there is no occasion."""
    occasions = {"always", *(["conditioned"] if real.labelled else []), *(["inception"] if real.inception else [])}
    return tuple(name for name, metric in METRICS.items() if metric.when in occasions and subject in {None, metric.of})


def measure(evidence: Evidence, names: tuple[str, ...]) -> dict[str, Estimate]:
    """Measure the named metrics of one evidence; a value that is not a finite number is withheld."""
    return {name: _finite(METRICS[name].measure(evidence)) for name in names}


def _finite(estimate: Estimate) -> Estimate:
    numbers = [number for number in (estimate.value, estimate.low, estimate.high) if number is not None]
    return estimate if np.isfinite(numbers).all() else withhold("not a finite number", estimate.n)
