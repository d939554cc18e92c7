"""What people read of a stage in Prefect."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.summaries import DESCRIBERS, ROWS, describe, find_pictures, link_runs, picture_address
from packshot.errors import MissingArtifact
from packshot.layout import Layout
from packshot.records import (
    BadPhoto,
    Catalog,
    CategoryCount,
    Checkpoint,
    Estimate,
    EvaluationReport,
    Score,
    Scorecard,
    Tracked,
    TrackedRuns,
)
from packshot.stages import STAGES

DIGEST = "0" * 64


def test_every_stage_is_described() -> None:
    assert tuple(DESCRIBERS) == STAGES


def test_a_hostile_name_stays_in_its_cell(tmp_path: Path) -> None:
    bad = BadPhoto(path="a|b\n# x<script>`", category="c", reason="truncated", detail="")
    counts = (CategoryCount(category="dress", photos=3),)
    catalog = Catalog(
        source="folder", photos=3, side=64, recipe=DIGEST, counts=counts, quarantined=(bad,), shards=(), digest=DIGEST
    )
    layout = Layout(tmp_path)
    catalog.write(layout.stage("ingest") / "catalog.json")
    text = describe("ingest", layout)
    assert "| a\\|b # x&lt;script>' | c | truncated |  |" in text.splitlines()


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    bad = tuple(BadPhoto(path=f"{index}.jpg", category="c", reason="empty", detail="") for index in range(ROWS + 7))
    catalog = Catalog(source="folder", photos=0, side=64, recipe=DIGEST, counts=(), quarantined=bad, shards=(), digest=DIGEST)
    catalog.write(Layout(tmp_path).stage("ingest") / "catalog.json")
    text = describe("ingest", Layout(tmp_path))
    assert text.count(".jpg") == ROWS
    assert text.endswith("... and 7 more.")


def test_a_withheld_number_is_not_printed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(run="vae", family="vae", step=3, path="weights/x.safetensors", sha256=DIGEST)
    scores = (
        Score(metric="psnr", estimate=Estimate(value=21.504, low=21.0, high=22.0, n=40)),
        Score(metric="kid", estimate=Estimate(value=None, n=3, note="needs 64 pictures")),
    )
    report = EvaluationReport(
        dataset=DIGEST, evidence=DIGEST, references=(), scorecards=(Scorecard(checkpoint=checkpoint, scores=scores),)
    )
    report.write(Layout(tmp_path).stage("evaluate") / "report.json")
    lines = describe("evaluate", Layout(tmp_path)).splitlines()
    assert "| psnr | 21.5 [21, 22], n=40 |" in lines
    assert "| kid | withheld (needs 64 pictures) |" in lines


def test_a_stage_that_left_no_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'gate'"):
        describe("gate", Layout(tmp_path))


def test_runs_are_linked_where_there_is_a_server_to_show_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    TrackedRuns(runs=(Tracked(run="vae", mlflow_run="abc", experiment="packshot"),)).write(layout.stage("train") / "tracked.json")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert link_runs(layout) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:5000/")
    assert link_runs(layout) == [("vae", "http://127.0.0.1:5000/#/runs/abc")]


def test_only_small_pictures_go_into_prefects_database(tmp_path: Path) -> None:
    sheets = Layout(tmp_path).stage("train") / "sheets"
    sheets.mkdir(parents=True)
    (sheets / "small.png").write_bytes(b"png")
    (sheets / "large.png").write_bytes(bytes(1_000_001))
    assert [path.name for path in find_pictures("train", Layout(tmp_path))] == ["small.png"]
    assert find_pictures("ingest", Layout(tmp_path)) == []
    assert picture_address(sheets / "small.png") == "data:image/png;base64,cG5n"
