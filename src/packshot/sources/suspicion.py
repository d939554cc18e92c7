"""Photos that look as if they stood in the wrong category."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from packshot.images.fingerprint import LAYOUT_SIDE

FOLDS = 5
_FEWEST = 2 * FOLDS
"""Photos of a category below which nothing is said of it."""
_SHRINKAGE = 0.05
_CHUNK = 8192
_SAMPLE = 20_000
_SHARPEST, _DULLEST, _STEPS = 2.0, 0.005, 48
_ROUNDS = 60
_MOST_WRONG = 0.2
"""Where more labels seem wrong than this, it is the model that knows nothing."""
_EVEN_ODDS = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Suspects:
    """Photos whose category is more likely wrong than right, the likeliest first, all of one length."""

    rows: NDArray[np.int64]
    likely: NDArray[np.int64]
    """The label that each looks like."""
    wrong: Floats
    """The probability that its own is wrong, 0.5..1."""


def find_suspects(
    shapes: NDArray[np.uint8], layouts: NDArray[np.uint8], labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> Suspects:
    """The photos that a model which has not seen them takes for another category.

    `shapes` are those of images.measure, (N, 128), `layouts` those of images.fingerprint, (N, L); `labels` (N,) count from 0;
    `folds` (N,), below FOLDS, hold the copies of a picture together. For each fold a linear discriminant is learnt from the
    others (Fisher 1936; its covariance shrunk towards a sphere, Friedman 1989), from each photo and its mirror image. Out-of-fold
    disagreement is what confident learning ranks by (Northcutt, Jiang & Chuang 2021). Here its probabilities are tempered and the
    share e of wrong labels is estimated, together, so that the labels are likeliest under (1 - e) p(label | photo) + e / labels:
    neither a weak model nor a clean catalogue fills the list. Equal input, equal suspects; memory grows by bytes a photo.
    """
    features = _Features(shapes, layouts)
    counts = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.int64)
    kept = np.flatnonzero(counts >= _FEWEST)
    rows = np.flatnonzero(np.isin(labels, kept))
    if len(kept) < 2:
        return Suspects(rows[:0], rows[:0], np.zeros(0))
    own = np.searchsorted(kept, labels)
    discriminants = _learn(features, own, folds, rows, len(kept))
    sample = rows[:_SAMPLE]
    logits = np.empty((len(sample), len(kept)))
    for chunk, found in _score(features, discriminants, folds, sample):
        logits[np.searchsorted(sample, chunk)] = found
    temper, noise = _calibrate(logits, own[sample])
    wrong, likely = np.zeros(len(labels)), own.copy()
    for chunk, found in _score(features, discriminants, folds, rows):
        chances = _softmax(found * temper)
        likely[chunk] = chances.argmax(axis=1)
        wrong[chunk] = _wrong(chances[np.arange(len(chunk)), own[chunk]], noise, len(kept))
    suspected = rows[(wrong[rows] > _EVEN_ODDS) & (likely[rows] != own[rows])]
    suspected = suspected[np.argsort(-wrong[suspected].round(4), kind="stable")]
    return Suspects(suspected, kept[likely[suspected]], wrong[suspected])


@dataclass(frozen=True, slots=True)
class _Features:
    """What is known of each photo's looks, and how a mirror image's order of it is another."""

    shapes: NDArray[np.uint8]
    layouts: NDArray[np.uint8]

    def of(self, rows: NDArray[np.int64]) -> Floats:
        return np.hstack([self.shapes[rows], self.layouts[rows]]) / 255.0

    def mirrored(self) -> NDArray[np.int64]:
        """The order in which a photo's features are its mirror image's: cells change sides, directions their slope."""
        shape = np.arange(self.shapes.shape[1]).reshape(4, 4, 8)[:, ::-1][:, :, -np.arange(8) % 8]
        layout = np.arange(self.layouts.shape[1]).reshape(LAYOUT_SIDE, LAYOUT_SIDE, 3)[:, ::-1]
        return np.concatenate([shape.ravel(), layout.ravel() + shape.size])


@dataclass(frozen=True, slots=True)
class _Discriminant:
    """Log odds up to a constant: features @ weights + offsets."""

    weights: Floats
    offsets: Floats


def _learn(
    features: _Features, labels: NDArray[np.int64], folds: NDArray[np.int64], rows: NDArray[np.int64], categories: int
) -> list[_Discriminant]:
    """A discriminant for each fold, from the photos of all others and their mirror images, in one pass over the photos."""
    order = features.mirrored()
    width = len(order)
    sums = np.zeros((FOLDS, categories, width))
    scatters = np.zeros((FOLDS, width, width))
    counts = np.zeros((FOLDS, categories))
    for fold, chunk in _chunks(rows, folds):
        seen = features.of(chunk)
        members = csr_matrix((np.ones(len(chunk)), (labels[chunk], np.arange(len(chunk)))), shape=(categories, len(chunk)))
        sums[fold] += members @ seen
        scatters[fold] += seen.T @ seen
        counts[fold] += np.bincount(labels[chunk], minlength=categories)
    sums += sums[:, :, order]
    scatters += scatters[:, order][:, :, order]
    return [
        _discriminate(sums.sum(0) - sums[fold], scatters.sum(0) - scatters[fold], 2 * (counts.sum(0) - counts[fold]), order)
        for fold in range(FOLDS)
    ]


def _discriminate(sums: Floats, scatter: Floats, counts: Floats, order: NDArray[np.int64]) -> _Discriminant:
    total, width = counts.sum(), len(scatter)
    means = sums / np.maximum(counts, 1)[:, None]
    within = (scatter - (means * counts[:, None]).T @ means) / max(total, 1)
    sphere = np.trace(within) / width + 1e-9
    within = (1 - _SHRINKAGE) * within + _SHRINKAGE * sphere * np.eye(width)
    weights = np.linalg.solve(within, means.T)
    prior = np.where(counts > 0, np.log(np.maximum(counts, 1) / max(total, 1)), -1e9)
    offsets = prior - 0.5 * (means.T * weights).sum(axis=0)
    return _Discriminant((weights + weights[order]) / 2, offsets)  # as if the photo and its mirror image were both asked


def _score(
    features: _Features, discriminants: list[_Discriminant], folds: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    for fold, chunk in _chunks(rows, folds):
        one = discriminants[fold]
        yield chunk, features.of(chunk) @ one.weights + one.offsets


def _chunks(rows: NDArray[np.int64], folds: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for fold in range(FOLDS):
        members = rows[folds[rows] == fold]
        for start in range(0, len(members), _CHUNK):
            yield fold, members[start : start + _CHUNK]


def _calibrate(logits: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The temper of the odds and the share of labels that are drawn at random, under which the labels are likeliest."""
    best = (-np.inf, 1.0, 0.0)
    for temper in np.geomspace(_DULLEST, _SHARPEST, _STEPS):
        chances = _softmax(logits * temper)
        own, categories = chances[np.arange(len(labels)), labels], chances.shape[1]
        noise = 0.02
        for _ in range(_ROUNDS):  # expectation maximisation of a mixture's weight
            noise = min(_MOST_WRONG, float(_wrong(own, noise, categories).mean()))
        likelihood = float(np.log((1 - noise) * own + noise / categories + 1e-300).mean())
        best = max(best, (likelihood, float(temper), noise))
    return best[1], best[2]


def _wrong(own: Floats, noise: float, categories: int) -> Floats:
    """The probability that a label was drawn at random, given the model's chances of it."""
    random = noise / categories
    return random / ((1 - noise) * own + random + 1e-300)


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
