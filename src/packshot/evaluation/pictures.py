"""What a person looks at: new pictures by category, photos beside themselves drawn again, and the worst of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.comparison import pair_photos
from packshot.evaluation.evidence import Evidence, Pixels, Redrawn, spread
from packshot.evaluation.neighbours import squared_distances
from packshot.evaluation.scoring import draw
from packshot.images.conditions import encode_wish
from packshot.images.sheet import contact_sheet
from packshot.models.base import ImageModel

T = TypeVar("T")

EACH = 8
"""New pictures of each category."""
SHOWN = 16
"""Photos beside their reconstructions, on an even course through the categories."""
MOST_VALUES = 24
"""Of an attribute, on its sheet."""
PAIRS = 10
"""The worst, and as many from the middle; the new pictures that come nearest to a training photo; and those most alike."""
LOOKED_AT = 2000
"""Pictures among which the most alike are sought, the first ones: each is held against each."""
CHANGED = 8
"""Photos that lost most by a challenger, and as many that gained most."""


def draw_pictures(model: ImageModel, evidence: Evidence, seed: int) -> dict[str, Pixels]:
    """All that there is to look at of one model, by the names of report.CAPTIONS."""
    pictures = {"samples": show_samples(model, seed), "nearest": show_nearest(evidence), "alike": show_alike(evidence)}
    if evidence.real.labelled:
        pictures["attributes"] = show_attributes(model, seed)
    if evidence.redrawn is not None:
        pictures |= {"reconstructions": show_reconstructions(evidence.redrawn), "worst": show_worst(evidence.redrawn)}
    return pictures


def draw_comparison(model: ImageModel, champion: ImageModel, pair: tuple[Evidence, Evidence], seed: int) -> dict[str, Pixels]:
    """A challenger beside the champion: what both draw from the same seeds, and of the photos those that changed most."""
    pictures = {"beside": show_beside(model, champion, seed)}
    if (changed := show_changed(*pair)) is not None:
        pictures["changed"] = changed
    return pictures


def show_beside(model: ImageModel, champion: ImageModel, seed: int) -> Pixels:
    """A row for each category that both know: from each of four seeds the champion's picture, right of it the challenger's."""
    names = [name for name in model.categories if name in champion.categories]
    seeds = list(range(seed, seed + EACH // 2)) * len(names)
    drawn = [draw(one, np.repeat([one.categories.index(name) for name in names], EACH // 2), seeds) for one in (champion, model)]
    images = np.stack(list(_flat(zip(*drawn, strict=True))))
    heads = ("champion", "challenger")
    labels = [heads[column % 2] if column else name for name in names for column in range(EACH)]
    return contact_sheet(images, EACH, labels, scale=_scale(images))


def show_changed(challenger: Evidence, champion: Evidence) -> Pixels | None:
    """The photos that the challenger draws again worst beside the champion, then the best: photo, champion's, challenger's.

    None where there is no photo that both draw again in the same way.
    """
    ours, theirs = challenger.redrawn, champion.redrawn
    if ours is None or theirs is None or ours.how != theirs.how:
        return None
    (mine, others), _ = pair_photos(ours, theirs)
    if not len(mine):
        return None
    gains = ours.scores.psnr[mine] - theirs.scores.psnr[others]
    order = np.argsort(gains, kind="stable")
    rows = order if len(order) <= 2 * CHANGED else np.concatenate([order[:CHANGED], order[-CHANGED:]])
    photos = np.asarray(ours.photos.images)
    trios = ((photos[mine[row]], theirs.pictures[others[row]], ours.pictures[mine[row]]) for row in rows)
    images = np.stack([picture for trio in trios for picture in trio])
    labels = [label for row in rows for label in ("photo", "champion", f"{gains[row]:+.1f} dB")]
    return contact_sheet(images, 12, labels, scale=_scale(images))


def show_alike(evidence: Evidence) -> Pixels:
    """The pairs of new pictures that are most alike, and as many of unseen real photos: a collapse would show."""
    drawn = _most_alike(evidence.drawn[:LOOKED_AT], evidence.pixels_raw[:LOOKED_AT])
    unseen = np.asarray(evidence.real.unseen.images[:LOOKED_AT])
    real = _most_alike(unseen, evidence.real.pixels.see(unseen))
    images = np.concatenate([drawn, real])
    labels = [*["new"] * len(drawn), *["photo"] * len(real)]
    return contact_sheet(images, PAIRS, labels, scale=_scale(images))


def _most_alike(pictures: Pixels, features: NDArray[np.float64]) -> Pixels:
    """The ten pairs whose features lie nearest, no picture in two of them."""
    apart = squared_distances(features, features)
    apart[np.tril_indices(len(apart))] = np.inf
    pairs: list[int] = []
    for _ in range(min(PAIRS, len(pictures) // 2)):
        one, other = np.unravel_index(int(apart.argmin()), apart.shape)
        pairs += [int(one), int(other)]
        for taken in (one, other):
            apart[taken], apart[:, taken] = np.inf, np.inf
    return np.asarray(pictures[pairs])


def show_samples(model: ImageModel, seed: int) -> Pixels:
    """A row of new pictures for each category, every row from the same seeds."""
    kinds = len(model.categories)
    asked = np.repeat(np.arange(kinds), EACH)
    pictures = draw(model, asked, list(range(seed, seed + EACH)) * kinds)
    labels = [name if not column else "" for name in model.categories for column in range(EACH)]
    return contact_sheet(pictures, EACH, labels, scale=_scale(pictures))


def show_attributes(model: ImageModel, seed: int) -> Pixels:
    """For each label attribute a row of new pictures a category: first as it comes, then one a value, all from one seed."""
    kinds = len(model.categories)
    sheets = []
    for condition in model.conditions:
        if condition.kind == "label":
            values = condition.values[:MOST_VALUES]
            wishes = [{}, *({condition.name: value} for value in values)]
            encoded = np.stack([encode_wish(model.conditions, wish) for wish in wishes])
            asked = np.repeat(np.arange(kinds), len(wishes))
            pictures = draw(model, asked, [seed] * len(asked), np.tile(encoded, (kinds, 1)))
            labels = [label for name in model.categories for label in (name, *values)]
            sheets.append(contact_sheet(pictures, len(wishes), labels, scale=_scale(pictures)))
    widest = max(sheet.shape[1] for sheet in sheets)
    wide = [np.pad(sheet, ((0, 0), (0, widest - sheet.shape[1]), (0, 0)), constant_values=255) for sheet in sheets]
    return np.concatenate(wide)


def show_reconstructions(redrawn: Redrawn) -> Pixels:
    """Photos, and right of each the same photo drawn again."""
    rows = spread(redrawn.photos.categories)[:SHOWN]
    return _show_pairs(redrawn, np.sort(rows), columns=8)


def show_worst(redrawn: Redrawn) -> Pixels:
    """The ten photos that come back worst, then ten from the middle, each with its PSNR."""
    order = np.argsort(redrawn.scores.psnr, kind="stable")
    middle = max(0, len(order) // 2 - PAIRS // 2)
    rows = np.concatenate([order[:PAIRS], order[middle : middle + PAIRS]])
    return _show_pairs(redrawn, rows, columns=10)


def show_nearest(evidence: Evidence) -> Pixels:
    """The new pictures nearest to a training photo, and right of each that photo: copies would show."""
    distances, nearest = evidence.nearest
    photos = np.asarray(evidence.real.training.images)
    pairs = []
    for row in np.argsort(distances, kind="stable")[:PAIRS]:
        mirrored = nearest[row] >= len(photos)
        photo = photos[nearest[row] % len(photos)]
        pairs.append((evidence.drawn[row], photo[..., ::-1] if mirrored else photo))
    images = np.stack(list(_flat(pairs)))
    labels = list(_flat(("new", "photo") for _ in pairs))
    return contact_sheet(images, 10, labels, scale=_scale(images))


def _show_pairs(redrawn: Redrawn, rows: NDArray[np.int64], columns: int) -> Pixels:
    photos = np.asarray(redrawn.photos.images)
    images = np.stack(list(_flat((photos[row], redrawn.pictures[row]) for row in rows)))
    labels = list(_flat(("photo", f"{redrawn.scores.psnr[row]:.1f} dB") for row in rows))
    return contact_sheet(images, columns, labels, scale=_scale(images))


def _flat(pairs: Iterable[tuple[T, ...]]) -> Iterable[T]:
    return chain.from_iterable(pairs)


def _scale(images: Pixels) -> int:
    """Small pictures are enlarged to about 64 pixels."""
    return max(1, 64 // int(images.shape[-1]))
