from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog.changes import Diff
from packshot.catalog.diff import Drawn, diff
from packshot.catalog.pairing import KINDS, pair_rows
from packshot.errors import MissingArtifact, UsageError
from packshot.images.sheet import decode_png
from packshot.layout import Layout
from tests.catalog.conftest import Shop, first_shots
from tests.sources.ingested import Shot


@pytest.fixture(scope="module")
def drawn(shop: Shop) -> Drawn:
    return diff(shop.layout, "first", "second")


def test_every_kind_of_change_is_found_once_and_by_name(drawn: Drawn) -> None:
    found = {(one.kind, one.was_path, one.path) for one in drawn.diff.photos}
    assert found == {
        ("added", "", "bag/0.jpg"),
        ("added", "", "bag/1.jpg"),
        ("removed", "", "hat/0.jpg"),
        ("renamed", "hat/1.jpg", "hat/one.jpg"),
        ("changed", "", "hat/2.jpg"),
        ("moved", "hat/3.jpg", "shoe/moved.jpg"),
        ("retold", "", "shoe/0.jpg"),
    }
    assert {kind: drawn.diff.count(kind) for kind in KINDS} == dict(zip(KINDS, (2, 1, 1, 1, 1, 1), strict=True))
    retold = next(one for one in drawn.diff.photos if one.kind == "retold")
    assert retold.retold == ("material",)
    changed = next(one for one in drawn.diff.photos if one.kind == "changed")
    assert changed.was_sha256 not in {"", changed.sha256}


def test_the_tables_add_up(drawn: Drawn) -> None:
    for one in drawn.diff.categories:
        assert one.after == one.before + one.added - one.removed + one.moved_in - one.moved_out, one
    assert [(one.category, one.moved_in, one.moved_out) for one in drawn.diff.categories] == [
        ("bag", 0, 0),
        ("hat", 0, 1),
        ("shoe", 1, 0),
    ]
    assert {one.attribute: one.changed for one in drawn.diff.attributes} == {"material": 1, "price": 0}
    assert {(one.reason, one.before, one.after) for one in drawn.diff.reasons} == {("EMPTY", 0, 1), ("TRUNCATED", 1, 0)}


def test_files_enter_and_leave_quarantine(drawn: Drawn) -> None:
    assert [bad.path for bad in drawn.diff.quarantined] == ["shoe/none.jpg"]
    assert [bad.path for bad in drawn.diff.released] == ["hat/torn.jpg"]


def test_a_version_compared_with_itself_has_not_changed(shop: Shop, tmp_path: Path) -> None:
    same = diff(shop.layout, "second", "second", folder=tmp_path).diff
    assert same.same
    assert not same.photos
    assert all(one.index == 0 for one in same.drift)
    assert not any(one.touched for one in same.categories)
    assert diff(shop.layout, folder=tmp_path).diff.same, "the workspace is what HEAD says"


def test_a_diff_the_other_way_round_is_its_mirror(shop: Shop, drawn: Drawn, tmp_path: Path) -> None:
    back = diff(shop.layout, "second", "first", folder=tmp_path).diff
    assert (back.count("added"), back.count("removed")) == (drawn.diff.count("removed"), drawn.diff.count("added"))
    assert {kind: back.count(kind) for kind in KINDS[2:]} == {kind: drawn.diff.count(kind) for kind in KINDS[2:]}
    assert back.released == drawn.diff.quarantined


def test_the_same_versions_give_the_same_bytes(shop: Shop, drawn: Drawn, tmp_path: Path) -> None:
    again = diff(shop.layout, "first", "second", folder=tmp_path)
    for one, other in ((drawn.sheet, again.sheet), (drawn.page, again.page), (drawn.record, again.record)):
        assert one.read_bytes() == other.read_bytes()


def test_the_record_reads_back(drawn: Drawn) -> None:
    assert Diff.read(drawn.record) == drawn.diff


