"""One version of the ingested photos: the workspace's, or that of any revision of the project."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from packshot.adapters.revisions import Revision, open_revision
from packshot.errors import IntegrityError, UsageError
from packshot.images.manifest import read_manifest
from packshot.images.sheet import Pixels
from packshot.images.thumbnails import read_pixels
from packshot.layout import Layout
from packshot.records import Catalog

WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was ingested, at one time."""

    name: str
    """'workspace', or the revision as it was asked for."""
    commit: str
    """Empty for the workspace."""
    catalog: Catalog
    rows: pa.Table
    """The manifest, in the order of sha256."""
    folder: Path
    """Where the record, the manifest and, once they are asked for, the shards are."""
    revision: Revision | None

    def pixels(self, rows: Sequence[int]) -> dict[int, Pixels]:
        """The photos of these rows, {row: uint8 (H, W, 3)}; only the shards that hold them are fetched (`Revision.link`)."""
        if self.revision:
            shards = {self.rows["shard"][row].as_py() for row in rows}
            self.revision.link(sorted(shards), self.folder)
        return read_pixels(self.rows, rows, self.folder)


@contextmanager
def open_snapshot(layout: Layout, revision: str = WORKSPACE) -> Iterator[Snapshot]:
    """What was ingested at a Git revision, or what stands in data/ingest now.

    Raises MissingArtifact or UsageError where nothing was ingested or the revision is not known, UsageError where another
    packshot wrote it, and as `open_revision` does.
    """
    if revision == WORKSPACE:
        folder = layout.stage("ingest")
        yield Snapshot(
            WORKSPACE, "", Catalog.read(folder / "catalog.json"), read_manifest(folder / "manifest.parquet"), folder, None
        )
        return
    found = open_revision(layout, revision)
    with tempfile.TemporaryDirectory(prefix="packshot-") as place:
        folder = Path(place)
        found.link(["catalog.json", "manifest.parquet"], folder)
        try:
            catalog, rows = Catalog.read(folder / "catalog.json"), read_manifest(folder / "manifest.parquet")
        except IntegrityError as error:
            raise UsageError(
                f"what was ingested at '{revision}' was written by another packshot",
                where=error.what,
                advice=f"'git checkout {revision}', run 'dvc repro ingest' there and compare that commit",
            ) from error
        yield Snapshot(revision, found.commit, catalog, rows, folder, found)
