"""prepare: a leak-free, stable split of the catalogue, packed as square pictures of one size."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.errors import IntegrityError
from packshot.images.colour import parse_colour
from packshot.images.fingerprint import Pixels, pixel_digest
from packshot.images.manifest import Row, read_manifest, read_photos
from packshot.images.resize import fit_square
from packshot.images.shards import SPLITS, SplitName, pixel_file, save_index
from packshot.images.sheet import decode_png
from packshot.images.split import PrepareParams, assign_groups, assign_splits, check_splits
from packshot.layout import Layout
from packshot.records import Catalog, CategoryCount, Dataset, SplitCount
from packshot.stages import clear

if TYPE_CHECKING:
    from packshot.params import Params

log = logging.getLogger(__name__)


def prepare(params: Params, layout: Layout) -> Dataset:
    """Split the ingested photos and pack them: padded to squares on the background, scaled to `prepare.image.size`.

    Raises DataRejected where a category is too small for a split, IntegrityError where a photo is not the one that was ingested.
    """
    section, source, folder = params.prepare, layout.stage("ingest"), layout.stage("prepare")
    catalog = Catalog.read(source / "catalog.json")
    rows = sorted(read_manifest(source / "manifest.parquet"), key=lambda row: row.sha256)
    groups = assign_groups(rows, section.duplicate_radius)
    splits = assign_splits(groups, section)
    check_splits([row.category for row in rows], splits, section.min_photos)
    categories = tuple(sorted({row.category for row in rows}))
    clear(folder)
    hasher = hashlib.sha256("\n".join(categories).encode())
    counts = []
    chosen = {name: [index for index, split in enumerate(splits) if split == name] for name in SPLITS}
    digests = _pack(rows, chosen, source, folder, section)
    for name, indices in chosen.items():
        numbers = [categories.index(rows[index].category) for index in indices]
        ids, names = [rows[index].sha256 for index in indices], [groups[index] for index in indices]
        save_index(folder, name, numbers, ids, names, [rows[index].path for index in indices])
        for fields in zip([digests[index] for index in indices], map(str, numbers), ids, names, strict=True):
            hasher.update(f"{name} {' '.join(fields)}\n".encode())
        tally = Counter(rows[index].category for index in indices)
        each = tuple(CategoryCount(category=category, photos=tally[category]) for category in categories)
        counts.append(SplitCount(split=name, photos=len(indices), counts=each))
        log.info("prepare: %d photos for %s", len(indices), name)
    dataset = Dataset(
        image=section.image, categories=categories, splits=tuple(counts), catalog=catalog.digest, digest=hasher.hexdigest()
    )
    dataset.write(folder / "dataset.json")
    return dataset


def _pack(
    rows: Sequence[Row], chosen: Mapping[SplitName, Sequence[int]], source: Path, folder: Path, section: PrepareParams
) -> dict[int, str]:
    """Fill the splits' pixel files, one shard of photos after the other; returns each packed picture's digest by row."""
    side, background = section.image.size, parse_colour(section.background)
    places = {index: (name, place) for name, indices in chosen.items() for place, index in enumerate(indices)}
    at = {(row.shard, row.row): index for index, row in enumerate(rows)}
    digests: dict[int, str] = {}
    with ExitStack() as files:
        pixels = {name: files.enter_context(pixel_file(folder, name, len(indices), side)) for name, indices in chosen.items()}
        for shard in sorted({row.shard for row in rows}):
            for number, (sha256, png) in enumerate(read_photos(source / shard)):
                if (index := at.get((shard, number))) is None:
                    raise _not_as_ingested(f"{shard} holds photos that the manifest does not know")
                picture = fit_square(_decode(png, sha256, rows[index]), side, background)
                name, place = places[index]
                pixels[name][place] = picture.transpose(2, 0, 1)
                digests[index] = pixel_digest(picture)
        if len(digests) != len(rows):
            raise _not_as_ingested(f"{len(rows) - len(digests)} photos are missing")
    return digests


def _decode(png: bytes, sha256: str, row: Row) -> Pixels:
    """The photo of `row`, proven to be the one that was ingested."""
    try:
        pixels = decode_png(png)
    except ValueError:
        raise _not_as_ingested(row.path) from None
    if sha256 != row.sha256 or pixel_digest(pixels) != row.pixels:
        raise _not_as_ingested(row.path)
    return pixels


def _not_as_ingested(what: str) -> IntegrityError:
    return IntegrityError("the photos are not those that were ingested", where=what, advice="run the stage 'ingest' again")