def test_the_sheet_shows_a_changed_photo_before_and_after(shop: Shop, tmp_path: Path) -> None:
    shots = {shot.path: shot for shot in first_shots()}
    red, green = (np.full((32, 32, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    project = Layout(shop.layout.root)
    before = shop.project.run("git", "rev-parse", "second").stdout.strip()
    try:
        shop.ingest([*shots.values(), Shot("hat/colour.jpg", red)])
        shop.commit("Red")
        shop.ingest([*shots.values(), Shot("hat/colour.jpg", green)])
        sheet = decode_png(diff(project, folder=tmp_path).sheet.read_bytes())
    finally:
        shop.project.run("git", "reset", "-q", "--hard", before)
        shop.project.run("dvc", "checkout", "-q", "-f", "ingest")
    seen_red, seen_green = ((sheet == colour).all(axis=2) for colour in ((255, 0, 0), (0, 255, 0)))
    assert seen_red.sum() == seen_green.sum() > 1000
    assert seen_red.nonzero()[1].max() < seen_green.nonzero()[1].min(), "before stands on the left"


def test_the_page_opens_offline_and_shows_names_as_text(shop: Shop, drawn: Drawn) -> None:
    text = drawn.page.read_text()
    assert not re.search(r"(src|href)=(?![\"']data:)", text)
    assert "http://" not in text
    assert "https://" not in text
    for one in drawn.diff.photos:
        assert one.path in text


def test_without_anything_ingested_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'ingest'"):
        diff(Layout(tmp_path), "workspace", "workspace")


def test_what_another_packshot_wrote_is_named_as_that(shop: Shop, tmp_path: Path) -> None:
    before = shop.project.run("git", "rev-parse", "second").stdout.strip()
    manifest = shop.layout.stage("ingest") / "manifest.parquet"
    try:
        content = pq.read_table(manifest).drop_columns(["phash"])
        manifest.unlink()
        pq.write_table(content, manifest)
        shop.commit("Older")
        with pytest.raises(UsageError, match="another packshot"):
            diff(shop.layout, "HEAD", "second", folder=tmp_path)
    finally:
        shop.project.run("git", "reset", "-q", "--hard", before)
        shop.project.run("dvc", "checkout", "-q", "-f", "ingest")


NAMES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20, unique_by=(lambda x: x[0], lambda x: x[1]))


@settings(max_examples=200, deadline=None)
@given(before=NAMES, after=NAMES)
def test_every_row_is_paired_at_most_once_and_none_is_lost(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    one, other = (
        pa.table(
            {
                "sha256": pa.array([f"{sha}" for sha, _ in rows], pa.string()),
                "path": pa.array([f"{p}" for _, p in rows], pa.string()),
            }
        )
        for rows in (before, after)
    )
    found = pair_rows(one, other)
    left = sorted([*found.same[:, 0], *found.replaced[:, 0], *found.removed])
    right = sorted([*found.same[:, 1], *found.replaced[:, 1], *found.added])
    assert left == list(range(len(before)))
    assert right == list(range(len(after)))
    assert all(before[a][0] == after[b][0] for a, b in found.same)
    assert all(before[a][1] == after[b][1] and before[a][0] != after[b][0] for a, b in found.replaced)
    shas = {sha for sha, _ in before} & {sha for sha, _ in after}
    assert len(found.same) == len(shas)


def test_json_is_for_machines(shop: Shop, drawn: Drawn) -> None:
    done = shop.project.run("packshot", "catalog", "diff", "first", "second", "--json")
    assert json.loads(done.stdout) == drawn.diff.model_dump(mode="json")


def test_the_command_names_what_changed_and_where_it_is_shown(shop: Shop, drawn: Drawn) -> None:
    told = shop.project.run("packshot", "catalog", "diff", "first", "second").stdout
    assert "2 added, 1 removed, 1 changed, 1 moved, 1 renamed, 1 retold, 1 newly quarantined, 1 released" in told
    assert str(drawn.sheet) in told
    assert "\x1b" not in told


def test_a_mistake_is_one_line(shop: Shop) -> None:
    done = shop.project.run("packshot", "catalog", "diff", "first", "nowhere", code=2)
    assert done.stderr.count("packshot: E2") == 1
    assert "Traceback" not in done.stderr
