"""What a model is judged by: real photos on one side, what the model made on the other. Everything derived is measured once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.attributes import Conditions, Named, read_labels
from packshot.evaluation.baselines import PrincipalComponents, mean_picture, nearest_photos
from packshot.evaluation.diversity import Alikeness, measure_alikeness
from packshot.evaluation.kept import Keep, compute_now
from packshot.evaluation.kid import unit_scale
from packshot.evaluation.memorisation import nearest_training, training_gaps
from packshot.evaluation.ms_ssim import SMALLEST, ms_ssim
from packshot.evaluation.neighbours import FEWEST, Neighbours, meet_neighbours
from packshot.evaluation.perceptual import LayeredEyes, perceptual_distance
from packshot.evaluation.psnr import psnr
from packshot.evaluation.ssim import ssim
from packshot.images.shards import Split
from packshot.records import Condition, Cost, WorstPhoto

PhotoMetric = Literal["psnr", "ssim", "ms_ssim", "perceptual"]
"""What is measured of each photo that is drawn again."""
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


class Eyes(Protocol):
    """Something that turns pictures, uint8 (N, 3, H, W), into features, float64 (N, D), each picture by itself."""

    @property
    def digest(self) -> str:
        """The sha256 of all that its features depend on."""

    def see(self, pictures: Pixels) -> Floats:
        """The features (N, D)."""


class ClassifierEyes(Eyes, LayeredEyes, Protocol):
    """Eyes that can also say what they see, and show it layer by layer."""

    def name(self, seen: Floats) -> Labels:
        """The category of each picture (N,), by its features (N, D)."""


@dataclass(frozen=True, slots=True)
class Scores:
    """PSNR in decibels and SSIM of pictures against held-out photos, both (N,)."""

    psnr: Floats
    ssim: Floats

    @classmethod
    def measure(cls, pictures: Pixels, photos: Pixels) -> Scores:
        """Score bytes against bytes."""
        return cls(psnr(pictures, photos, data_range=255), ssim(pictures, photos, data_range=255))

    def keep(self, rows: NDArray[np.int64]) -> Scores:
        """Those of some of the pictures."""
        return Scores(self.psnr[rows], self.ssim[rows])


@dataclass(frozen=True, eq=False)
class RealSide:
    """Everything about the real photos; equal for all checkpoints of a report."""

    names: tuple[str, ...]
    """Of the categories."""
    training: Split
    """What the models were trained on."""
    reference: Split
    """The part of it that no eyes were trained on, in such an order that every beginning holds the categories in proportion."""
    held_out: Split
    """The test split: what is drawn again."""
    unseen: Split
    """All photos that no model and no eyes were trained on: what real photos score."""
    catalog: ClassifierEyes
    pixels: Eyes
    neighbours: int
    seed: int
    resamples: int
    conditions: tuple[Condition, ...] = ()
    """What models are conditioned on beside the category."""
    attributes: Mapping[str, ClassifierEyes] = field(default_factory=dict)
    """For each label among them that enough photos have, eyes that tell its values apart: they were trained as `catalog` was."""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attributes that no model is told of: by name, the value of each photo of which it is known, by id. They cut slices."""
    inception: Eyes | None = None
    """Inception, where its weights are at hand: the eyes of the FID."""
    keep: Keep = compute_now
    """What was computed of these photos before need not be computed again."""

    @property
    def labelled(self) -> bool:
        """Whether a label is among the conditions."""
        return any(condition.kind == "label" for condition in self.conditions)

    def name_attributes(self, pictures: Pixels, conditions: Conditions) -> tuple[Named, ...]:
        """For each label attribute, the values that pictures were asked for, or have, and those that are seen in them."""
        named = []
        labels = read_labels(self.conditions, conditions)
        for condition in self.conditions:
            if condition.name in self.attributes:
                known = np.flatnonzero(labels[condition.name] >= 0)
                eyes = self.attributes[condition.name]
                named.append(Named(condition, labels[condition.name][known], eyes.name(eyes.see(pictures[known]))))
        return tuple(named)

    @cached_property
    def unseen_named(self) -> tuple[Named, ...]:
        return self.name_attributes(np.asarray(self.unseen.images), self.unseen.conditions)

    @cached_property
    def catalog_raw(self) -> Floats:
        return self.keep("catalog", lambda: self.catalog.see(self.reference.images))

    @cached_property
    def pixels_raw(self) -> Floats:
        return self.keep("pixels", lambda: self.pixels.see(self.reference.images))

    @cached_property
    def catalog_scale(self) -> float:
        return unit_scale(self.catalog_raw)

    @cached_property
    def pixels_scale(self) -> float:
        return unit_scale(self.pixels_raw)

    @cached_property
    def catalog_features(self) -> Floats:
        return self.catalog_raw / self.catalog_scale

    @cached_property
    def pixels_features(self) -> Floats:
        return self.pixels_raw / self.pixels_scale

    @cached_property
    def inception_features(self) -> Floats | None:
        """As Inception gives them: published figures are in that scale."""
        eyes = self.inception
        return None if eyes is None else self.keep("inception", lambda: eyes.see(self.reference.images))

    @cached_property
    def unseen_raw(self) -> Floats:
        return self.keep("unseen_catalog", lambda: self.catalog.see(self.unseen.images))

    @cached_property
    def unseen_features(self) -> Floats:
        return self.unseen_raw / self.catalog_scale

    @cached_property
    def unseen_isolation(self) -> Floats:
        """From each unseen photo to the nearest reference photo, by the catalogue's own eyes."""
        return nearest_training(self.unseen_features, self.catalog_features)[0]

    def meet_unseen(self, n: int) -> Neighbours:
        """The neighbours of the first n reference photos among the first n unseen ones: what real photos score."""
        return meet_neighbours(self.catalog_features[:n], self.unseen_features[:n], self.neighbours)

    @cached_property
    def training_features(self) -> Floats:
        """Of each training photo, then of each mirrored: a copy may be mirrored."""
        return self.keep("training", self._see_training)

    def _see_training(self) -> Floats:
        images = np.asarray(self.training.images)
        return np.concatenate([self.pixels.see(images), self.pixels.see(np.ascontiguousarray(images[..., ::-1]))])

    @cached_property
    def training_gaps(self) -> Floats:
        """How far each of `training_features` lies from its nearest other one."""
        half, seen = len(self.training), self.training_features
        gaps = self.keep("gaps", lambda: training_gaps(seen[:half], seen[half:]))
        return np.concatenate([gaps, gaps])

    @cached_property
    def unseen_distances(self) -> Floats:
        """From each unseen photo to its nearest training photo."""
        return self.keep("unseen", lambda: nearest_training(self.pixels.see(self.unseen.images), self.training_features)[0])

    @cached_property
    def unseen_recognised(self) -> Labels:
        return self.catalog.name(self.unseen_raw)

    @cached_property
    def unseen_alikeness(self) -> Alikeness:
        return measure_alikeness(np.asarray(self.unseen.images), self.unseen.categories, seed=self.seed)

    @cached_property
    def baselines(self) -> Mapping[str, Scores]:
        """What the trivial models score on every held-out photo."""
        photos, training = np.asarray(self.held_out.images), np.asarray(self.training.images)
        return {
            "mean_photo": self._score("mean_photo", lambda: mean_picture(training, len(photos))),
            "nearest_photo": self._score("nearest_photo", lambda: nearest_photos(photos, training)),
        }

    def score_pca(self, size: int) -> Scores:
        """What PCA with `size` numbers a picture scores on every held-out photo."""
        photos, training = np.asarray(self.held_out.images), np.asarray(self.training.images)
        return self._score(f"pca_{size}", lambda: PrincipalComponents.fit(training, size).redraw(photos))

    def _score(self, name: str, redraw: Callable[[], Pixels]) -> Scores:
        def measure() -> Floats:
            found = Scores.measure(redraw(), np.asarray(self.held_out.images))
            return np.stack([found.psnr, found.ssim])

        return Scores(*self.keep(name, measure))


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Held-out photos as a model draws them again."""

    photos: Split
    """Those of the held-out photos that it was asked for."""
    pictures: Pixels
    how: Literal["encoded", "searched"]
    pca: Scores
    """Of PCA with the model's latent size, on the same photos."""
    nearest: Scores
    """Of the nearest training photo, on the same photos."""
    disturbed: Mapping[str, Floats] = field(default_factory=dict)
    """By disturbance, the PSNR (N,) of what is drawn of photos that were disturbed before, against the undisturbed ones."""

    @cached_property
    def scores(self) -> Scores:
        return Scores.measure(self.pictures, np.asarray(self.photos.images))

    @cached_property
    def ms_ssim(self) -> Floats | None:
        """Of each photo, (N,); None where the pictures are too small for two scales."""
        if self.pictures.shape[-1] < SMALLEST:
            return None
        return ms_ssim(self.pictures, np.asarray(self.photos.images), data_range=255)

    def keep(self, rows: NDArray[np.int64]) -> Redrawn:
        """What concerns the photos that stand in `rows`."""
        return Redrawn(
            photos=pick(self.photos, rows),
            pictures=self.pictures[rows],
            how=self.how,
            pca=self.pca.keep(rows),
            nearest=self.nearest.keep(rows),
            disturbed={name: values[rows] for name, values in self.disturbed.items()},
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """A model's pictures beside the real ones."""

    real: RealSide
    drawn: Pixels
    """New pictures, in such an order that every beginning holds the categories in proportion."""
    asked: Labels
    """The category that each was asked for."""
    redrawn: Redrawn | None = None
    conditions: Conditions | None = None
    """What else each was asked for (N, D); None where it was drawn by its category alone."""
    cost: Cost | None = None
    """What the model costs where it is served."""

    @property
    def matched(self) -> int:
        """How many pictures of each side count where a score depends on their number: as many for a model as for a rung."""
        return min(len(self.drawn), len(self.real.reference), len(self.real.unseen))

    @cached_property
    def catalog_raw(self) -> Floats:
        return self.real.catalog.see(self.drawn)

    @cached_property
    def catalog_features(self) -> Floats:
        return self.catalog_raw / self.real.catalog_scale

    @cached_property
    def pixels_raw(self) -> Floats:
        return self.real.pixels.see(self.drawn)

    @cached_property
    def recognised(self) -> Labels:
        return self.real.catalog.name(self.catalog_raw)

    @cached_property
    def named(self) -> tuple[Named, ...]:
        return () if self.conditions is None else self.real.name_attributes(self.drawn, self.conditions)

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """Of `matched` pictures on each side; None where they are too few."""
        n = self.matched
        if n < max(FEWEST, self.real.neighbours + 1):
            return None
        return meet_neighbours(self.real.catalog_features[:n], self.catalog_features[:n], self.real.neighbours)

    @cached_property
    def nearest(self) -> tuple[Floats, Labels]:
        """The distance of each drawn picture to its nearest training photo, and its row in `training_features`."""
        return nearest_training(self.pixels_raw, self.real.training_features)

    @cached_property
    def alikeness(self) -> Alikeness:
        return measure_alikeness(self.drawn, self.asked, seed=self.real.seed)

    @cached_property
    def inception_features(self) -> Floats | None:
        return None if self.real.inception is None else self.real.inception.see(self.drawn)

    @cached_property
    def isolation(self) -> Floats:
        """From each drawn picture to the nearest reference photo, by the catalogue's own eyes."""
        return nearest_training(self.catalog_features, self.real.catalog_features)[0]

    @cached_property
    def perceptual(self) -> Floats | None:
        """The perceptual distance of each photo drawn again from itself, (N,); None where none was drawn again."""
        if self.redrawn is None:
            return None
        return perceptual_distance(self.real.catalog, self.redrawn.pictures, np.asarray(self.redrawn.photos.images))

    def photo_values(self, name: PhotoMetric) -> Floats | None:
        """One metric of every photo drawn again, (N,); None where it cannot be measured."""
        if self.redrawn is None:
            return None
        match name:
            case "psnr":
                return self.redrawn.scores.psnr
            case "ssim":
                return self.redrawn.scores.ssim
            case "ms_ssim":
                return self.redrawn.ms_ssim
            case "perceptual":
                return self.perceptual


def find_worst(evidence: Evidence, most: int = 10) -> tuple[WorstPhoto, ...]:
    """The photos that come back worst by PSNR, the worst first."""
    redrawn = evidence.redrawn
    if redrawn is None:
        return ()
    order = np.argsort(redrawn.scores.psnr, kind="stable")[:most]
    return tuple(
        WorstPhoto(
            id=redrawn.photos.ids[row],
            category=evidence.real.names[redrawn.photos.categories[row]],
            psnr=float(redrawn.scores.psnr[row]),
            ssim=float(redrawn.scores.ssim[row]),
        )
        for row in order
    )


def spread(categories: Labels) -> NDArray[np.int64]:
    """An order of pictures in which every beginning holds the categories as nearly in proportion as can be."""
    places = np.empty(len(categories))
    for category in np.unique(categories):
        members = np.flatnonzero(categories == category)
        places[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((categories, places))


def apportion(categories: Labels, kinds: int, count: int) -> Labels:
    """`count` categories in the proportions of `categories`, by largest remainder, in the order of `spread`."""
    exact = np.bincount(categories, minlength=kinds) * (count / max(1, len(categories)))
    whole = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: count - whole.sum()]] += 1
    asked = np.repeat(np.arange(kinds), whole)
    return asked[spread(asked)]


