from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from packshot.images.fingerprint import LAYOUT_SIDE, fingerprint
from packshot.images.measure import describe_shape
from packshot.images.resize import fit_within
from packshot.sources.suspicion import FOLDS, _Discriminant, _discriminate, _Features, find_suspects

Bytes = np.ndarray


def looks(rows: int, categories: int, spread: float, seed: int = 0) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Features that scatter about a centre of each category; labels; folds."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, categories, rows)
    width = 128 + 3 * LAYOUT_SIDE**2
    centres = chance.integers(60, 190, (categories, width))
    seen = np.clip(centres[labels] + chance.normal(0, spread, (rows, width)), 0, 255).astype(np.uint8)
    return seen[:, :128], seen[:, 128:], labels, chance.integers(0, FOLDS, rows)


def swap(labels: Bytes, share: float, seed: int = 5) -> tuple[Bytes, Bytes]:
    """Labels of which a share is moved to another category, and which."""
    chance = np.random.default_rng(seed)
    categories = labels.max() + 1
    moved = chance.random(len(labels)) < share
    return np.where(moved, (labels + chance.integers(1, categories, len(labels))) % categories, labels), moved


def test_swapped_labels_are_found_and_their_own_category_named() -> None:
    shapes, layouts, labels, folds = looks(600, 4, 60)
    wrong, moved = swap(labels, 0.05)
    found = find_suspects(shapes, layouts, wrong, folds)
    assert set(found.rows) == set(np.flatnonzero(moved))
    assert (found.likely == labels[found.rows]).all()
    assert (np.diff(found.wrong.round(4)) <= 0).all()
    assert (found.wrong > 0.5).all()


def test_a_clean_catalogue_raises_no_suspicion() -> None:
    shapes, layouts, labels, folds = looks(600, 4, 60)
    assert len(find_suspects(shapes, layouts, labels, folds).rows) == 0


def test_looks_that_tell_nothing_raise_no_suspicion() -> None:
    """A model that knows nothing disagrees with most labels; that is its own fault."""
    shapes, layouts, _, folds = looks(600, 1, 60)
    labels = np.random.default_rng(1).integers(0, 4, 600)
    assert len(find_suspects(shapes, layouts, labels, folds).rows) < 6


def test_equal_photos_give_equal_suspects() -> None:
    shapes, layouts, labels, folds = looks(300, 3, 80)
    wrong, _ = swap(labels, 0.1)
    one, other = (find_suspects(shapes, layouts, wrong, folds) for _ in range(2))
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.wrong, other.wrong)


@pytest.mark.parametrize(("rows", "categories"), [(0, 1), (9, 2), (50, 1)])
def test_too_little_to_learn_from_raises_no_suspicion(rows: int, categories: int) -> None:
    shapes, layouts, labels, folds = looks(rows, categories, 30)
    assert len(find_suspects(shapes, layouts, labels, folds).rows) == 0


def test_a_category_of_few_photos_is_left_alone() -> None:
    shapes, layouts, labels, folds = looks(400, 3, 60)
    labels = np.where((labels == 2) & (np.cumsum(labels == 2) > 5), 1, labels)  # five of the third are left, the rest are wrong
    found = find_suspects(shapes, layouts, labels, folds)
    assert not (labels[found.rows] == 2).any()
    assert not (found.likely == 2).any()


def test_a_category_that_one_fold_alone_holds_is_not_learnt_from_itself() -> None:
    shapes, layouts, labels, folds = looks(400, 3, 60)
    found = find_suspects(shapes, layouts, labels, np.where(labels == 2, 0, folds))
    assert np.isfinite(found.wrong).all()


def test_the_discriminant_is_scikit_learns() -> None:
    shapes, layouts, labels, _ = looks(900, 4, 90)
    features = _Features(shapes, layouts)
    seen = features.of(np.arange(len(labels)))
    sums = np.stack([seen[labels == label].sum(axis=0) for label in range(4)])
    counts = np.bincount(labels).astype(np.float64)
    order = np.arange(seen.shape[1])  # no mirror image
    ours: _Discriminant = _discriminate(sums, seen.T @ seen, counts, order)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05, store_covariance=True)
    theirs.fit(seen, labels)
    odds, expected = seen @ ours.weights + ours.offsets, theirs.decision_function(seen)
    odds, expected = (one - one.mean(axis=1, keepdims=True) for one in (odds, expected))
    assert np.corrcoef(odds.ravel(), expected.ravel())[0, 1] > 0.9999


def test_the_order_of_a_mirror_image_is_that_of_its_features() -> None:
    pixels = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (96, 96, 3), dtype=np.uint8), (0, 0), 5)
    pictures = [pixels, np.ascontiguousarray(pixels[:, ::-1])]
    shapes = np.stack([np.frombuffer(describe_shape(one), dtype=np.uint8) for one in pictures])
    layouts = np.stack([np.frombuffer(fingerprint(one).layout, dtype=np.uint8) for one in pictures])
    features = _Features(shapes, layouts)
    one, other = features.of(np.array([0, 1]))
    assert np.abs(one[features.mirrored()] - other).mean() < 0.02


@pytest.mark.photos
def test_five_swapped_labels_in_a_hundred_are_found_among_real_photos(clothing: Path) -> None:
    """Half of them, and two in three of the list are right, where a random list has one in twenty."""
    paths = sorted(clothing.glob("*/*.jpg"))
    pictures = [fit_within(cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2)[:, :, ::-1].copy(), 96) for path in paths]
    shapes = np.stack([np.frombuffer(describe_shape(one), dtype=np.uint8) for one in pictures])
    layouts = np.stack([np.frombuffer(fingerprint(one).layout, dtype=np.uint8) for one in pictures])
    labels = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
    wrong, moved = swap(labels, 0.05)
    found = find_suspects(shapes, layouts, wrong, np.random.default_rng(0).integers(0, FOLDS, len(labels)))
    hit = moved[found.rows]
    assert hit.mean() > 0.5
    assert hit.sum() / moved.sum() > 0.4
    assert hit.mean() > 8 * moved.mean()
