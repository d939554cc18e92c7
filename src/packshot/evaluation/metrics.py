"""The metrics that a report holds. Adding one: write its function in a file of its own, then a line in METRICS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from packshot.evaluation.attributes import estimate_attribute_consistency, estimate_worst_attribute
from packshot.evaluation.bootstrap import estimate_mean, estimate_share, withhold
from packshot.evaluation.consistency import estimate_consistency, estimate_worst_shortfall
from packshot.evaluation.diversity import estimate_alikeness, estimate_worst_excess
from packshot.evaluation.evidence import Evidence, RealSide, Redrawn
from packshot.evaluation.frechet import estimate_frechet
from packshot.evaluation.kid import kernel_distance
from packshot.evaluation.memorisation import estimate_authenticity, estimate_copy_rate, estimate_copying_z
from packshot.evaluation.neighbours import FEWEST
from packshot.evaluation.psnr import CAP
from packshot.records import Estimate


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about a model, and which way is better."""

    measure: Callable[[Evidence], Estimate]
    description: str
    unit: str = ""
    higher_is_better: bool = True
    conditioned: bool = False
    """Whether it speaks of label attributes, and is measured only where models are conditioned on some."""


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
            have = evidence.matched
            return withhold(f"needs {FEWEST} pictures on each side, there are {have}", have)
        found = getattr(met, name)
        if name == "density":
            return estimate_mean(found, resamples=evidence.real.resamples, seed=evidence.real.seed)
        groups = evidence.real.reference.groups[: len(found)] if name in {"recalled", "covered"} else None
        return estimate_share(found, groups)

    return measure


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
    "psnr": Metric(_reconstruction("psnr"), "Held-out photos drawn again: mean of each photo's PSNR", "dB"),
    "ssim": Metric(_reconstruction("ssim"), "Held-out photos drawn again: structural similarity (Wang 2004)"),
    "psnr_over_pca": Metric(_reconstruction("psnr", "pca"), "PSNR less that of PCA with as many numbers a picture", "dB"),
    "ssim_over_pca": Metric(_reconstruction("ssim", "pca"), "SSIM less that of PCA with as many numbers a picture"),
    "psnr_over_nearest": Metric(_reconstruction("psnr", "nearest"), "PSNR less that of the nearest training photo", "dB"),
    "exact_photos": Metric(_exact, "Share of held-out photos that come back to the bit: a leak", higher_is_better=False),
    "kid": Metric(
        _kid, "Kernel distance of new pictures from real ones, seen by the catalogue's own classifier", higher_is_better=False
    ),
    "kid_pixels": Metric(
        _kid_pixels, "Kernel distance seen by 64 principal components of pixels: colour and layout", higher_is_better=False
    ),
    "fd_catalog": Metric(
        _fd_catalog, "Frechet distance seen by the catalogue's own classifier (not Inception's FID)", higher_is_better=False
    ),
    "precision": Metric(_neighbours("precise"), "Share of new pictures that lie among real ones"),
    "recall": Metric(_neighbours("recalled"), "Share of real pictures that lie among new ones"),
    "density": Metric(_neighbours("density"), "How densely real pictures surround new ones; 1 for real photos"),
    "coverage": Metric(_neighbours("covered"), "Share of real pictures that have a new one near"),
    "class_consistency": Metric(_class_consistency, "Share of new pictures recognised as what was asked for"),
    "class_consistency_worst": Metric(
        _class_consistency_worst, "Share recognised less that of real photos, in the category where it is worst"
    ),
    "attribute_consistency": Metric(
        _attribute_consistency, "Share of attributes, such as a colour, recognised as what was asked for", conditioned=True
    ),
    "attribute_consistency_worst": Metric(
        _attribute_consistency_worst,
        "Share recognised less that of real photos, for the value of an attribute where it is worst",
        conditioned=True,
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
}
"""In the order in which a report tells them."""


def due_metrics(real: RealSide) -> tuple[str, ...]:
    """The metrics that a model is measured by: all, but those of attributes where models know of none."""
    return tuple(name for name, metric in METRICS.items() if real.labelled or not metric.conditioned)


def measure(evidence: Evidence, names: tuple[str, ...]) -> dict[str, Estimate]:
    """Measure the named metrics of one evidence; a value that is not a finite number is withheld."""
    return {name: _finite(METRICS[name].measure(evidence)) for name in names}


def _finite(estimate: Estimate) -> Estimate:
    numbers = [number for number in (estimate.value, estimate.low, estimate.high) if number is not None]
    return estimate if np.isfinite(numbers).all() else withhold("not a finite number", estimate.n)
