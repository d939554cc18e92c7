"""Splits that leak nothing and stay: what shows one thing goes together, and a growing catalogue moves none of its old photos."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from packshot.errors import DataRejected
from packshot.images.colour import HexColour
from packshot.images.fingerprint import Pairs, group
from packshot.images.shards import SPLITS
from packshot.records import AttributeName, ImageSpec, Record

Ints = NDArray[np.int64]

FREE, LEFT_OUT = -1, -2


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


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where N photos go."""

    splits: Ints
    """(N,): the split's place in SPLITS, or LEFT_OUT."""
    anchors: Ints
    """(N,): the photo by which the photo's group is known; of a photo that is left out, itself."""


def assign_splits(ids: Sequence[str], skus: Sequence[str], generations: Ints, copies: Pairs, params: PrepareParams) -> Assignment:
    """Give each photo its split: photos of one product (sku, where known) and near-duplicates, `copies`, stand in the same.

    A group's split is a stable hash of its anchor: the photo that came first, and of those that came together the first by the
    hash of its id. Photos are placed generation after generation, by what came before alone, so whatever comes later moves none
    of them; a source without a history has but one generation. A photo that would join groups which already stand in different
    splits is left out, and stays out.
    """
    count = len(ids)
    ranks = np.array([_rank(name) for name in ids], dtype=np.uint64)
    links = _links(skus, copies)
    nodes = max(count, int(links.max(initial=-1)) + 1)
    splits = np.full(nodes, FREE, dtype=np.int64)
    ages = generations[np.where(links < count, links, links[:, :1])].max(axis=1)
    for generation in np.unique(generations):
        fresh = np.flatnonzero(generations == generation)
        _place(fresh, links[ages == generation], splits, ranks, lambda anchor: _draw(ids[anchor], params))
    kept = links[(splits[links] != LEFT_OUT).all(axis=1)]
    return Assignment(splits=splits[:count], anchors=_anchors(group(nodes, kept)[:count], generations, ranks))


def check_splits(categories: Sequence[str], numbers: Ints, splits: Ints, min_photos: int) -> None:
    """Raise DataRejected, and name categories and counts, where one has fewer than `min_photos` in a split.

    `numbers`, (N,), are the photos' places in `categories`; `splits`, (N,), their places in SPLITS.
    """
    placed = splits >= 0
    counts = np.zeros((len(categories), len(SPLITS)), dtype=np.int64)
    np.add.at(counts, (numbers[placed], splits[placed]), 1)
    short = [
        f"'{category}' has {counts[row, column]} in {split}"
        for row, category in enumerate(categories)
        for column, split in enumerate(SPLITS)
        if counts[row, column] < min_photos
    ]
    if short:
        raise DataRejected(
            f"too few photos a split: {', '.join(short)}; {min_photos} are needed",
            where="prepare",
            advice="add photos of these categories, take the categories out, or lower prepare.min_photos",
        )


def _links(skus: Sequence[str], copies: Pairs) -> Pairs:
    """What holds photos together, (M, 2): copies, and each photo with its product, a node after all photos."""
    products: dict[str, int] = {}
    owned = [(row, products.setdefault(sku, len(skus) + len(products))) for row, sku in enumerate(skus) if sku]
    return np.concatenate([np.asarray(copies, dtype=np.int64).reshape(-1, 2), np.array(owned, dtype=np.int64).reshape(-1, 2)])


def _place(fresh: Ints, links: Pairs, splits: Ints, ranks: NDArray[np.uint64], draw: Callable[[int], int]) -> None:
    """Fill in the splits of one generation's photos, `fresh`, and of its products; `links` are those that end in them."""
    links = links[(splits[links] != LEFT_OUT).all(axis=1)]
    near, places = np.unique(np.concatenate([fresh, links.ravel()]), return_inverse=True)
    parts = group(len(near), places[len(fresh) :].reshape(-1, 2))
    lowest, highest = np.full(len(near), len(SPLITS)), np.full(len(near), FREE)
    old = splits[near] >= 0
    np.minimum.at(lowest, parts[old], splits[near[old]])
    np.maximum.at(highest, parts[old], splits[near[old]])
    torn = (highest > lowest)[parts]
    if torn.any():
        _cut(near[torn], links[torn[places[len(fresh) :].reshape(-1, 2)[:, 0]]], splits, ranks)
        # What only those that were left out held together falls apart: look at it again without them.
        _place(fresh[splits[fresh] == FREE], links, splits, ranks, draw)
        return
    decided = highest[parts]
    alone = decided == FREE
    names = fresh[alone[places[: len(fresh)]]]
    part_of = parts[places[: len(fresh)]][alone[places[: len(fresh)]]]
    order = np.lexsort((names, ranks[names], part_of))
    heads, first = np.unique(part_of[order], return_index=True)
    drawn = np.full(len(near), FREE)
    drawn[heads] = [draw(int(names[order[at]])) for at in first]
    splits[near] = np.where(old, splits[near], np.where(alone, drawn[parts], decided))


def _cut(nodes: Ints, links: Pairs, splits: Ints, ranks: NDArray[np.uint64]) -> None:
    """Place the free nodes of parts that touch several splits: outwards from the old ones, nearest first, then by rank.

    A photo whose neighbours stand in one split follows them; one whose neighbours stand in several is left out.
    """
    around: dict[int, list[int]] = defaultdict(list)
    for one, other in links.tolist():
        around[one].append(other)
        around[other].append(one)
    products = len(ranks)
    waiting: list[tuple[int, int, int]] = []

    def reach(node: int, distance: int) -> None:
        for other in around[node]:
            if splits[other] != FREE:
                continue
            if other < products:
                heapq.heappush(waiting, (distance, int(ranks[other]), other))
            else:
                splits[other] = splits[node]
                reach(other, distance)

    for node in nodes[splits[nodes] >= 0].tolist():
        reach(node, 1)
    while waiting:
        distance, _, node = heapq.heappop(waiting)
        if splits[node] != FREE:
            continue
        found = {int(splits[other]) for other in around[node]} - {FREE, LEFT_OUT}
        splits[node] = found.pop() if len(found) == 1 else LEFT_OUT
        if splits[node] != LEFT_OUT:
            reach(node, distance + 1)


def _anchors(groups: Ints, generations: Ints, ranks: NDArray[np.uint64]) -> Ints:
    order = np.lexsort((ranks, generations, groups))
    heads, first = np.unique(groups[order], return_index=True)
    anchors: Ints = order[first][np.searchsorted(heads, groups)]
    return anchors


def _draw(name: str, params: PrepareParams) -> int:
    """A split by the sha256 of a name, which spreads evenly over [0, 1): test takes the first `test_share`, val the next."""
    place = int.from_bytes(hashlib.sha256(f"{params.salt}/{name}".encode()).digest()[:8], "big") / 2**64
    split = "test" if place < params.test_share else "val" if place < params.test_share + params.val_share else "train"
    return SPLITS.index(split)


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"first of its group/{name}".encode()).digest()[:8], "big")