def pick(split: Split, rows: NDArray[np.int64]) -> Split:
    """The photos of `split` that stand in `rows`, in that order."""
    return Split(
        images=np.asarray(split.images[rows]),
        categories=split.categories[rows],
        ids=tuple(split.ids[row] for row in rows),
        groups=tuple(split.groups[row] for row in rows),
        conditions=split.conditions[rows],
    )


def join(one: Split, other: Split) -> Split:
    """The photos of both."""
    return Split(
        images=np.concatenate([one.images, other.images]),
        categories=np.concatenate([one.categories, other.categories]),
        ids=one.ids + other.ids,
        groups=one.groups + other.groups,
        conditions=np.concatenate([one.conditions, other.conditions]),
    )


def fold(split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part the rows of a split into halves that share no group and hold each category alike; by the groups' names alone."""
    sides: tuple[list[int], list[int]] = ([], [])
    taken: dict[str, int] = {}
    filled = np.zeros((2, int(split.categories.max(initial=0)) + 1), dtype=np.int64)
    order = sorted(range(len(split)), key=lambda row: (hashlib.sha256(split.groups[row].encode()).digest(), split.ids[row]))
    for row in order:
        category = split.categories[row]
        side = taken.setdefault(split.groups[row], int(filled[1, category] < filled[0, category]))
        filled[side, category] += 1
        sides[side].append(row)
    return np.array(sides[0], dtype=np.int64), np.array(sides[1], dtype=np.int64)
