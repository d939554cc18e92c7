"""ingest: a source's photos, checked and fitted, and a manifest with one row a photo."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.errors import DataRejected
from packshot.failpoints import failpoint
from packshot.images.colour import parse_colour
from packshot.images.manifest import Row, read_photos, write_manifest, write_photos
from packshot.layout import Layout
from packshot.records import BadPhoto, Catalog, CategoryCount
from packshot.sources.folder import escape
from packshot.sources.intake import Intake, take_all
from packshot.stages import clear

if TYPE_CHECKING:
    from packshot.params import Params

SHARD_PHOTOS = 4096
SHARD_BYTES = 128 * 1024 * 1024
"""A shard ends at whichever comes first."""

_PROGRESS_EVERY = 500

log = logging.getLogger(__name__)


def ingest(params: Params, layout: Layout) -> Catalog:
    """Take in every photo of the source; what cannot be taken is quarantined by name and reason, never lost silently.

    Repeats of a photo are quarantined as DUPLICATE; a photo that stands in two categories is quarantined in both as CONFLICT.
    Writes catalog.json last, so that a killed stage leaves none. Raises DataRejected where nothing at all is left.
    """
    section = params.ingest
    folder = layout.stage("ingest")
    clear(folder)
    writer = _Writer(folder)
    seen: dict[str, int] = {}
    rows: list[Row] = []
    quarantined: list[BadPhoto] = []
    torn: set[int] = set()
    for count, item in enumerate(take_all(section.source.photos(layout.root), section.side, parse_colour(section.background)), 1):
        if isinstance(item, BadPhoto):
            quarantined.append(item)
        elif (first := seen.get(item.pixels)) is None:
            seen[item.pixels] = len(rows)
            rows.append(writer.add(item))
        else:
            quarantined.append(_repeat(item, rows[first]))
            if rows[first].category != item.photo.category:
                torn.add(first)
        if count % _PROGRESS_EVERY == 0:
            log.info("ingest: %d photos taken, %d quarantined", len(rows), len(quarantined))
    writer.finish()
    quarantined += [_conflict(rows[index]) for index in sorted(torn)]
    rows = _without(rows, torn, folder)
    _report(quarantined)
    if not rows:
        raise DataRejected(
            f"no photo is left: {len(quarantined)} of {len(quarantined)} are quarantined",
            where=section.source.describe(),
            advice=_reasons(quarantined),
        )
    write_manifest(folder / "manifest.parquet", rows)
    failpoint("ingest.manifest")
    catalog = Catalog(
        source=section.source.describe(),
        photos=len(rows),
        side=section.side,
        counts=_counts(rows, quarantined),
        quarantined=tuple(sorted(quarantined, key=lambda bad: (bad.path, bad.reason))),
        shards=tuple(sorted({row.shard for row in rows})),
        digest=_digest(rows),
    )
    catalog.write(folder / "catalog.json")
    log.info("ingest: %d photos of %d categories, %d quarantined", len(rows), len(catalog.counts), len(quarantined))
    return catalog


@dataclass
class _Writer:
    """Fills shards in the photos' order."""

    folder: Path
    _photos: list[tuple[str, bytes]] = field(default_factory=list)
    _size: int = 0
    _shard: int = 0

    def add(self, item: Intake) -> Row:
        row = _row(item, shard=_shard_name(self._shard), place=len(self._photos))
        self._photos.append((item.sha256, item.png))
        self._size += len(item.png)
        if len(self._photos) >= SHARD_PHOTOS or self._size >= SHARD_BYTES:
            self.finish()
        return row

    def finish(self) -> None:
        if self._photos:
            write_photos(self.folder / _shard_name(self._shard), self._photos)
            failpoint("ingest.shard")
            self._photos, self._size, self._shard = [], 0, self._shard + 1


def _row(item: Intake, *, shard: str, place: int) -> Row:
    photo, prints, measures = item.photo, item.prints, item.measures
    return Row(
        sha256=item.sha256,
        pixels=item.pixels,
        path=photo.name,
        sku=photo.sku,
        category=photo.category,
        format=item.format,
        width=item.width,
        height=item.height,
        file_bytes=item.file_bytes,
        phash=prints.phash,
        phash_mirrored=prints.phash_mirrored,
        layout=prints.layout,
        sharpness=measures.sharpness,
        brightness=measures.brightness,
        contrast=measures.contrast,
        whiteness=measures.whiteness,
        fill=measures.fill,
        colour=photo.colour,
        pattern=photo.pattern,
        caption=photo.caption,
        shard=shard,
        row=place,
    )


def _without(rows: list[Row], torn: set[int], folder: Path) -> list[Row]:
    """The rows that stand in one category only; their shards are written again without the others."""
    gone = {(rows[index].shard, rows[index].row) for index in torn}
    places: dict[tuple[str, int], int] = {}
    for shard in sorted({shard for shard, _ in gone}):
        kept = [(at, photo) for at, photo in enumerate(read_photos(folder / shard)) if (shard, at) not in gone]
        places.update({(shard, at): place for place, (at, _) in enumerate(kept)})
        if kept:
            write_photos(folder / shard, [photo for _, photo in kept])
        else:
            (folder / shard).unlink()
    left = [row for index, row in enumerate(rows) if index not in torn]
    return [replace(row, row=places.get((row.shard, row.row), row.row)) for row in left]


def _repeat(item: Intake, first: Row) -> BadPhoto:
    same_category = first.category == item.photo.category
    detail = f"the same picture as {escape(first.path)}" + ("" if same_category else f" of '{escape(first.category)}'")
    return BadPhoto(
        path=escape(item.photo.name),
        category=escape(item.photo.category),
        reason="DUPLICATE" if same_category else "CONFLICT",
        detail=detail,
    )


def _conflict(row: Row) -> BadPhoto:
    detail = "the same picture stands in another category too; decide where it belongs"
    return BadPhoto(path=escape(row.path), category=escape(row.category), reason="CONFLICT", detail=detail)


def _counts(rows: list[Row], quarantined: list[BadPhoto]) -> tuple[CategoryCount, ...]:
    """Photos by category; a category of which nothing is left counts 0."""
    counts = Counter(row.category for row in rows)
    known = {escape(category) for category in counts}
    lost = {bad.category for bad in quarantined if bad.category} - known
    return tuple(CategoryCount(category=name, photos=counts[name]) for name in sorted({*counts, *lost}))


def _digest(rows: list[Row]) -> str:
    """The sha256 of names, categories, attributes and stored pixels: not of shards, formats or the order of a file system."""
    hasher = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.path):
        known = [row.path, row.category, row.sku, row.colour, row.pattern, row.caption, row.pixels, row.sha256]
        hasher.update(json.dumps(known, ensure_ascii=True).encode() + b"\n")
    return hasher.hexdigest()


def _report(quarantined: list[BadPhoto]) -> None:
    for bad in quarantined[:50]:
        log.warning("quarantined: %s: %s: %s", bad.path, bad.reason, bad.detail)
    if len(quarantined) > 50:
        log.warning("quarantined: %d more; catalog.json names them all", len(quarantined) - 50)
    if quarantined:
        log.warning("quarantined: %s", _reasons(quarantined))


def _reasons(quarantined: list[BadPhoto]) -> str:
    counts = Counter(bad.reason for bad in quarantined)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _shard_name(index: int) -> str:
    return f"photos-{index:05d}.parquet"
