"""ingest: a source's photos, checked and fitted, a manifest with one row a photo, and the pairs of copies among them.

What data/ingest holds of an earlier run is used again where it was made by the same recipe, so that only new bytes are decoded;
what comes out is the same as from nothing. A run goes: list, take in (into a spool, which outlives a kill), find repeats and
copies, write shards under names of their own, write the tables and the record beside the old ones, switch, sweep. Until the
switch readers see the old version whole; a kill within it shows them none, and the next run completes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import DataRejected, OutOfResources
from packshot.failpoints import failpoint
from packshot.images import fingerprint, measure
from packshot.images.decode import Recipe
from packshot.images.fingerprint import Fingerprints, near_duplicates
from packshot.images.manifest import COPIES, GROUP_ROWS, SEEN, CatalogHasher, write_copies, write_manifest
from packshot.images.store import Names, as_column, as_names, locate_rows, write_shards
from packshot.layout import Layout
from packshot.records import Attribute, BadPhoto, Catalog, CategoryCount, Shard
from packshot.sources import IngestParams
from packshot.sources.base import File
from packshot.sources.earlier import Earlier, Known, read_earlier
from packshot.sources.folder import escape
from packshot.sources.listing import Listing, learn_stamps, list_photos, offer_again
from packshot.sources.publish import NEXT, SPOOL, complete_switch, only_one, sweep, switch
from packshot.sources.repeats import find_repeats
from packshot.sources.spool import Spool
from packshot.sources.stamps import Stamps
from packshot.sources.taking import Taken, find_fresh, require_room, take_fresh

if TYPE_CHECKING:
    from packshot.params import Params

_NAMED = 50

log = logging.getLogger(__name__)


def ingest(params: Params, layout: Layout) -> Catalog:
    """Take in every photo of the source; what cannot be taken is quarantined by name and reason, never lost silently.

    Repeats of a photo are quarantined as DUPLICATE; a photo that stands in two categories is quarantined in both as CONFLICT.
    Raises DataRejected where nothing at all is left, IntegrityError where what stores the source's photos is broken,
    OutOfResources on a full disk, Locked where another ingest is at work; the earlier version then stays as it was.
    """
    section, folder = params.ingest, layout.stage("ingest")
    with only_one(folder):
        complete_switch(folder)
        files, shards = Stamps(layout.cache / "ingested-files.stamps"), Stamps(layout.cache / "ingested-shards.stamps")
        earlier = read_earlier(folder, recipe_digest(section), section.duplicate_radius, shards)
        try:
            with Spool(folder / SPOOL, recipe_digest(section)) as spool:
                listing, taken = _take_in(section, layout, earlier, spool, files)
                catalog = _write_version(section, folder, listing, taken, earlier, spool)
        except OutOfResources:
            sweep(folder)
            raise
        changed = switch(folder)
        sweep(folder)
        failpoint("ingest.swept")
        learn_stamps(listing, taken.names, files)
        _trust(folder, catalog.shards, shards)
    _tell(catalog, taken.fresh, changed=changed)
    return catalog


def recipe_digest(section: IngestParams) -> str:
    """The digest of all that decides what a file's bytes become here."""
    recipe = Recipe(section.side, section.background).digest
    return hashlib.sha256(json.dumps([recipe, fingerprint.VERSION, measure.VERSION, SEEN.names]).encode()).hexdigest()


def _take_in(section: IngestParams, layout: Layout, earlier: Earlier, spool: Spool, index: Stamps) -> tuple[Listing, Taken]:
    """List the source and take in what is not known yet."""
    source, recipe, attributes = section.source, Recipe(section.side, section.background), _attributes(section)
    known, refusals = Known([earlier.seen, spool.seen]), {**earlier.refusals, **spool.refused}
    source.require_intact(layout.root, index)
    listing = list_photos(source, attributes, layout.root, index, hashing=bool(known.table.num_rows or refusals))
    failpoint("ingest.listed")
    fresh, refused = find_fresh(listing, known, refusals)
    count = int(fresh.sum())
    log.info("ingest: %s photos are offered, %s of them are new", f"{len(listing):,}", f"{count:,}")
    require_room(layout.stage("ingest"), count, recipe, earlier.shards, len(listing))
    items = offer_again(source, attributes, layout.root, listing, fresh) if count else iter(())
    taken = take_fresh(items, listing, fresh, refused, recipe, spool)
    if any(bad.reason in {"UNREADABLE", "CHANGED"} for bad in taken.refused):
        source.require_intact(layout.root, index)  # it may have broken meanwhile
    return listing, taken


@dataclass(frozen=True, slots=True)
class _Accepted:
    """The photos of the new version, sorted by sha256."""

    names: Names
    places: NDArray[np.int64]
    """In the listing."""
    rows: NDArray[np.int64]
    """In `known`."""
    known: Known


