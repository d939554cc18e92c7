"""The photos of a listing, each known, refused or taken in: what is known already is not read again."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import OutOfResources
from packshot.images.decode import SUFFIXES, Recipe
from packshot.images.store import Names
from packshot.records import BadPhoto, Shard
from packshot.sources.base import Photo
from packshot.sources.earlier import Known
from packshot.sources.folder import escape
from packshot.sources.intake import take_all
from packshot.sources.listing import Listing
from packshot.sources.spool import Refusals, Spool

REPORT_SECONDS = 5.0

_MANIFEST_BYTES = 800
"""A row of the manifest on disk, at most, where attributes are short."""
_TYPICAL_PNG = 0.5
"""Of the pixels' bytes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of N listed photos."""

    names: Names
    """The sha256 of the bytes that were read, (N,); b"" where none could be."""
    accepted: NDArray[np.bool_]
    """(N,)."""
    refused: tuple[BadPhoto, ...]
    """Those of the photos that are not accepted."""
    fresh: int
    """How many were read and decoded for it."""


def find_fresh(listing: Listing, known: Known, refusals: Refusals) -> tuple[NDArray[np.bool_], dict[int, BadPhoto]]:
    """Which photos must be taken in, (N,), and which are refused as their bytes were before, by place.

    A photo that is known must also be named as what it is.
    """
    rows = known.find(listing.names)
    suffixes = pc.dictionary_encode(listing.table["suffix"]).combine_chunks()
    forms = pa.array([SUFFIXES.get(suffix) for suffix in suffixes.dictionary.to_pylist()], pa.string())
    is_known = rows >= 0
    named, actual = forms.take(suffixes.indices.filter(pa.array(is_known))), known.table["format"].take(rows[is_known])
    is_known[is_known] = pc.equal(named, actual.combine_chunks()).fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    refused: dict[int, BadPhoto] = {}
    if refusals:
        endings = listing.table["suffix"]
        for place in np.flatnonzero(~is_known & (listing.names != b"")).tolist():
            name = listing.names[place].decode()
            if refusal := refusals.get((name, endings[place].as_py())):
                row = listing.table.slice(place, 1).select(["path", "category"]).to_pylist()[0]
                refused[place] = BadPhoto(
                    path=escape(row["path"]),
                    category=escape(row["category"]),
                    reason=refusal.reason,
                    detail=refusal.detail,
                    sha256=name,
                )
    fresh = ~is_known
    fresh[list(refused)] = False
    return fresh, refused


def take_fresh(
    items: Iterator[tuple[int, Photo | BadPhoto]],
    listing: Listing,
    fresh: NDArray[np.bool_],
    refused: dict[int, BadPhoto],
    recipe: Recipe,
    spool: Spool,
) -> Taken:
    """Take in the fresh photos, which `items` offers with their places in the listing, and keep what they become in `spool`."""
    names = listing.names.copy()
    accepted = np.ones(len(listing), dtype=np.bool_)
    accepted[list(refused)] = False
    bad = list(refused.values())
    under_way: deque[tuple[int, str]] = deque()
    suffixes = listing.table["suffix"]
    progress = _Progress(int(fresh.sum()), len(bad) + len(listing.refused))

    def offer() -> Iterator[Photo | BadPhoto]:
        for place, item in items:
            under_way.append((place, suffixes[place].as_py()))
            yield item

    for outcome in take_all(offer(), recipe):
        place, suffix = under_way.popleft()
        spool.add(outcome, suffix)
        names[place] = outcome.sha256.encode()
        if isinstance(outcome, BadPhoto):
            accepted[place] = False
            bad.append(outcome)
        progress.step(isinstance(outcome, BadPhoto))
    spool.flush()
    return Taken(names, accepted, (*listing.refused, *bad), progress.done)


def require_room(folder: Path, fresh: int, recipe: Recipe, shards: Sequence[Shard], photos: int) -> None:
    """Raise OutOfResources, with both numbers, where taking in `fresh` of `photos` photos will not fit on the disk.

    A stored photo is taken to be as large as those in `shards` are, or half its pixels' bytes; each is written twice, into the
    spool and into a shard, and the shards that fresh photos fall into are written anew beside the old.
    """
    stored, rows = sum(shard.size for shard in shards), sum(shard.rows for shard in shards)
    each = stored / rows if rows >= 100 else _TYPICAL_PNG * 3 * recipe.side**2
    rewritten = stored * min(1.0, fresh / max(1, len(shards)))
    needed = int(2 * fresh * each + rewritten + _MANIFEST_BYTES * photos)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutOfResources(
            f"{fresh:,} photos are to be taken in: about {needed:,} bytes are needed, {free:,} are free",
            where=str(folder),
            advice="make room, then run it again",
        )


class _Progress:
    """A line every few seconds: photos done, photos a second, time left, quarantined."""

    def __init__(self, total: int, quarantined: int) -> None:
        self.done, self._total, self._quarantined = 0, total, quarantined
        self._begun = self._told = time.monotonic()

    def step(self, refused: bool) -> None:
        self.done += 1
        self._quarantined += refused
        now = time.monotonic()
        if now - self._told < REPORT_SECONDS:
            return
        self._told = now
        rate = self.done / (now - self._begun)
        left = int((self._total - self.done) / rate)
        log.info(
            "ingest: %s of %s photos, %.0f a second, %d:%02d:%02d left, %s quarantined",
            f"{self.done:,}",
            f"{self._total:,}",
            rate,
            left // 3600,
            left // 60 % 60,
            left % 60,
            f"{self._quarantined:,}",
        )
