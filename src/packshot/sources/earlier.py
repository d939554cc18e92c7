"""What an earlier ingest left that can be used again: photos by their sha256, shards that are intact, refusals and pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.manifest import COPIES, SEEN, copies_radius, read_copies, read_manifest
from packshot.images.store import Names, as_names, verify_shards
from packshot.records import Catalog, Shard
from packshot.sources.base import File
from packshot.sources.spool import DECIDED, Refusal
from packshot.sources.stamps import Stamps

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The usable part of an earlier version; nothing at all by default."""

    seen: pa.Table = field(default_factory=SEEN.empty_table)
    """Photos that stand in `shards`: the columns manifest.SEEN."""
    shards: tuple[Shard, ...] = ()
    """Those that are intact."""
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    compared: Names = field(default_factory=lambda: np.zeros(0, "S64"))
    """Photos, sorted, of which all pairs of copies are in `copies`."""
    copies: pa.Table = field(default_factory=COPIES.empty_table)


class Known:
    """Photos by their sha256."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self.table = pa.concat_tables(tables)
        """The columns manifest.SEEN; a photo may stand here more than once."""
        names = as_names(self.table["sha256"])
        self._order = np.argsort(names, kind="stable")
        self._names = names[self._order]

    def find(self, names: Names) -> NDArray[np.int64]:
        """The row of each in `table`; -1 where it is not there."""
        if not len(self._names):
            return np.full(len(names), -1, np.int64)
        places = np.minimum(np.searchsorted(self._names, names), len(self._names) - 1)
        return np.where(self._names[places] == names, self._order[places], -1)


def read_earlier(folder: Path, recipe: str, radius: int, trusted: Stamps) -> Earlier:
    """What the version in `folder` has to offer to an ingest by this recipe and radius.

    Shards whose stamps are in `trusted` are taken to be what they were; others are hashed. One that is broken or missing is left
    out with its photos, and so is everything where the tables are not whole.
    """
    try:
        if not (folder / "catalog.json").is_file():
            return Earlier()
        catalog = Catalog.read(folder / "catalog.json")
        if catalog.recipe != recipe:
            log.info("ingest: photos are taken in by another recipe now, so all of them are decoded again")
            return Earlier()
        table = read_manifest(folder / "manifest.parquet", [*SEEN.names, "shard"])
        _require_agreement(table, catalog)
    except (IntegrityError, MissingArtifact) as fault:
        log.warning("ingest: the earlier version is not used: %s", fault)
        return Earlier()
    intact = tuple(shard for shard in catalog.shards if _is_intact(folder, shard, trusted))
    compared, copies = _read_copies(folder, as_names(table["sha256"]), radius)
    if len(intact) < len(catalog.shards):
        table = table.filter(pc.is_in(table["shard"], value_set=pa.array([shard.name for shard in intact], pa.string())))
    refusals = {
        (bad.sha256, PurePath(bad.path).suffix.lower()): Refusal(bad.reason, bad.detail)
        for bad in catalog.quarantined
        if bad.sha256 and bad.reason in DECIDED
    }
    return Earlier(table.select(SEEN.names), intact, refusals, compared, copies)


def _require_agreement(table: pa.Table, catalog: Catalog) -> None:
    rows = {one["values"]: one["counts"] for one in pc.value_counts(table["shard"]).to_pylist()}
    if rows != {shard.name: shard.rows for shard in catalog.shards}:
        raise IntegrityError("the manifest and the catalogue speak of other shards", where="data/ingest")


def _is_intact(folder: Path, shard: Shard, trusted: Stamps) -> bool:
    stamp = File((folder / shard.name).resolve()).stamp()  # DVC may have made it a link
    if stamp is not None and trusted.find([shard.name], [stamp]) == [shard.sha256]:
        return True
    try:
        verify_shards(folder, [shard])
    except IntegrityError as fault:
        log.warning("ingest: its photos are decoded again: %s", fault)
        return False
    return True


def _read_copies(folder: Path, names: Names, radius: int) -> tuple[Names, pa.Table]:
    try:
        copies = read_copies(folder / "copies.parquet")
    except (IntegrityError, MissingArtifact) as fault:
        log.warning("ingest: copies are looked for anew: %s", fault)
        return names[:0], COPIES.empty_table()
    return (names, copies) if copies_radius(copies) == radius else (names[:0], COPIES.empty_table())
