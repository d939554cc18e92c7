"""Photos of any source packed into data/catalog (sources.packed): only what is new is read, and one rename makes the switch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256 as hash_of
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from packshot.errors import DataRejected, OutOfResources, UsageError
from packshot.failpoints import failpoint
from packshot.images.decode import PictureError
from packshot.images.store import remove_strays, write_shards
from packshot.records import BadPhoto, CategoryCount, StoredFile, write_bytes
from packshot.sources.arrivals import Arrivals
from packshot.sources.attributes import as_text
from packshot.sources.base import Encoded, Photo, Source, Stamp
from packshot.sources.folder import escape
from packshot.sources.packed import INDEX, Pack, read_index, read_pack, verify_pack
from packshot.sources.stamps import Stamps

_BATCH = 2048
_FACTS = [name for name in INDEX.names if name not in {"path", "generation"}]


@dataclass(frozen=True, slots=True)
class Packing:
    """What one delivery changed: photos by their names."""

    pack: Pack
    added: int
    removed: int
    changed: int
    """Other bytes, or something else is said of them."""
    unchanged: int
    refused: tuple[tuple[str, int], ...]
    """How many photos the source or the system refused, by reason, the most frequent first."""
    is_new: bool
    """False where the catalogue stayed as it was, byte for byte."""


def pack_photos(source: Source, root: Path, target: Path, stamps: Stamps, *, merge: bool = False) -> Packing:
    """Make the pack in `target` hold the photos of `source`; with `merge` those too. The old pack stays whole until the switch.

    Only files that `stamps` does not know are read. Raises DataRejected where no photo is left, IntegrityError where the old pack
    is not intact, OutOfResources on a full disk (the old pack stays), UsageError where `target` holds something else.
    """
    previous = _previous(target, stamps)
    before = read_index(target, previous) if previous else INDEX.empty_table()
    target.parent.mkdir(parents=True, exist_ok=True)
    with Arrivals(target.parent, before) as arrivals:
        offered = pa.Table.from_batches(_list(source.photos(root), arrivals, stamps), INDEX)
        stamps.save()
        after = _arrange(_merge(before, offered) if merge else offered, before, previous.generation + 1 if previous else 1)
        taken = after.filter(pc.is_null(after["reason"]))
        if not taken.num_rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in _reasons(after))
            first = after.slice(0, 1).to_pylist()[0]
            advice = f"{reasons}; the first: {first['path']}: {first['detail']}" if reasons else "name what holds photos"
            raise DataRejected("no photo can be taken", where=source.describe(), advice=advice)
        if previous and after.equals(before):
            _remove_strays(target, previous)
            return _compare(before, after, previous, is_new=False)
        pack = _write(target, after, taken, arrivals, previous)
    return _compare(before, after, pack, is_new=True)


def _previous(target: Path, stamps: Stamps) -> Pack | None:
    """The pack that stands in `target`, intact; None where there is none, nor anything else."""
    if (target / "pack.json").is_file():
        pack = read_pack(target)
        verify_pack(target, pack, stamps)
        return pack
    foreign = sorted(path.name for path in target.iterdir() if not _is_ours(path)) if target.is_dir() else []
    if foreign:
        raise UsageError(
            f"the folder holds something else than a packed catalogue: {escape(', '.join(foreign[:5]))}",
            where=str(target),
            advice="move it out of the project, then add it from there",
        )
    return None


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.name.lstrip(".").startswith(("photos-", "index-", "pack.json"))


# --- listing ----------------------------------------------------------------------------------------------------------------


def _list(items: Iterable[Photo | BadPhoto], arrivals: Arrivals, stamps: Stamps) -> Iterator[pa.RecordBatch]:
    """The rows of the index, a batch at a time, without generations; the bytes of new photos go to the arrivals."""
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        photos = [item for item in batch if isinstance(item, Photo)]
        encoded = [_encoded(photo) for photo in photos]
        marks = [content.stamp() for content in encoded]
        known = _known(photos, marks, arrivals, stamps)
        found = iter([_take(*facts, arrivals, stamps) for facts in zip(photos, encoded, marks, known, strict=True)])
        rows = [next(found) if isinstance(item, Photo) else _refused(item) for item in batch]
        columns = zip(*rows, strict=True)
        yield pa.record_batch([pa.array(column, one.type) for column, one in zip(columns, INDEX, strict=True)], schema=INDEX)


def _encoded(photo: Photo) -> Encoded:
    if not isinstance(photo.content, Encoded):
        raise UsageError("drawn photos have no files to pack", where=photo.name, advice="name the source in params.yaml itself")
    return photo.content


def _known(photos: list[Photo], marks: list[Stamp | None], arrivals: Arrivals, stamps: Stamps) -> list[tuple[str, int] | None]:
    """The sha256 and size of each photo that need not be read: its file is untouched, and its bytes are in the old pack."""
    stamped = [at for at, mark in enumerate(marks) if mark is not None]
    names = [photo.sha256 for photo in photos]
    for at, name in zip(stamped, stamps.find([photos[at].name for at in stamped], [mark for mark in marks if mark]), strict=True):
        names[at] = names[at] or name
    sizes = arrivals.find_sizes(names)
    return [(name, size) if size >= 0 else None for name, size in zip(names, sizes, strict=True)]


Row = tuple[object, ...]


def _take(
    photo: Photo, content: Encoded, mark: Stamp | None, known: tuple[str, int] | None, arrivals: Arrivals, stamps: Stamps
) -> Row:
    try:
        sha256, size = known or _read(photo, content, mark, arrivals, stamps)
        suffix = content.suffix
    except PictureError as fault:
        path, category = escape(photo.name), escape(photo.category)
        return _refused(BadPhoto(path=path, category=category, reason=fault.reason, detail=escape(fault.detail)))
    rights, said = photo.rights, {name: as_text(value) for name, value in photo.attributes.items()}
    attributes = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    facts = (photo.name, photo.category, photo.sku, rights.licence, rights.source, rights.consent, rights.expiry, attributes)
    return (*facts, 0, sha256, size, suffix, None, None)


def _read(photo: Photo, content: Encoded, mark: Stamp | None, arrivals: Arrivals, stamps: Stamps) -> tuple[str, int]:
    """Read a photo into the arrivals. Raises PictureError."""
    blob = content.read()
    digest = hash_of(blob)
    arrivals.add(digest.digest(), blob)
    if mark is not None and content.stamp() == mark:
        stamps.learn(photo.name, mark, digest.hexdigest())
    return digest.hexdigest(), len(blob)


def _refused(bad: BadPhoto) -> Row:
    return (bad.path, bad.category, "", None, None, None, None, "{}", 0, "", 0, "", bad.reason, bad.detail)


# --- arranging --------------------------------------------------------------------------------------------------------------


def _merge(before: pa.Table, offered: pa.Table) -> pa.Table:
    kept = before.filter(pc.invert(pc.is_in(before["path"], value_set=offered["path"])))
    return pa.concat_tables([kept, offered])


def _arrange(rows: pa.Table, before: pa.Table, generation: int) -> pa.Table:
    """The index as it is stored: in the order of paths, each photo with the generation in which its bytes first came."""
    first = before.filter(pc.is_null(before["reason"])).group_by("sha256").aggregate([("generation", "min")])
    at = pc.index_in(rows["sha256"], value_set=first["sha256"])
    came = pc.fill_null(first["generation_min"].take(at), pa.scalar(generation, pa.int32()))
    came = pc.if_else(pc.is_null(rows["reason"]), came, pa.scalar(0, pa.int32()))
    rows = rows.set_column(INDEX.get_field_index("generation"), INDEX.field("generation"), came)
    order = [("path", "ascending"), ("reason", "ascending"), ("detail", "ascending")]
    return rows.sort_by(order).combine_chunks()


def _compare(before: pa.Table, after: pa.Table, pack: Pack, *, is_new: bool) -> Packing:
    old, new = (table.filter(pc.is_null(table["reason"])) for table in (before, after))
    at = pc.index_in(new["path"], value_set=old["path"])
    there = pc.is_valid(at)
    one, other = new.filter(there), old.take(at.drop_null())
    equal = np.ones(one.num_rows, dtype=bool)
    for name in _FACTS:
        same = pc.fill_null(pc.equal(one[name], other[name]), fill_value=False)
        neither = pc.and_(pc.is_null(one[name]), pc.is_null(other[name]))
        equal &= pc.or_(same, neither).to_numpy()
    unchanged = int(equal.sum())
    return Packing(
        pack=pack,
        added=new.num_rows - one.num_rows,
        removed=old.num_rows - one.num_rows,
        changed=one.num_rows - unchanged,
        unchanged=unchanged,
        refused=tuple(_reasons(after)),
        is_new=is_new,
    )


def _reasons(rows: pa.Table) -> list[tuple[str, int]]:
    counts = pc.value_counts(rows["reason"].drop_null()).to_pylist()
    return sorted(((str(one["values"]), int(one["counts"])) for one in counts), key=lambda pair: (-pair[1], pair[0]))


# --- writing ----------------------------------------------------------------------------------------------------------------


def _write(target: Path, after: pa.Table, taken: pa.Table, arrivals: Arrivals, previous: Pack | None) -> Pack:
    """Shards, index, record; then what no record names goes. Raises OutOfResources."""
    arrivals.flush()
    blobs = taken.group_by("sha256").aggregate([("file_bytes", "min")]).rename_columns(["sha256", "size"])
    try:
        shards = write_shards(target, blobs, arrivals.read, previous=previous.shards if previous else ())
        index = _write_index(target, after)
    except OutOfResources:
        _remove_strays(target, previous)
        raise
    failpoint("catalog.index")
    pack = Pack(
        generation=previous.generation + 1 if previous else 1,
        photos=taken.num_rows,
        refused=after.num_rows - taken.num_rows,
        counts=_counts(taken),
        attributes=_names(taken),
        index=index,
        shards=shards,
    )
    pack.write(target / "pack.json")
    failpoint("catalog.record")
    _remove_strays(target, pack)
    return pack


def _write_index(target: Path, rows: pa.Table) -> StoredFile:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=65_536, write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    digest = hash_of(content).hexdigest()
    name = f"index-{digest[:12]}.parquet"
    write_bytes(target / name, content)
    return StoredFile(name=name, size=len(content), sha256=digest)


def _counts(taken: pa.Table) -> tuple[CategoryCount, ...]:
    found = sorted((one["values"], one["counts"]) for one in pc.value_counts(taken["category"]).to_pylist())
    return tuple(CategoryCount(category=category, photos=photos) for category, photos in found)


def _names(taken: pa.Table) -> tuple[str, ...]:
    return tuple(sorted({name for text in pc.unique(taken["attributes"]).to_pylist() for name in json.loads(text)}))


def _remove_strays(target: Path, pack: Pack | None) -> None:
    """Remove what an earlier pack or a killed process left."""
    remove_strays(target, pack.shards if pack else ())
    for path in target.glob("*index-*"):
        if pack is None or path.name != pack.index.name:
            path.unlink()