def _write_version(
    section: IngestParams, folder: Path, listing: Listing, taken: Taken, earlier: Earlier, spool: Spool
) -> Catalog:
    """Write the new version beside the old one: shards, and the tables and the record in .next."""
    photos, repeats = _accept(listing, taken, Known([earlier.seen, spool.seen]))
    quarantined = sorted((*taken.refused, *repeats), key=lambda bad: (bad.path, bad.reason, bad.detail, bad.sha256))
    if not len(photos.names):
        raise DataRejected(
            f"no photo is left: {len(quarantined)} of {len(quarantined)} are quarantined",
            where=section.source.describe(),
            advice=_reasons(quarantined),
        )
    write_copies(folder / NEXT / "copies.parquet", _pair(photos, earlier, section.duplicate_radius), section.duplicate_radius)
    failpoint("ingest.copies")
    sizes = photos.known.table["stored_bytes"].take(photos.rows)
    blobs = pa.table({"sha256": as_column(photos.names), "size": sizes})
    shards = write_shards(folder, blobs, spool.read, previous=earlier.shards)
    attributes = _attributes(section)
    hasher = CatalogHasher(attributes)
    pieces = _pieces(listing, photos, shards, hasher)
    write_manifest(folder / NEXT / "manifest.parquet", pieces, attributes, size=photos.known.table.nbytes)
    failpoint("ingest.manifest")
    catalog = Catalog(
        source=section.source.describe(),
        photos=len(photos.names),
        side=section.side,
        recipe=recipe_digest(section),
        attributes=attributes,
        counts=_counts(listing.table["category"].take(photos.places), quarantined),
        quarantined=tuple(quarantined),
        shards=shards,
        digest=hasher.hexdigest(),
    )
    catalog.write(folder / NEXT / "catalog.json")
    failpoint("ingest.catalog")
    return catalog


def _accept(listing: Listing, taken: Taken, known: Known) -> tuple[_Accepted, list[BadPhoto]]:
    """Leave out exact repeats."""
    places = np.flatnonzero(taken.accepted)
    rows = known.find(taken.names[places])
    offered = listing.table.select(["path", "category", "generation"]).take(places)
    seen = known.table.select(["pixels", "sha256"]).take(rows)
    kept, repeats = find_repeats(pa.table([*offered.columns, *seen.columns], names=[*offered.column_names, *seen.column_names]))
    places, rows = places[kept], rows[kept]
    order = np.argsort(taken.names[places], kind="stable")
    return _Accepted(taken.names[places[order]], places[order], rows[order], known), repeats


def _pair(photos: _Accepted, earlier: Earlier, radius: int) -> pa.Table:
    """The pairs of copies: those of the earlier version that are both still there, and those that touch a new photo."""
    count = len(photos.names)
    new = ~np.isin(photos.names, earlier.compared, assume_unique=True)
    prints = Fingerprints.of_table(photos.known.table.select(["phash", "phash_mirrored", "layout"]).take(photos.rows))
    found = near_duplicates(prints, radius, new=new) if new.any() else np.zeros((0, 2), np.int64)
    old = np.stack([_where(as_names(earlier.copies[side]), photos.names) for side in COPIES.names], axis=1)
    both = np.concatenate([old[(old >= 0).all(axis=1)], found])
    one, other = np.divmod(np.unique(both[:, 0] * count + both[:, 1]), count)
    return pa.Table.from_arrays([as_column(photos.names[one]), as_column(photos.names[other])], schema=COPIES)


def _where(names: Names, among: Names) -> NDArray[np.int64]:
    """The place of each name among the sorted ones, -1 where it is not there."""
    places = np.minimum(np.searchsorted(among, names), len(among) - 1)
    return np.where(among[places] == names, places, -1)


def _pieces(listing: Listing, photos: _Accepted, shards: Sequence[Shard], hasher: CatalogHasher) -> Iterator[pa.Table]:
    """The manifest's rows, as many at a time as make a row group."""
    names, rows = locate_rows(as_column(photos.names), shards)
    for start in range(0, len(photos.names), GROUP_ROWS):
        piece = photos.known.table.take(photos.rows[start : start + GROUP_ROWS])
        offered = listing.table.drop_columns(["suffix"]).take(photos.places[start : start + GROUP_ROWS])
        for name in offered.column_names:
            piece = piece.append_column(name, offered[name])
        piece = piece.append_column("shard", names.slice(start, GROUP_ROWS)).append_column("row", rows.slice(start, GROUP_ROWS))
        hasher.update(piece)
        yield piece


def _attributes(section: IngestParams) -> tuple[Attribute, ...]:
    return tuple(Attribute(name=name, kind=kind) for name, kind in section.attributes.items())


def _counts(categories: pa.ChunkedArray, quarantined: Sequence[BadPhoto]) -> tuple[CategoryCount, ...]:
    """Photos by category; a category of which nothing is left counts 0."""
    counts = {one["values"]: one["counts"] for one in pc.value_counts(categories).to_pylist()}
    known = {escape(category) for category in counts}
    lost = {bad.category for bad in quarantined if bad.category} - known
    return tuple(CategoryCount(category=name, photos=counts.get(name, 0)) for name in sorted({*counts, *lost}))


def _trust(folder: Path, shards: Sequence[Shard], index: Stamps) -> None:
    """Remember the shards by their stamps, so that the next ingest need not hash them."""
    for shard in shards:
        if (stamp := File((folder / shard.name).resolve()).stamp()) is not None:
            index.learn(shard.name, stamp, shard.sha256)
    index.save()


def _tell(catalog: Catalog, fresh: int, *, changed: bool) -> None:
    quarantined = catalog.quarantined
    for bad in quarantined[:_NAMED]:
        log.warning("quarantined: %s: %s: %s", bad.path, bad.reason, bad.detail)
    if len(quarantined) > _NAMED:
        log.warning("quarantined: %d more; catalog.json names them all", len(quarantined) - _NAMED)
    if quarantined:
        log.warning("quarantined: %s", _reasons(quarantined))
    state = f"{fresh:,} of them new" if changed else "nothing has changed"
    log.info(
        "ingest: %s photos of %d categories, %d quarantined: %s",
        f"{catalog.photos:,}",
        len(catalog.counts),
        len(quarantined),
        state,
    )


def _reasons(quarantined: Sequence[BadPhoto]) -> str:
    counts = Counter(bad.reason for bad in quarantined)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
