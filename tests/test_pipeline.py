"""The six stages as DVC runs them: real DVC, real Git, real kills."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from pathlib import Path

import cv2
import psutil
import pytest

from packshot.records import Catalog, Live, TrainReport, Verdict
from packshot.sources.synthetic import render
from packshot.stages import STAGES
from tests.conftest import Project, make_project

PHOTOS = 240


def draw_shop(folder: Path) -> None:
    """A shop's folder: category/photo.jpg, one of them no picture at all."""
    for index in range(PHOTOS):
        photo = render(11, index, 64)
        path = folder / photo.product.category / f"{photo.sku}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    (path.parent / "broken.jpg").write_bytes(path.read_bytes()[:400])


def run_stages(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def state(project: Project) -> dict[str, str]:
    """Every output's bytes, but for where the runs were tracked, and what carries dates or was read off a clock."""
    files = {
        path.relative_to(project.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in STAGES
        for path in sorted((project.root / "data" / name).rglob("*"))
        if path.is_file() and "docs" not in path.parts and path.name not in {"tracked.json", ".gitignore", "speed.json"}
    }
    assert files.pop("data/gate/report.html")
    return files


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose catalogue is a shop's folder, run once from end to end by `dvc repro`."""
    base = tmp_path_factory.mktemp("shop")
    draw_shop(base / "photos")
    project = make_project(base / "project")
    project.run("packshot", "catalog", "add", str(base / "photos"))
    done = project.run("dvc", "repro")
    assert run_stages(done.stdout) == list(STAGES)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "Train")
    return project


def test_a_folder_of_photos_becomes_a_judged_model(shop: Project) -> None:
    catalog = Catalog.read(shop.root / "data/ingest/catalog.json")
    assert catalog.photos == PHOTOS
    assert [bad.path.rpartition("/")[2] for bad in catalog.quarantined] == ["broken.jpg"]
    verdict = Verdict.read(shop.root / "data/gate/verdict.json")
    report = TrainReport.read(shop.root / "data/train/report.json")
    assert {judgement.checkpoint for judgement in verdict.judgements} == set(report.checkpoints)
    assert verdict.dataset == report.dataset


def test_a_second_repro_runs_no_stage(shop: Project) -> None:
    assert run_stages(shop.run("dvc", "repro").stdout) == []


def test_changing_the_gate_runs_the_gate_alone(shop: Project) -> None:
    text = (shop.root / "params.yaml").read_text()
    shop.set(**{"gate.bounds.0.at_least": 99.0})
    try:
        assert run_stages(shop.run("dvc", "repro").stdout) == ["gate"]
        assert not Verdict.read(shop.root / "data/gate/verdict.json").passed
    finally:
        (shop.root / "params.yaml").write_text(text)
    assert run_stages(shop.run("dvc", "repro").stdout) == []


def test_the_demo_ends_with_pictures_over_http_and_nothing_left_running(shop: Project) -> None:
    told = shop.run("packshot", "demo").stdout
    sheet = cv2.imread(str(shop.root / "var" / "demo" / "pictures.png"))
    assert sheet is not None
    assert "var/demo/pictures.png" in told
    assert "data/gate/report.html" in told
    live = Live.read(shop.root / "var" / "live.json")
    champion = Verdict.read(shop.root / "data" / "gate" / "verdict.json").candidate
    assert champion is not None
    assert live.sha256 == champion.sha256
    assert not [process for process in psutil.process_iter(["environ"]) if in_project(process, shop)]
    again = shop.run("packshot", "demo").stdout
    assert run_stages(again) == []
    assert Live.read(shop.root / "var" / "live.json") == live


def in_project(process: psutil.Process, project: Project) -> bool:
    return (process.info["environ"] or {}).get("PACKSHOT_LIVE") == str(project.root / "var" / "live.json")


def test_dvc_shows_metrics_plots_and_differences(shop: Project) -> None:
    metrics = json.loads(shop.run("dvc", "metrics", "show", "--json").stdout)
    assert "psnr" in json.dumps(metrics)
    plots = json.loads(shop.run("dvc", "plots", "show", "--json", "-o", "var/plots").stdout)
    shown = json.dumps(plots)
    assert "curves" in shown
    assert "sheets" in shown
    assert "pictures" in shown
    done = shop.run("dvc", "exp", "run", "--temp", "-n", "longer", "-S", "train.steps=40")
    assert "train" in run_stages(done.stdout)
    assert "ingest" not in run_stages(done.stdout)
    difference = json.loads(shop.run("dvc", "metrics", "diff", "HEAD", "longer", "--json").stdout)
    assert difference
    assert state(shop)


def experiments(project: Project) -> set[str]:
    """The names of those whose results are there."""
    told = project.run("git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps").stdout
    return set(told.split())


def test_queued_experiments_train_side_by_side_and_leave_the_workspace_alone(shop: Project) -> None:
    before = state(shop)
    steps = {"short": 24, "shorter": 16}
    for name, count in steps.items():
        told = shop.run("dvc", "exp", "run", "--queue", "-n", name, "-S", f"train.steps={count}", "train")
        assert "Queued experiment" in told.stdout
    # A worker may miss that it is to end, since the first one to end clears the messages for all: it must hold no pipe of ours.
    words = ("dvc", "queue", "start", "-j", "2")
    subprocess.run(words, cwd=shop.root, env=shop.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    try:
        deadline = time.monotonic() + 240
        while (ended := shop.run("dvc", "queue", "status").stdout).count("Success") < len(steps):
            failed = re.findall(r"(\w+) .*Failed", ended)
            assert not failed, shop.run("dvc", "queue", "logs", *failed[:1], code=None).stdout
            assert time.monotonic() < deadline, ended
            # To ask DVC takes seconds of a core; to ask Git for the results takes none.
            ask_again = time.monotonic() + 20
            while not (results := experiments(shop)) >= steps.keys() and time.monotonic() < ask_again:
                time.sleep(0.2)
            time.sleep(1 if results >= steps.keys() else 0)
    finally:
        shop.run("dvc", "queue", "stop", "--kill", code=None)
    found = {}
    for name in steps:
        changes = json.loads(shop.run("dvc", "metrics", "diff", "HEAD", name, "--json").stdout)
        found[name] = changes["data/train/metrics.json"]["vae.autoencoder/reconstruction"]["new"]
    assert found["shorter"] > found["short"], "each is its own training"
    assert state(shop) == before
    states = list((shop.root / "var" / "train").rglob("*.safetensors"))
    assert states == [], "they kept their states in the project's own var, and cleared them"


def clone(shop: Project, path: Path) -> Project:
    """A colleague's clone of the shop's project, with the shop's cache as its DVC remote."""
    shop.run("git", "clone", "-q", ".", str(path))
    project = Project(path)
    project.run("dvc", "config", "--local", "cache.dir", str(path.parent / "cache"))
    project.run("dvc", "remote", "add", "--local", "-d", "store", str(shop.root / ".dvc" / "cache"))
    return project


def test_a_fresh_clone_pulls_data_weights_and_verdict(shop: Project, tmp_path: Path) -> None:
    fresh = clone(shop, tmp_path / "project")
    fresh.run("dvc", "pull", "-q")
    assert run_stages(fresh.run("dvc", "repro").stdout) == []
    assert state(fresh) == state(shop)


def test_stages_killed_and_run_again_end_as_if_they_never_were(shop: Project, tmp_path: Path) -> None:
    killed = clone(shop, tmp_path / "project")
    killed.run("dvc", "pull", "-q", "data/catalog.dvc")
    for point in ("ingest.shard:1:kill", "train.step:32:kill", "train.run:1:kill", "train.done:1:kill"):
        done = killed.run("dvc", "repro", code=None, PACKSHOT_FAILPOINT=point)
        assert done.returncode == 255
        # DVC sees the signal itself (-9) or what its shell made of it (137), as the shell execs or forks.
        assert re.search(r"exited with (-9|137)\b", done.stderr), point
    killed.run("dvc", "repro")
    assert state(killed) == state(shop)
