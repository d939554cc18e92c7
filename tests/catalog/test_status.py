from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from packshot.catalog.pending import OFFER, find_pending, list_offer
from packshot.catalog.status import Status, status
from packshot.catalog.text import render, tell_status
from packshot.images.manifest import read_manifest
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.params import load_params
from packshot.records import Catalog
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed
from packshot.sources.packing import pack_photos
from packshot.sources.stamps import Stamps
from tests.catalog.conftest import BAD
from tests.conftest import Project, make_project
from tests.sources.ingested import Shot, product, write_ingested


def look(project: Project) -> Status:
    layout = Layout(project.root)
    return status(load_params(layout.params), layout)


def deliver(folder: Path, numbers: range) -> Path:
    for number in numbers:
        path = folder / ("hat" if number % 2 else "shoe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(product(number)))
    return folder


def test_a_status_leads_from_nothing_to_data_that_can_be_trained_on(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    project.set(**{"validate.min_photos": 10, "validate.min_photos_a_category": 4})
    git = ("git", "-c", "core.autocrlf=false")

    bare = look(project)
    assert (bare.ingested, bare.validated, bare.pending) == (None, None, None)
    assert bare.next.command == "packshot catalog add SOURCE"
    assert any("no packed catalogue" in note for note in bare.notes)

    project.run("packshot", "catalog", "add", str(deliver(tmp_path / "one", range(12))))
    assert look(project).next.command == "dvc repro validate"

    project.run("dvc", "repro", "-q", "validate")
    fresh = look(project)
    assert fresh.ingested is not None
    assert fresh.ingested.photos == 12
    assert [(one.category, one.photos) for one in fresh.ingested.categories] == [("hat", 6), ("shoe", 6)]
    assert fresh.pending is not None
    assert fresh.pending.total == 0
    assert fresh.validated is not None
    assert (fresh.validated.passed, fresh.validated.current, fresh.committed) == (True, True, False)
    assert fresh.next.command.startswith("git add data/catalog.dvc data/.gitignore dvc.lock")

    project.run(*git, "add", "-A")
    project.run(*git, "commit", "-qm", "The first delivery")
    done = look(project)
    assert (done.committed, done.outdated, done.notes, done.next.command) == (True, (), (), "dvc repro")
    assert len(done.version.removesuffix(".dir")) == 32

    project.run("packshot", "catalog", "add", "--merge", str(deliver(tmp_path / "two", range(12, 14))))
    more = look(project)
    assert more.pending is not None
    assert (more.pending.added, more.pending.removed, more.pending.changed) == (2, 0, 0)
    assert more.pending.named == ("+ hat/13.png", "+ shoe/12.png")
    assert not more.committed
    assert more.version != done.version
    assert more.next.command == "dvc repro validate"

    told = render(tell_status(more), terminal=False)
    assert "2 added, 0 removed, 0 changed" in told
    assert "next: dvc repro validate" in told
    assert Status.model_validate_json(project.run("packshot", "catalog", "status", "--json").stdout) == more

    shard = next((project.root / "data" / "catalog").glob("photos-*.parquet"))
    shard.chmod(0o644)
    os.truncate(shard, shard.stat().st_size - 1)
    torn = look(project)
    assert torn.next.command == "dvc checkout data/catalog.dvc"
    assert any("data/catalog" in line for line in torn.outdated)
    next((project.root / "data" / "catalog").glob("index-*.parquet")).unlink()
    assert look(project).next.command == "dvc checkout data/catalog.dvc"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, pa.Table]:
    folder = tmp_path_factory.mktemp("pending") / "ingest"
    shots = [Shot(f"hat/{number}.jpg", product(number)) for number in range(3)]
    bad = BAD.model_copy(update={"sha256": "ab" * 32})
    return write_ingested(folder, shots, quarantined=[bad]), read_manifest(folder / "manifest.parquet")


def offer(*rows: tuple[str, str | None, int | None]) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=OFFER)


def test_what_is_pending_is_told_apart(ingested: tuple[Catalog, pa.Table]) -> None:
    catalog, rows = ingested
    known = dict(zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
    size = rows["file_bytes"][0].as_py()
    pending = find_pending(
        offer(
            ("hat/0.jpg", known["hat/0.jpg"], size),
            ("hat/1.jpg", "cd" * 32, size),
            ("hat/new.jpg", None, 5),
            ("hat/torn.jpg", "ab" * 32, 5),
        ),
        rows,
        catalog,
    )
    assert (pending.added, pending.removed, pending.changed) == (1, 1, 1)
    assert pending.named == ("+ hat/new.jpg", "- hat/2.jpg", "~ hat/1.jpg")


def test_without_a_digest_the_size_tells(ingested: tuple[Catalog, pa.Table]) -> None:
    catalog, rows = ingested
    size = rows["file_bytes"][0].as_py()
    same = [(f"hat/{number}.jpg", None, size) for number in range(3)] + [("hat/torn.jpg", None, None)]
    assert find_pending(offer(*same), rows, catalog).total == 0
    same[1] = ("hat/1.jpg", None, size + 1)
    assert find_pending(offer(*same), rows, catalog).changed == 1


def test_a_quarantined_file_that_was_mended_or_taken_away_is_pending(ingested: tuple[Catalog, pa.Table]) -> None:
    catalog, rows = ingested
    photos = [(path, None, None) for path in rows["path"].to_pylist()]
    assert find_pending(offer(*photos, ("hat/torn.jpg", "ef" * 32, 9)), rows, catalog).changed == 1
    assert find_pending(offer(*photos), rows, catalog).removed == 1


def test_a_name_that_was_offered_twice_is_not_pending_for_ever(tmp_path: Path) -> None:
    for name in ("\u00e9.png", "e\u0301.png"):
        path = tmp_path / "shop" / "hat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(product(1)))
    pack_photos(Folder(kind="folder", path="shop"), tmp_path, tmp_path / "data" / "catalog", Stamps(tmp_path / "stamps"))
    offered = list_offer(Packed(kind="catalog", path="data/catalog"), tmp_path)
    assert [row["file_bytes"] for row in offered.to_pylist() if row["sha256"] is None] == [None]


def test_a_pack_that_is_not_named_is_pointed_at(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    layout = Layout(project.root)
    deliver(tmp_path / "shop", range(4))
    pack_photos(Folder(kind="folder", path=str(tmp_path / "shop")), layout.root, layout.catalog, Stamps(tmp_path / "stamps"))
    project.set(**{"ingest.source": {"kind": "folder", "path": str(tmp_path / "shop")}})
    now = look(project)
    assert now.next.command == "$EDITOR params.yaml"
    assert "source: {kind: catalog, path: data/catalog}" in now.next.why


def test_a_status_is_told_where_there_is_no_version_control(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(Path(__file__).parents[1].joinpath("params.yaml").read_text())
    write_ingested(tmp_path / "data" / "ingest", [Shot("hat/a.jpg", product(1))])
    now = look(Project(tmp_path))
    assert now.ingested is not None
    assert not now.committed
    assert any("no versions" in note for note in now.notes)
    assert "hat" in render(tell_status(now), terminal=False)
