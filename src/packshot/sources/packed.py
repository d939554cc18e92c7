"""The packed catalogue: photos in their original bytes in shards, and an index with one row for each that was offered.

`sources.packing` writes it, DVC versions it as a few large files, and `kind: catalog` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from packshot.errors import DataRejected, IntegrityError, PackshotError, UsageError
from packshot.images.decode import PictureError
from packshot.images.store import locate_rows, read_blob
from packshot.records import BadPhoto, CategoryCount, Record, Shard, StoredFile, file_digest
from packshot.sources.base import Encoded, File, Photo, Rights, Source
from packshot.sources.stamps import Stamps

INDEX = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("sku", pa.string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("source", pa.string()),
        pa.field("consent", pa.bool_()),
        pa.field("expiry", pa.date32()),
        pa.field("attributes", pa.string(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("file_bytes", pa.int64(), nullable=False),
        pa.field("suffix", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""One row a photo that was offered, sorted by path. `attributes` is a JSON object of text, as the source said it. What the source
refused has a reason and a detail, and neither bytes nor generation."""

_ROWS = 4096


class Pack(Record):
    """What data/catalog holds: pack.json. The other files carry digests in their names, so this record alone switches."""

    generation: int = Field(ge=1)
    """How many times photos were added or anything else changed."""
    photos: int = Field(ge=0)
    refused: int = Field(ge=0)
    counts: tuple[CategoryCount, ...]
    attributes: tuple[str, ...]
    """Names, sorted."""
    index: StoredFile
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Stored(Encoded):
    """One photo of a pack."""

    folder: Path
    shard: str
    row: int
    ending: str

    @property
    def suffix(self) -> str:
        return self.ending

    def read(self) -> bytes:
        try:
            return read_blob(self.folder, self.shard, self.row)[1]
        except PackshotError as error:
            raise PictureError("UNREADABLE", error.what) from error


class Packed(Source):
    """The photos that `packshot catalog add` packed at `path`, with all that was said about them."""

    kind: Literal["catalog"]
    path: str = Field(min_length=1)

    def describe(self) -> str:
        return f"catalog {self.path}"

    def attribute_names(self, root: Path) -> frozenset[str]:
        return frozenset(read_pack(root / self.path).attributes)

    def require_intact(self, root: Path, index: Stamps) -> None:
        folder = root / self.path
        verify_pack(folder, read_pack(folder), index)

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        folder = root / self.path
        pack = read_pack(folder)
        require_shards(folder, pack)
        table = read_index(folder, pack)
        if not table.num_rows:
            raise DataRejected("the packed catalogue holds no photo", where=str(folder), advice="add some: packshot catalog add")
        refused = table.filter(pc.is_valid(table["reason"]))
        for row in _rows(refused):
            yield BadPhoto(path=row["path"], category=row["category"], reason=row["reason"], detail=row["detail"] or "")
        offered = table.filter(pc.is_null(table["reason"])).sort_by([("sha256", "ascending"), ("path", "ascending")])
        blobs = pc.unique(offered["sha256"])
        shards, places = locate_rows(blobs, pack.shards)
        at = pc.index_in(offered["sha256"], value_set=blobs)
        located = offered.append_column("shard", shards.take(at)).append_column("row", places.take(at))
        for row in _rows(located):
            yield Photo(
                name=row["path"],
                category=row["category"],
                content=Stored(folder, row["shard"], row["row"], row["suffix"]),
                sku=row["sku"],
                rights=Rights(row["licence"], row["source"], row["consent"], row["expiry"]),
                attributes=json.loads(row["attributes"]),
                generation=row["generation"],
                sha256=row["sha256"],
            )


def read_pack(folder: Path) -> Pack:
    """The record of the pack in `folder`. Raises UsageError where there is none, IntegrityError where it is none."""
    if not (folder / "pack.json").is_file():
        tree = folder.is_dir() and any(folder.iterdir())
        advice = "'packshot catalog add' or 'dvc pull' brings one" + ("; a tree of photos is 'kind: folder'" if tree else "")
        raise UsageError("there is no packed catalogue", where=str(folder), advice=advice)
    try:
        return Pack.read(folder / "pack.json")
    except IntegrityError as fault:
        raise _broken(folder / "pack.json", fault.what) from fault


def read_index(folder: Path, pack: Pack, columns: list[str] | None = None) -> pa.Table:
    """The index of a pack, or some of its columns, in the order of paths. Raises IntegrityError where it is not intact."""
    path = folder / pack.index.name
    try:
        if path.stat().st_size != pack.index.size or file_digest(path) != pack.index.sha256:
            raise OSError("its bytes have changed")
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from error
    wanted = pa.schema([INDEX.field(name) for name in columns]) if columns else INDEX
    if not table.schema.equals(wanted):
        raise _broken(path, "its columns are others")
    return table


def require_shards(folder: Path, pack: Pack) -> None:
    """Raise IntegrityError, and name it, where a shard is missing or has another size."""
    for shard in pack.shards:
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.size:
            raise _broken(path, "its size has changed" if path.is_file() else "it is missing")


def verify_pack(folder: Path, pack: Pack, stamps: Stamps) -> None:
    """Raise IntegrityError, and name it, where a shard is missing or its bytes are not those that were packed.

    DVC would take a broken one for a new version. Only shards that `stamps` does not know are hashed; it learns them.
    """
    require_shards(folder, pack)
    for shard in pack.shards:
        path = (folder / shard.name).resolve()  # DVC may have made it a link
        stamp = File(path).stamp()
        if stamp is not None and stamps.find([shard.name], [stamp]) == [shard.sha256]:
            continue
        if file_digest(path) != shard.sha256:
            raise _broken(folder / shard.name, "its bytes have changed")
        if stamp is not None:
            stamps.learn(shard.name, stamp, shard.sha256)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(_ROWS):
        yield from batch.to_pylist()


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(
        f"the packed catalogue is not intact: {why}",
        where=str(path),
        advice="'git restore data/catalog.dvc', then 'dvc checkout --force data/catalog.dvc' or 'dvc pull' brings it back",
    )
