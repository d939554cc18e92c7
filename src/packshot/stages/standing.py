"""The champion as an evaluation meets it: its weights, from where the service takes them, and what it has learnt from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.conditions import find_unknown
from packshot.layout import Layout
from packshot.models.base import ImageModel
from packshot.models.weights import load_weights
from packshot.records import Dataset, Live, ServiceCard, Standing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The champion, ready to draw, and how it stands; no model where it cannot be compared."""

    standing: Standing
    model: ImageModel | None
    seen: frozenset[str] = frozenset()
    """Ids and groups of photos that it has learnt from, though they are held out now."""

    def stand_aside(self, reason: str) -> Incumbent:
        """The champion as one that cannot be compared."""
        return Incumbent(self.standing.model_copy(update={"comparable": False, "reason": reason}), None)


def find_incumbent(layout: Layout, dataset: Dataset, held_out: Sequence[str]) -> Incumbent | None:
    """The champion that live.json names; None where nobody is.

    `held_out` are ids and groups of the photos that models are judged on now. A champion whose weights are missing or damaged,
    which draws pictures of another size, or was told attributes that the dataset does not have, stands but cannot be compared:
    then people have to decide.
    """
    if not layout.live.is_file():
        return None
    live = Live.read(layout.live)
    standing = Standing(model=live.model, version=live.version, sha256=live.sha256, family="unknown")
    try:
        card = ServiceCard.read(Path(live.card))
        model, _ = load_weights(Path(live.weights), live.sha256)
    except (IntegrityError, MissingArtifact) as fault:
        log.warning("the champion cannot be compared: %s", fault)
        return Incumbent(standing, None).stand_aside(f"it cannot be read: {fault.what}")
    standing = standing.model_copy(update={"family": card.family})
    unknown = Incumbent(standing, None)
    if model.image != dataset.image:
        return unknown.stand_aside(f"it draws pictures of {model.image.size} pixels, these are of {dataset.image.size}")
    lacks = tuple(name for name in dataset.categories if name not in model.categories)
    if len(lacks) == len(dataset.categories):
        return unknown.stand_aside("it knows none of the categories")
    if untold := find_unknown(model.conditions, dataset.conditions, words=False):
        return unknown.stand_aside(f"it has learnt to be told {', '.join(untold)}, of which the dataset says nothing")
    lacks += find_unknown(dataset.conditions, model.conditions)
    seen, told = _seen(layout, card.dataset, dataset, held_out)
    missing = f"it cannot be asked for {', '.join(lacks)}" if lacks else ""
    reason = "; ".join(part for part in (missing, told) if part)
    return Incumbent(standing.model_copy(update={"lacks": lacks, "reason": reason}), model, seen)


def _seen(layout: Layout, learnt: str, dataset: Dataset, held_out: Sequence[str]) -> tuple[frozenset[str], str]:
    """Which of the held-out photos, or of their groups, the champion has learnt from, and what is to be said of it."""
    if learnt == dataset.digest:
        return frozenset(), ""
    path = layout.learnt / f"{learnt}.parquet"
    if not path.is_file():
        return frozenset(), "what it has learnt from is not known here: it may have seen some of the photos"
    table = pq.read_table(path, columns=["id", "group"])
    seen = frozenset(held_out) & {*table["id"].to_pylist(), *table["group"].to_pylist()}
    return seen, "held-out photos that it has learnt from are left out" if seen else ""
