"""What the source offers now and ingest has not taken in yet."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from packshot.records import BadPhoto, Catalog, Record
from packshot.sources.base import Source
from packshot.sources.folder import escape
from packshot.sources.packed import Packed, read_index, read_pack

OFFER = pa.schema([pa.field("path", pa.string()), pa.field("sha256", pa.string()), pa.field("file_bytes", pa.int64())])
"""What a source says of each photo without reading it; null where it does not know."""

_NAMED = 5


class Pending(Record):
    """How the source differs from what was ingested."""

    added: int = Field(0, ge=0)
    removed: int = Field(0, ge=0)
    changed: int = Field(0, ge=0)
    """By sha256 where the source knows it, else by the size of the file."""
    named: tuple[str, ...] = ()
    """The first of them."""

    @property
    def total(self) -> int:
        return self.added + self.removed + self.changed


def list_offer(source: Source, root: Path) -> pa.Table:
    """Everything that a source offers, what it refuses itself included. Raises as `Source.photos` does."""
    if isinstance(source, Packed):
        folder = root / source.path
        table = read_index(folder, read_pack(folder), ["path", "sha256", "file_bytes", "reason"])
        known = pc.is_null(table["reason"])
        told = [pc.if_else(known, table[name], pa.scalar(None, OFFER.field(name).type)) for name in ("sha256", "file_bytes")]
        return pa.table([table["path"], *told], schema=OFFER)
    names: list[str] = []
    digests_: list[str | None] = []
    sizes: list[int | None] = []
    for photo in source.photos(root):
        if isinstance(photo, BadPhoto):
            names.append(photo.path)
            digests_.append(None)
            sizes.append(None)
            continue
        stamp = None if callable(photo.content) else photo.content.stamp()
        names.append(photo.name)
        digests_.append(photo.sha256 or None)
        sizes.append(stamp.size if stamp else None)
    return pa.table([names, digests_, sizes], schema=OFFER)


def find_pending(offer: pa.Table, rows: pa.Table, catalog: Catalog) -> Pending:
    """Hold an offer against the manifest (columns path, sha256 and file_bytes) and the quarantined files of a catalogue."""
    at = pc.index_in(offer["path"], value_set=rows["path"])
    there = pc.is_valid(at)
    taken = rows.select(["sha256", "file_bytes"]).take(at.filter(there))
    known = offer.filter(there)
    by_digest = pc.and_(pc.is_valid(known["sha256"]), pc.not_equal(known["sha256"], taken["sha256"]))
    by_size = pc.and_(pc.is_null(known["sha256"]), pc.not_equal(known["file_bytes"], taken["file_bytes"]))
    changed = known.filter(pc.or_(pc.fill_null(by_digest, fill_value=False), pc.fill_null(by_size, fill_value=False)))
    refused = {bad.path: bad.sha256 for bad in catalog.quarantined}
    strangers = offer.filter(pc.is_null(at)).select(["path", "sha256"]).to_pylist()
    names = [(escape(row["path"]), row["sha256"]) for row in strangers]
    added = [name for name, _ in names if name not in refused]
    mended = [name for name, digest in names if digest and refused.get(name) and refused[name] != digest]
    gone = rows["path"].filter(pc.is_null(pc.index_in(rows["path"], value_set=offer["path"]))).to_pylist()
    renamed = [*(escape(path) for path in changed["path"].to_pylist()), *mended]
    lost = [
        *map(escape, gone),
        *sorted(refused.keys() - {name for name, _ in names} - set(map(escape, offer["path"].to_pylist()))),
    ]
    first = [f"{sign} {name}" for sign, found in (("+", added), ("-", lost), ("~", renamed)) for name in sorted(found)[:_NAMED]]
    return Pending(added=len(added), removed=len(lost), changed=len(renamed), named=tuple(first))
