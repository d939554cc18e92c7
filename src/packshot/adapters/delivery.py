"""Photos that come in: packed into data/catalog, or imported from a URL into data/import, and under DVC either way."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from packshot.adapters.versioning import imported_from, require_dvc, run_dvc
from packshot.errors import Locked, UsageError
from packshot.layout import Layout
from packshot.pages import plural
from packshot.records import AttributeKind
from packshot.sources import AnySource
from packshot.sources.archive import Archive
from packshot.sources.detect import Columns, detect_import, detect_source, suggest_kinds
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed, read_index
from packshot.sources.packing import Packing, pack_photos
from packshot.sources.stamps import Stamps
from packshot.sources.table import Table

IMPORTED = (".zip", ".tar", ".csv", ".tsv", ".parquet")
"""Endings that an import keeps, since they say how it is read."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of photos that were offered: the source to name in params.yaml, and what changed where they were packed."""

    source: AnySource
    kinds: Mapping[str, AttributeKind]
    """Of the attributes that the photos have."""
    packing: Packing | None
    doubt: str = ""
    """What may have been meant otherwise."""

    def lines(self) -> Iterator[str]:
        """The delivery in words."""
        if self.packing is None:
            yield f"{self.source.path} is under DVC; 'dvc update' fetches what is newer."
            yield f"Commit {self.source.path}.dvc and data/.gitignore, and say in params.yaml, in place of what stands there:"
        else:
            yield from _count(self.packing)
            yield from [self.doubt] if self.doubt else []
            yield "Commit data/catalog.dvc and data/.gitignore, and say in params.yaml, in place of what stands there:"
        yield "  ingest:"
        yield f"    source: {_flow(self.source.model_dump(exclude_defaults=True))}"
        yield f"    attributes: {_flow(self.kinds)}"


def deliver(layout: Layout, offered: str, columns: Columns, *, below: str = "", merge: bool = False) -> Delivery:
    """Bring the photos of a folder, a table or an archive into data/catalog, or those of a URL into data/import.

    `columns` are a table's, `below` is the folder in an archive that holds the categories. Raises what `detect_source`,
    `add_catalog` and `import_catalog` raise.
    """
    if "://" in offered:
        if merge:
            raise UsageError(
                "photos of a URL are not merged", where=offered, advice="import them, then add data/import with --merge"
            )
        place = import_catalog(layout, offered)
        imported = detect_import(place, columns, below=below, path=place.relative_to(layout.root).as_posix())
        return Delivery(imported, {}, None)
    source = detect_source(Path(offered).resolve(), columns, below=below)
    packing = add_catalog(layout, source, merge=merge)
    path = layout.catalog.relative_to(layout.root).as_posix()
    return Delivery(
        Packed(kind="catalog", path=path), suggest_kinds(layout.catalog, packing.pack), packing, _doubt(layout, packing, source)
    )


