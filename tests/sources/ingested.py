"""Folders as ingest writes them, made from pictures in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from packshot.images.fingerprint import Fingerprints, fingerprint, near_duplicates, pixel_digest
from packshot.images.manifest import COPIES, manifest_schema, write_copies, write_manifest
from packshot.images.measure import describe_shape, measure
from packshot.images.resize import fit_within
from packshot.images.sheet import Pixels, encode_png
from packshot.images.store import locate_rows, remove_strays, write_shards
from packshot.records import Attribute, BadPhoto, Catalog, CategoryCount

RECIPE = "0" * 64


@dataclass(frozen=True)
class Shot:
    """One photo: its name, its picture, and what is told of it."""

    path: str
    pixels: Pixels
    category: str = ""
    sku: str = ""
    generation: int = 0
    rights: Mapping[str, str | bool | date] = field(default_factory=dict)
    attributes: Mapping[str, str | float | bool | date] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


def product(seed: int, side: int = 32) -> Pixels:
    """A coloured thing on white that differs from seed to seed."""
    chance = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 250, dtype=np.uint8)
    top, left = chance.integers(2, side // 3, size=2)
    height, width = chance.integers(side // 3, side // 2, size=2)
    picture[top : top + height, left : left + width] = chance.integers(0, 220, size=(height, width, 1), dtype=np.uint8)
    picture[top : top + height // 2, left : left + width] = chance.integers(0, 220, size=3, dtype=np.uint8)
    return picture


def write_ingested(
    folder: Path,
    shots: Sequence[Shot],
    *,
    quarantined: Sequence[BadPhoto] = (),
    attributes: Sequence[Attribute] = (),
    side: int = 128,
    radius: int = 4,
) -> Catalog:
    """Write data/ingest as the stage would: shards, manifest.parquet, copies.parquet and, last, catalog.json."""
    ordered = sorted(shots, key=lambda shot: shot.sha256)
    stored = {shot.sha256: encode_png(fit_within(shot.pixels, side)) for shot in ordered}
    blobs = pa.table({"sha256": list(stored), "size": pa.array([len(png) for png in stored.values()], pa.int64())})
    shards = write_shards(folder, blobs, stored.__getitem__)
    names, places = locate_rows(list(stored), shards)
    prints = [fingerprint(shot.pixels) for shot in ordered]
    rows = [
        {
            "sha256": shot.sha256,
            "pixels": pixel_digest(shot.pixels),
            "path": shot.path,
            "sku": shot.sku,
            "category": shot.category or shot.path.split("/")[0],
            "generation": shot.generation,
            "format": "PNG",
            "width": shot.pixels.shape[1],
            "height": shot.pixels.shape[0],
            "file_bytes": shot.pixels.size,
            "stored_bytes": len(stored[shot.sha256]),
            **asdict(one),
            "shape": describe_shape(shot.pixels),
            **asdict(measure(shot.pixels)),
            **{name: shot.rights.get(name) for name in ("licence", "source", "consent", "expiry")},
            **{attribute.name: shot.attributes.get(attribute.name) for attribute in attributes},
        }
        for shot, one in zip(ordered, prints, strict=True)
    ]
    schema = manifest_schema(attributes)
    columns = {name: [row[name] for row in rows] for name in schema.names if name not in {"shard", "row"}}
    table = pa.Table.from_pydict({**columns, "shard": names, "row": places}, schema=schema)
    write_manifest(folder / "manifest.parquet", [table], attributes)
    pairs = near_duplicates(Fingerprints.of(prints), radius)
    found = {"a": [ordered[one].sha256 for one, _ in pairs], "b": [ordered[other].sha256 for _, other in pairs]}
    write_copies(folder / "copies.parquet", pa.Table.from_pydict(found, schema=COPIES), radius)
    counts = Counter(row["category"] for row in rows)
    catalog = Catalog(
        source="folder data/catalog",
        photos=len(rows),
        side=side,
        recipe=RECIPE,
        attributes=tuple(attributes),
        counts=tuple(CategoryCount(category=name, photos=count) for name, count in sorted(counts.items())),
        quarantined=tuple(quarantined),
        shards=shards,
        digest=hashlib.sha256(repr([(row["sha256"], row["path"], row["category"]) for row in rows]).encode()).hexdigest(),
    )
    catalog.write(folder / "catalog.json")
    remove_strays(folder, shards)
    return catalog
