"""Splits that leak nothing and stay: near-duplicates go together, and a growing catalogue does not move its old photos."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from packshot.errors import DataRejected
from packshot.images.colour import HexColour
from packshot.images.fingerprint import Fingerprint, Fingerprints, group, near_duplicates
from packshot.images.manifest import Row
from packshot.images.shards import SPLITS, SplitName
from packshot.records import AttributeName, ImageSpec, Record


class PrepareParams(Record):
    """The section `prepare` of params.yaml."""

    image: ImageSpec
    """The shape that every model of the run draws."""
    val_share: float = Field(gt=0.0, lt=0.5)
    test_share: float = Field(gt=0.0, lt=0.5)
    min_photos: int = Field(ge=1)
    """Photos that each category needs in each split."""
    background: HexColour = "#ffffff"
    """What stands beside a photo that is not square."""
    conditions: tuple[AttributeName, ...] = ()
    """Attributes, labels or numbers of `ingest.attributes`, on which models are conditioned beside the category."""
    salt: str = ""
    """Another text draws another split. Not the run's seed: a new seed must not change what is held out."""

    @model_validator(mode="after")
    def _leave_something_to_learn_from(self) -> Self:
        if self.val_share + self.test_share >= 0.9:
            raise ValueError("val_share and test_share leave less than a tenth to train on")
        return self


def assign_groups(rows: Sequence[Row], radius: int) -> tuple[str, ...]:
    """For each photo, the group that must stay in one split: near-duplicates, mirrored ones too, and photos of one product.

    A group is named by one member's id, drawn by hash: as a group grows, its name seldom changes (with the chance 1/members).
    """
    prints = Fingerprints.of([Fingerprint(row.phash, row.phash_mirrored, row.layout) for row in rows])
    products: dict[str, int] = {}
    pairs = list(near_duplicates(prints, radius))
    pairs += [(products.setdefault(row.sku, index), index) for index, row in enumerate(rows) if row.sku]
    roots = group(len(rows), pairs)
    names: dict[int, str] = {}
    for root, row in zip(roots, rows, strict=True):
        names[root] = min(names.get(root, row.sha256), row.sha256, key=_rank)
    return tuple(names[root] for root in roots)


def assign_splits(groups: Sequence[str], params: PrepareParams) -> tuple[SplitName, ...]:
    """For each photo, its split, from its group's name alone: the same name falls into the same split whatever else there is.

    Names are spread evenly over [0, 1) by their sha256; test takes the first `test_share`, val the next `val_share`.
    """
    return tuple(_split(name, params) for name in groups)


def check_splits(categories: Sequence[str], splits: Sequence[SplitName], min_photos: int) -> None:
    """Raise DataRejected, and name categories and counts, where one has fewer than `min_photos` in a split."""
    counts = Counter(zip(categories, splits, strict=True))
    short = [
        f"'{category}' has {counts[category, split]} in {split}"
        for category in sorted(set(categories))
        for split in SPLITS
        if counts[category, split] < min_photos
    ]
    if short:
        raise DataRejected(
            f"too few photos a split: {', '.join(short)}; {min_photos} are needed",
            where="prepare",
            advice="add photos of these categories, take the categories out, or lower prepare.min_photos",
        )


def _split(name: str, params: PrepareParams) -> SplitName:
    place = int.from_bytes(hashlib.sha256(f"{params.salt}/{name}".encode()).digest()[:8], "big") / 2**64
    if place < params.test_share:
        return "test"
    return "val" if place < params.test_share + params.val_share else "train"


def _rank(name: str) -> str:
    return hashlib.sha256(f"first of its group/{name}".encode()).hexdigest()
