from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from packshot.adapters.versioning import data_version, git_commit, repro
from packshot.errors import DataRejected, Locked, PackshotError, Unavailable
from packshot.layout import Layout

PIPELINE = {
    "stages": {
        "ingest": {
            "cmd": f'"{sys.executable}" stage.py',
            "deps": ["stage.py", "behaviour"],
            "outs": ["data/ingest"],
        }
    }
}

STAGE = """
import os, sys, time
from pathlib import Path
behaviour = Path("behaviour").read_text()
print("the stage begins as", os.getpid(), flush=True)
if behaviour == "reject":
    print("packshot: E10 the catalogue breaks its expectations: hat/a.jpg", file=sys.stderr)
    sys.exit(10)
if behaviour == "crash":
    sys.exit(70)
if behaviour == "wait":
    while not Path("go").exists():
        time.sleep(0.05)
Path("data/ingest").mkdir(parents=True, exist_ok=True)
Path("data/ingest/catalog.json").write_text(behaviour)
print("the stage ends", flush=True)
"""


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project under Git and DVC with one stage, whose behaviour a file decides."""
    root = tmp_path_factory.mktemp("versioning") / "project"
    root.mkdir()
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root.parent / "site"))
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "packshot")
    git(root, "config", "user.email", "tests@packshot.invalid")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    (root / "params.yaml").write_text("ingest: {source: {kind: folder, path: data/catalog}}\n")
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    (root / "stage.py").write_text(STAGE)
    (root / "behaviour").write_text("begin")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Begin")
    return Layout(root)


def behave(layout: Layout, behaviour: str) -> None:
    (layout.root / "behaviour").write_text(behaviour)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_outside_dvc_nothing_has_a_version(tmp_path: Path) -> None:
    assert data_version(Layout(tmp_path)) == ""
    assert git_commit(Layout(tmp_path)) == ""


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ("{kind: catalog, path: data/catalog}", "data/catalog.dvc"),
        ("{kind: folder, path: photos/2024}", "photos.dvc"),
        ("{kind: archive, path: data/import.zip}", "data/import.zip.dvc"),
        ("{kind: table, path: data/import, table: products.csv, image: image, category: category}", "data/import.dvc"),
    ],
)
def test_the_version_of_the_data_is_that_of_whatever_the_source_reads(tmp_path: Path, source: str, record: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_text(f"ingest: {{source: {source}}}\n")
    (tmp_path / "dvc.lock").write_text("stages: {ingest: {outs: [{path: data/ingest, md5: of-ingest}]}}\n")
    assert data_version(Layout(tmp_path)) == "of-ingest"
    (tmp_path / record).write_text("outs: [{path: x, md5: of-the-source}]\n")
    assert data_version(Layout(tmp_path)) == "of-the-source"


def test_the_commit_says_whether_the_sources_stand_as_committed(layout: Layout) -> None:
    behave(layout, "begin")
    commit = git(layout.root, "rev-parse", "HEAD")
    assert git_commit(layout) == commit
    behave(layout, "something else")
    assert git_commit(layout) == f"{commit}-dirty"
    behave(layout, "begin")
    assert git_commit(layout) == commit


def test_a_stage_runs_once_and_its_lines_come_as_they_are_said(layout: Layout) -> None:
    behave(layout, "once")
    lines: list[str] = []
    repro(layout, on_line=lines.append)
    assert any(line == "Running stage 'ingest':" for line in lines)
    assert lines.index("the stage ends") > next(at for at, line in enumerate(lines) if line.startswith("the stage begins"))
    again: list[str] = []
    repro(layout, ["ingest"], on_line=again.append, single_item=True)
    assert not any("the stage begins" in line for line in again)
    forced: list[str] = []
    repro(layout, ["ingest"], on_line=forced.append, force=True)
    assert any("the stage begins" in line for line in forced)
    lock = yaml.safe_load((layout.root / "dvc.lock").read_text())
    (layout.root / "params.yaml").write_text("ingest: {source: {kind: synthetic, path: src}}\n")
    assert data_version(layout) == lock["stages"]["ingest"]["outs"][0]["md5"]
    (layout.root / "params.yaml").write_text("ingest: {source: {kind: folder, path: data/catalog}}\n")


def test_what_a_stage_raises_comes_out_as_its_own_kind(layout: Layout) -> None:
    behave(layout, "reject")
    with pytest.raises(DataRejected, match=r"the catalogue breaks its expectations: hat/a\.jpg"):
        repro(layout)
    behave(layout, "crash")
    with pytest.raises(PackshotError) as caught:
        repro(layout)
    assert type(caught.value) is PackshotError


def test_an_unknown_target_is_no_fault_of_a_stage(layout: Layout) -> None:
    with pytest.raises(Unavailable, match="nonsense"):
        repro(layout, ["nonsense"])


def test_whatever_interrupts_the_caller_ends_the_stage_too(layout: Layout) -> None:
    behave(layout, "wait")
    pids: list[int] = []

    def on_line(line: str) -> None:
        if line.startswith("the stage begins as"):
            pids.append(int(line.rsplit(maxsplit=1)[-1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repro(layout, on_line=on_line)
    assert pids
    assert not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE


def test_another_dvc_at_work_is_waited_for(layout: Layout) -> None:
    behave(layout, "wait")
    (layout.root / "go").unlink(missing_ok=True)
    first: list[str] = []
    second: list[str] = []
    one = threading.Thread(target=repro, args=(layout,), kwargs={"on_line": first.append})
    one.start()
    until(lambda: any("the stage begins" in line for line in first))
    with pytest.raises(Locked, match="another DVC is at work"):
        repro(layout, wait_seconds=0.0)
    other = threading.Thread(target=repro, args=(layout,), kwargs={"on_line": second.append})
    other.start()
    until(lambda: any("busy" in line or "lock" in line for line in second))
    (layout.root / "go").touch()
    one.join(60)
    other.join(60)
    assert "the stage ends" in first
    assert "the stage ends" not in second
