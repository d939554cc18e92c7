"""What params.yaml can set of augmentation: read by every command, so without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from packshot.records import Record


class Translation(Record):
    """Whole pixels, up to an eighth of the side along both axes; the border is repeated."""

    kind: Literal["translation"] = "translation"
    chance: float = Field(0.5, ge=0, le=1)
    """How often a picture is shifted before the critic sees it."""


class Diff(Record):
    """DiffAugment (Zhao et al. 2020): every picture, always, by each of its three parts."""

    kind: Literal["diff"] = "diff"
    parts: tuple[Literal["colour", "translation", "cutout"], ...] = Field(("colour", "translation", "cutout"), min_length=1)


class Adaptive(Record):
    """Adaptive discriminator augmentation (Karras et al. 2020a): each transform with a chance that follows the critic.

    The chance starts at 0, rises while the critic tells its training photos apart too surely, and falls while it does not.
    """

    kind: Literal["adaptive"] = "adaptive"
    parts: tuple[Literal["blit", "geometry", "colour"], ...] = Field(("blit", "geometry", "colour"), min_length=1)
    """Mirrored, turned by quarters and shifted by whole pixels; scaled, turned by any angle and shifted; coloured."""
    target: float = Field(0.6, ge=-1, le=1)
    """Of the mean sign of what the critic says of photos; -1 is always wrong, 1 always right."""
    images: int = Field(500_000, ge=1)
    """Photos in which the chance would go all the way from 0 to 1."""
    every: int = Field(4, ge=1)
    """Steps between two moves of the chance."""
    most: float = Field(0.8, ge=0, le=0.8)
    """Of the chance: beyond 0.8, what is augmented leaks into what is drawn (Karras et al. 2020a)."""


AnyAugment = Annotated[Translation | Diff | Adaptive, Field(discriminator="kind")]
