"""What a model in training draws: how much its pictures of one category differ, beside real photos of that category."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from packshot.models.base import Batch, ImageModel
from packshot.training.batches import Photos

THUMBNAIL = 8
DRAWN = 12
"""Pictures of each category in a look, always of the same seeds."""
CATEGORIES = 16
"""In one look; where there are more, looks take turns."""
COMPARED = 32
"""Photos of each category that pictures are compared with, at most."""
ENOUGH = 8
"""Photos of a category below which nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the diversity of drawn pictures over that of real photos, by category number, and of all of them."""

    each: dict[int, float]
    overall: float


class Looks:
    """The photos to compare with, and the looks at what a model draws."""

    def __init__(self, photos: Photos) -> None:
        self.photos = photos
        counts = torch.bincount(photos.categories.cpu()).tolist()
        places = [torch.nonzero(photos.categories == category).squeeze(1) for category in range(len(counts))]
        self.rows = {category: _spread(rows, COMPARED) for category, rows in enumerate(places) if len(rows) >= ENOUGH}
        self.spreads = {category: float(variance(self._photos(rows).images)) for category, rows in self.rows.items()}
        self.judged = [category for category, spread in self.spreads.items() if spread > 0]
        """The categories that have photos enough, and photos that differ."""

    def choose(self, number: int, suspects: Sequence[int]) -> list[int]:
        """The categories of look `number`: those suspected, then those whose turn it is."""
        turn = number * CATEGORIES % max(1, len(self.judged))
        order = [*(one for one in suspects if one in self.spreads), *self.judged[turn:], *self.judged[:turn]]
        return list(dict.fromkeys(order))[:CATEGORIES]

    def look(self, average: ImageModel, categories: Sequence[int]) -> Look:
        """Draw pictures of `categories` and measure them. Nothing of `average`, and no chance of the training's, is touched."""
        device = next(average.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            model = copy.deepcopy(average).eval()
            photos = self._photos(torch.cat([self.rows[category] for category in categories]))
            model.finish(lambda: iter((photos,)))
            asked = torch.tensor(categories, device=device).repeat_interleave(DRAWN)
            pictures = model.sample(asked, list(range(DRAWN)) * len(categories))
        drawn = {one: float(variance(part)) for one, part in zip(categories, torch.split(pictures, DRAWN), strict=True)}
        each = {one: (spread / self.spreads[one]) ** 0.5 for one, spread in drawn.items()}
        return Look(each, (sum(drawn.values()) / sum(self.spreads[one] for one in categories)) ** 0.5)

    def _photos(self, rows: Tensor) -> Batch:
        return self.photos.at(rows.cpu().numpy())


def variance(images: Tensor) -> Tensor:
    """The mean variance of the numbers of 8 x 8 thumbnails of `images`, (N, C, S, S)."""
    return adaptive_avg_pool2d(images, THUMBNAIL).var(dim=0).mean()


def _spread(rows: Tensor, count: int) -> Tensor:
    """At most `count` of `rows`, evenly spaced."""
    return rows[torch.arange(min(count, len(rows))) * len(rows) // min(count, len(rows))]
