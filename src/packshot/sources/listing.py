"""What a source offers, as a table: listed once, without keeping the photos, and asked again for those that must be read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from packshot.images.decode import PictureError
from packshot.images.manifest import OFFERED, attribute_fields
from packshot.images.store import Names
from packshot.records import Attribute, BadPhoto
from packshot.sources.attributes import offered_photos
from packshot.sources.base import Encoded, Photo, Rights, Source, Stamp
from packshot.sources.folder import escape
from packshot.sources.intake import count_cores
from packshot.sources.stamps import SETTLED_NS, Stamps

_CHUNK = 4096
_STAMP = np.dtype([("size", "i8"), ("modified_ns", "i8"), ("changed_ns", "i8"), ("inode", "u8"), ("offset", "i8")])


@dataclass(frozen=True, slots=True)
class Listing:
    """N offered photos in the source's order, and what it refused itself."""

    table: pa.Table
    """The columns of manifest.OFFERED, one an attribute, and `suffix`."""
    names: Names
    """The sha256 of each; b"" where only reading it tells."""
    refused: tuple[BadPhoto, ...]
    looked_ns: int
    """When the listing began."""
    stamps: NDArray[np.void]
    """Of files that the index did not know; all zero where there is nothing to learn."""

    def __len__(self) -> int:
        return len(self.names)


def list_photos(source: Source, attributes: Sequence[Attribute], root: Path, index: Stamps, *, hashing: bool) -> Listing:
    """Everything that the source offers, with the sha256 of each photo where it is known.

    It is known by the source, or by its stamp in `index`, or else, if `hashing`, by reading the file: worth it where some photos
    need no decoding once their sha256 is known. Raises what the source raises.
    """
    schema = pa.schema([*OFFERED, *attribute_fields(attributes), pa.field("suffix", pa.string(), nullable=False)])
    kinds = {one.name: one.kind for one in attributes}
    refused: list[BadPhoto] = []
    tables, stamps, names = [schema.empty_table()], [np.zeros(0, _STAMP)], [np.zeros(0, "S64")]
    looked_ns = time.time_ns()
    items = offered_photos(source, kinds, root)
    with ThreadPoolExecutor(count_cores(), thread_name_prefix="hash") as threads:
        while chunk := list(islice(items, _CHUNK)):
            refused += [item for item in chunk if isinstance(item, BadPhoto)]
            photos = [item for item in chunk if isinstance(item, Photo)]
            tables.append(_tabulate(photos, [one.name for one in attributes], schema))
            known, marks = _recall(photos, index)
            stamps.append(marks)
            names.append(_identify(photos, known, threads if hashing else None))
    table = pa.concat_tables(tables).combine_chunks()
    return Listing(table, np.concatenate(names), tuple(refused), looked_ns, np.concatenate(stamps))


def learn_stamps(listing: Listing, names: Names, index: Stamps) -> None:
    """Remember the files that had to be read by their stamps, `names` (N,) being what was read, and save the index."""
    stamps, paths = listing.stamps, listing.table["path"]
    settled = np.maximum(stamps["modified_ns"], stamps["changed_ns"]) < listing.looked_ns - SETTLED_NS
    for place in np.flatnonzero(settled & (stamps["inode"] != 0) & (names != b"")).tolist():
        index.learn(paths[place].as_py(), Stamp(*stamps[place].tolist()), names[place].decode())
    index.save()


def offer_again(
    source: Source, attributes: Sequence[Attribute], root: Path, listing: Listing, wanted: NDArray[np.bool_]
) -> Iterator[tuple[int, Photo | BadPhoto]]:
    """The wanted photos of the listing once more, each with its place there, bare of what only the manifest needs.

    The source is listed again. What has come since is passed over: it is the next ingest's. What has gone comes last, UNREADABLE.
    """
    paths = listing.table["path"]
    left = wanted.copy()
    places: Mapping[str, int] | None = None
    at = 0
    for item in offered_photos(source, {one.name: one.kind for one in attributes}, root):
        if isinstance(item, BadPhoto):
            continue
        if at < len(listing) and paths[at].as_py() == item.name:
            place, at = at, at + 1
        else:
            if places is None:
                places = {paths[int(one)].as_py(): int(one) for one in np.flatnonzero(left)}
            place = places.get(item.name, -1)
            at = place + 1 if place >= 0 else at
        if place >= 0 and left[place]:
            left[place] = False
            yield place, replace(item, rights=Rights(), attributes={})
    for place in np.flatnonzero(left).tolist():
        row = listing.table.slice(place, 1).to_pylist()[0]
        where = {"path": escape(row["path"]), "category": escape(row["category"])}
        yield place, BadPhoto(**where, reason="UNREADABLE", detail="it has gone since it was listed")


def _tabulate(photos: Sequence[Photo], attributes: Sequence[str], schema: pa.Schema) -> pa.Table:
    columns: list[Sequence[object]] = [
        [photo.name for photo in photos],
        [photo.sku for photo in photos],
        [photo.category for photo in photos],
        [photo.generation for photo in photos],
        [photo.rights.licence for photo in photos],
        [photo.rights.source for photo in photos],
        [photo.rights.consent for photo in photos],
        [photo.rights.expiry for photo in photos],
        *[[photo.attributes.get(name) for photo in photos] for name in attributes],
        [_suffix(photo) for photo in photos],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _suffix(photo: Photo) -> str:
    """The ending in lower case; '' of a drawing, and where bytes that nobody named cannot be read: intake says why."""
    try:
        return photo.content.suffix.lower() if isinstance(photo.content, Encoded) else ""
    except PictureError:
        return ""


def _recall(photos: Sequence[Photo], index: Stamps) -> tuple[Names, NDArray[np.void]]:
    """The sha256 of each photo by its stamp, b"" where it is not known; and the stamps of those."""
    marks = [photo.content.stamp() if isinstance(photo.content, Encoded) else None for photo in photos]
    stamped = [place for place, mark in enumerate(marks) if mark is not None]
    found = index.find([photos[place].name for place in stamped], [mark for mark in marks if mark is not None])
    names, unknown = np.zeros(len(photos), "S64"), np.zeros(len(photos), _STAMP)
    for place, name in zip(stamped, found, strict=True):
        names[place] = name.encode()
        mark = marks[place]
        if mark is not None and not name:
            unknown[place] = astuple(mark)
    return names, unknown


def _identify(photos: Sequence[Photo], names: Names, threads: ThreadPoolExecutor | None) -> Names:
    """The sha256 of each photo: the source's own word, or what `names` has, or (given threads) what its bytes say."""
    for place, photo in enumerate(photos):
        if photo.sha256:
            names[place] = photo.sha256.encode()
    if threads is not None:
        unknown = [place for place in np.flatnonzero(names == b"").tolist() if isinstance(photos[place].content, Encoded)]
        for place, digest in zip(unknown, threads.map(_digest, [photos[place].content for place in unknown]), strict=True):
            names[place] = digest
    return names


def _digest(content: Encoded) -> bytes:
    """The sha256 of a file's bytes; b"" where it cannot be read: intake says why."""
    try:
        return sha256(content.read()).hexdigest().encode()
    except PictureError:
        return b""
