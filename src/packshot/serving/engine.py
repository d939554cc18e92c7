"""Weights to pictures: the same category, attributes and seed give the same picture, whatever else is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from packshot.errors import IntegrityError
from packshot.images.conditions import encode_wish
from packshot.images.pixels import to_pixels, to_unit
from packshot.models.base import ImageModel
from packshot.records import Live, ServiceCard
from packshot.serving.batching import Work

Pixels = NDArray[np.uint8]
"""A picture, uint8 (H, W, 3), RGB."""

THREADS = 1
"""A sum split among more threads is another sum: one thread gives the same bytes on one core and on sixty-four."""

MICRO_BATCH = 8
"""Every draw has this shape, padded: kernels are chosen by shape, and another kernel rounds differently."""

GOLDEN = 16
"""The most pictures of categories, and as many of attributes, that a warm-up draws, each twice."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A picture to be drawn: the category's number, a seed in [0, 2**63), and what else is asked for.

    `conditions` are the D numbers that `images.conditions` encodes; none at all where only the category matters.
    """

    category: int
    seed: int
    conditions: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo to be drawn again: uint8 (S, S, 3) RGB of the model's own size, and its category's number."""

    pixels: Pixels
    category: int


def settle() -> None:
    """Hold the calling thread to THREADS. OpenMP keeps the number for each thread, and a new one begins with every core."""
    torch.set_num_threads(THREADS)


class Engine:
    """One model that draws. Drawing changes nothing in it: two threads may."""

    def __init__(self, model: ImageModel, card: ServiceCard) -> None:
        self.model, self.card = model.eval().requires_grad_(requires_grad=False), card

    @classmethod
    def load(cls, live: Live) -> Engine:
        """Load what `live` names, by its digest.

        Raises MissingArtifact or IntegrityError where weights or card are not there, not those, or do not belong together.
        """
        from packshot.models.weights import load_weights

        card = ServiceCard.read(Path(live.card))
        if (card.model, card.version, card.sha256) != (live.model, live.version, live.sha256):
            raise IntegrityError("the card describes another version", where=live.card, advice="promote again")
        model, own = load_weights(Path(live.weights), live.sha256)
        if (own.image, own.categories, own.conditions) != (card.image, card.categories, card.conditions):
            raise IntegrityError(
                "the card describes other pictures than the weights draw", where=live.card, advice="promote again"
            )
        return cls(model, card)

    # Made when asked for: an engine that kept its own Work would be a ring, and stay in memory after a swap.
    @property
    def drawing(self) -> Work[Wish, Pixels]:
        """Drawing, as a batcher's work."""
        return Work(self.draw, MICRO_BATCH)

    @property
    def redrawing(self) -> Work[Photo, Pixels]:
        """Redrawing, as a batcher's work: one photo at a time, so that a neighbour cannot change the search of a latent."""
        return Work(self.redraw, 1)

    def draw(self, wishes: Sequence[Wish]) -> list[Pixels]:
        """Draw 1 to MICRO_BATCH pictures."""
        return _channels_last(to_pixels(self._sample(wishes)))[: len(wishes)]

    def redraw(self, photos: Sequence[Photo]) -> list[Pixels]:
        """Draw each photo again, as nearly as the model can."""
        return [self._redraw(photo) for photo in photos]

    def warm_up(self) -> None:
        """Draw golden pictures of the categories, and of each attribute's values, twice.

        Raises IntegrityError where one is broken: not finite, flat, or not drawn the same again.
        """
        kinds = len(self.card.categories)
        wishes = [Wish(category, 0) for category in range(min(kinds, GOLDEN))]
        named = [(told.name, value) for told in self.card.conditions for value in told.values or (told.mean,)]
        for place, (name, value) in enumerate(named[:GOLDEN]):
            wishes.append(Wish(place % kinds, 0, tuple(encode_wish(self.card.conditions, {name: value}).tolist())))
        for start in range(0, len(wishes), MICRO_BATCH):
            some = wishes[start : start + MICRO_BATCH]
            drawn = self._sample(some)
            if not bool(torch.isfinite(drawn).all()):
                raise self._broken("draws NaN or infinity")
            pictures = _channels_last(to_pixels(drawn))
            if any(int(np.ptp(picture, axis=(0, 1)).max()) == 0 for picture in pictures):
                raise self._broken("draws flat pictures")
            again = self.draw(some[::-1])[::-1]
            if not all(np.array_equal(one, other) for one, other in zip(pictures, again, strict=False)):
                raise self._broken("does not draw the same picture twice")

    def _sample(self, wishes: Sequence[Wish]) -> Tensor:
        """(MICRO_BATCH, C, H, W): the last wish fills up the batch."""
        padded = [*wishes, *[wishes[-1]] * (MICRO_BATCH - len(wishes))]
        told = None
        if size := sum(condition.size for condition in self.card.conditions):
            told = torch.tensor([wish.conditions or (0.0,) * size for wish in padded])
        with torch.no_grad():
            return self.model.sample(torch.tensor([wish.category for wish in padded]), [wish.seed for wish in padded], told)

    def _redraw(self, photo: Photo) -> Pixels:
        images = to_unit(torch.from_numpy(photo.pixels.copy())).permute(2, 0, 1)[None].contiguous()
        with torch.no_grad():
            again = self.model.reconstruct(images, torch.tensor([photo.category]))
        return _channels_last(to_pixels(again))[0]

    def _broken(self, what: str) -> IntegrityError:
        return IntegrityError(f"{self.card.model} {self.card.version} {what}", where=self.card.sha256, advice="promote another")


def _channels_last(pixels: Tensor) -> list[Pixels]:
    return list(pixels.permute(0, 2, 3, 1).contiguous().numpy())