def add_catalog(layout: Layout, source: AnySource, *, merge: bool = False) -> Packing:
    """Pack the photos of `source` into data/catalog and bring it under DVC: data/catalog.dvc is its version.

    The photos replace those that are there, or with `merge` come beside them; the same photos again change nothing. Raises what
    `pack_photos` raises, UsageError outside DVC and where one folder holds the other, Locked where another add or another DVC is
    at work, Unavailable where DVC itself fails.
    """
    require_dvc(layout)
    place, target = (layout.root / source.path).resolve(), layout.catalog.resolve()
    holds = isinstance(source, Folder) and place in target.parents
    if place == target or holds or target in place.parents:
        raise UsageError(
            "one folder holds the other", where=f"{place} and {target}", advice="keep the photos outside data/catalog"
        )
    record = target.with_name(f"{target.name}.dvc")
    if record.exists() and not target.exists():
        advice = "'dvc pull data/catalog.dvc' brings them; remove that file to begin anew, without their generations"
        raise UsageError("the photos that were added before are not here", where=str(record), advice=advice)
    layout.var.mkdir(parents=True, exist_ok=True)
    with (layout.var / "catalog.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked("photos are being added already", where=str(layout.catalog), advice="wait for that, or end it") from None
        stamps = Stamps(layout.cache / "stamps" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.stamps")
        packing = pack_photos(source, layout.root, layout.catalog, stamps, merge=merge)
        relative = layout.catalog.relative_to(layout.root).as_posix()
        run_dvc(layout, ["add", relative], advice="mend that and add the photos again")
    return packing


def import_catalog(layout: Layout, url: str) -> Path:
    """Bring a folder, a table or an archive from somewhere else under DVC as data/import, and give back where it stands.

    data/import*.dvc remembers where it came from: the same URL again, or `dvc update`, fetches what is newer. Raises UsageError
    outside DVC, Unavailable where DVC cannot get it (it says what to install for the URL's scheme), Locked where it is busy.
    """
    require_dvc(layout)
    if urlsplit(url).password:
        advice = "leave it out: 'dvc remote modify --local' keeps passwords, and remote://NAME/... uses them"
        raise UsageError("the URL carries a password, which data/import.dvc would show to everybody", advice=advice)
    url = url.removeprefix("file://")
    ending = PurePosixPath(urlsplit(url).path).suffix.lower()
    target = layout.data / f"import{ending if ending in IMPORTED else ''}"
    record = target.with_name(f"{target.name}.dvc")
    layout.data.mkdir(parents=True, exist_ok=True)
    if target.exists() and _same_place(layout, imported_from(record), url):
        words = ["update", record.relative_to(layout.root).as_posix()]
    else:
        words = ["import-url", "--force", url, target.relative_to(layout.root).as_posix()]
    run_dvc(layout, words, advice="look at the URL and at what it needs (credentials, a network)")
    return target


def _same_place(layout: Layout, known: str, url: str) -> bool:
    """Whether a .dvc file in data/ names this URL, or this path."""
    return bool(known) and (
        known == url or ("://" not in url and (layout.data / known).resolve() == (layout.root / url).resolve())
    )


def _count(packing: Packing) -> Iterator[str]:
    pack = packing.pack
    categories = plural(len(pack.counts), "category", "categories")
    whole = f"{plural(pack.photos, 'photo')} of {categories}, generation {pack.generation}"
    if not packing.is_new:
        yield f"Nothing has changed: {whole}."
    else:
        now, kept = f"{packing.added:,} added, {packing.removed:,} removed", f"{packing.unchanged:,} unchanged"
        yield f"{now}, {packing.changed:,} changed, {kept}."
        yield f"data/catalog holds {whole}."
    if packing.refused:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in packing.refused)
        yield f"{pack.refused:,} refused: {reasons}. ingest names them."


def _doubt(layout: Layout, packing: Packing, offered: AnySource) -> str:
    """A word where one folder too many may have been taken for the category."""
    if len(packing.pack.counts) > 1 or isinstance(offered, Table):
        return ""
    if not any(path.count("/") > 1 for path in read_index(layout.catalog, packing.pack, ["path"])["path"].to_pylist()):
        return ""
    category = packing.pack.counts[0].category
    within = f"{offered.below}/{category}".lstrip("/") if isinstance(offered, Archive) else f"{offered.path}/{category}"
    way = f"--below {shlex.quote(within)}" if isinstance(offered, Archive) else shlex.quote(within)
    return f"All are of the category '{category}'. Where the folders in it are the categories, add them with {way}."


def _flow(pairs: Mapping[str, object]) -> str:
    """A mapping as YAML writes it on one line."""
    return "{" + ", ".join(f"{key}: {_scalar(str(value))}" for key, value in pairs.items()) + "}"


def _scalar(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and text.lower() not in _WORDS else json.dumps(text)


_WORDS = {"yes", "no", "true", "false", "on", "off", "null", "y", "n"}
