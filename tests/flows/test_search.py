"""The flow `search` with real Prefect, MLflow and trainings: pruned, diverged, killed and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

from flows.search import search
from packshot.adapters.search import Study
from packshot.adapters.tracking import Tracking
from packshot.images.sheet import decode_png
from packshot.layout import Layout
from packshot.params import load_params
from packshot.training.search import SearchParams
from tests.flows.conftest import Shop, await_that, running
from tests.models.families import CATEGORIES, IMAGE, toy_split
from tests.stages.datasets import pack_dataset

pytestmark = pytest.mark.servers

GOOD, HOPELESS, WILD = 5e-3, 1e-9, 1e30
STEPS, LOOKS = 24, 3


def ask(seed: int, **changes: object) -> dict[str, object]:
    """A search of learning rates: one that learns, one that learns nothing, one that diverges."""
    settings = {
        "run": "vae",
        "metric": "psnr",
        "trials": 3,
        "looks": LOOKS,
        "unpruned": 1,
        "seed": seed,
        "parameters": {"model.learning_rate": {"values": [GOOD, HOPELESS, WILD]}},
    }
    return {**settings, **changes}


def rates(folder: Path, settings: dict[str, object], count: int) -> list[object]:
    """What a search with these settings tries, where nothing is known of any."""
    made = SearchParams.model_validate_json(json.dumps(settings))
    with Study.open(folder, made, maximise=True) as study:
        return [study.begin()[1]["model.learning_rate"] for _ in range(count)]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The first seed that tries the three in this order."""
    base = tmp_path_factory.mktemp("seeds")
    return next(seed for seed in range(100) if rates(base / str(seed), ask(seed), 3) == [GOOD, HOPELESS, WILD])


@pytest.fixture
def searching(shop: Shop, database: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project with photos to learn from and to be measured by, and none of the gate's."""
    splits = {"train": toy_split(60), "val": toy_split(60)}
    pack_dataset(shop.root / "prepared" / "prepare", splits, IMAGE, CATEGORIES, digest="d" * 64)
    (shop.root / "var" / "mlflow").mkdir(parents=True)
    shutil.copy(database, shop.root / "var" / "mlflow" / "mlflow.db")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return shop


def write_search(shop: Shop, settings: dict[str, object]) -> None:
    path = shop.root / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["train"] |= {"steps": STEPS, "report_every": 4}
    content["train"]["runs"][0]["model"] |= {"polish": None}
    content["search"] = settings
    path.write_text(yaml.safe_dump(content))


def look(shop: Shop, **parameters: object) -> State[None]:
    return search(shop.root, return_state=True, **parameters)


def test_a_search_prunes_survives_a_divergence_and_tells_the_best(searching: Shop, client: SyncPrefectClient, seed: int) -> None:
    write_search(searching, ask(seed))
    before = (searching.root / "params.yaml").read_bytes()
    state = look(searching)
    assert state.is_completed(), state.message
    assert state.name == "Completed"
    assert "by trial 0 of 3: model.learning_rate 0.005" in (state.message or "")

    (folder,) = (searching.root / "var" / "search").iterdir()
    best = (folder / "best.yaml").read_text()
    assert yaml.safe_load(best) == {"model": {"learning_rate": GOOD}}
    assert best.startswith("# dev/psnr ")
    assert decode_png((folder / "history.png").read_bytes()).ndim == 3
    assert (searching.root / "params.yaml").read_bytes() == before, "nothing is applied by itself"
    assert not (searching.root / "data" / "train").exists()
    assert not (searching.root / "var" / "train").exists()

    run = state.state_details.flow_run_id
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    ended = {task.name: task.state_name for task in tasks if task.name.startswith("trial-")}
    assert ended == {"trial-0": "Completed", "trial-1": "Pruned", "trial-2": "TrainingFailed"}
    shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    assert {artifact.key for artifact in shown} >= {"search", "search-history", "train-vae"}

    tracking = Tracking.open(Layout(searching.root))
    runs = {run.info.run_name: run for run in tracking.search(tracking.connect(), "tags.search != ''")}
    (parent,) = (run for name, run in runs.items() if name.startswith("search-vae"))
    trials = {run.data.tags["trial.state"]: run for run in tracking.search(tracking.connect(), "tags.trial != ''")}
    assert {name: run.info.status for name, run in trials.items()} == {
        "completed": "FINISHED",
        "pruned": "KILLED",
        "failed": "FAILED",
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert (parent.info.status, parent.data.metrics["best/psnr"]) == ("FINISHED", trials["completed"].data.metrics["dev/psnr"])


def test_a_killed_search_goes_on_with_what_it_knows_two_trials_at_once(
    searching: Shop, client: SyncPrefectClient, seed: int
) -> None:
    settings = ask(seed, parameters={"model.learning_rate": {"values": [GOOD, 2 * GOOD, 3 * GOOD]}}, trials=2, unpruned=9)
    write_search(searching, settings)
    code = "from flows.search import search; search(return_state=True)"
    command = [sys.executable, "-c", code]
    # In the second look of the second trial.
    environment = {**searching.environment, "OMP_NUM_THREADS": "1", "PACKSHOT_FAILPOINT": f"search.score:{LOOKS + 2}:kill"}
    record = searching.root / "logs" / "killed"
    with running(command, searching.root, environment, record) as process:
        assert process.wait(120) == -signal.SIGKILL, record.read_text()
    await_that(lambda: not trials_of(searching), 15, "the trial's process died with the flow's")
    (folder,) = (searching.root / "var" / "search").iterdir()
    assert not (folder / "best.yaml").exists()

    # How many there are in all, and at once, makes no other search of it.
    write_search(searching, {**settings, "parallel": 2, "trials": 3})
    state = look(searching)
    assert state.is_completed(), state.message
    assert "of 3: model.learning_rate" in (state.message or "")
    run = state.state_details.flow_run_id
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    again, other = sorted((task for task in tasks if task.name.startswith("trial-")), key=lambda task: task.name)
    assert again.start_time
    assert again.end_time
    assert other.start_time
    assert other.end_time
    assert max(again.start_time, other.start_time) < min(again.end_time, other.end_time), "one waited for the other"
    orders = [json.loads((folder / name / "params.json").read_text())["train"]["runs"][0] for name in ("0000", "0001", "0002")]
    assert orders[1] == orders[2], "what was under way is tried again, with the same settings"
    assert (folder / "0003").exists()
    assert not (folder / "0004").exists()
    tracking = Tracking.open(Layout(searching.root))
    (parent,) = tracking.search(tracking.connect(), "attributes.run_name = 'search-vae'")
    assert parent.info.status == "FINISHED", "one parent, gone on with"


def trials_of(shop: Shop) -> list[psutil.Process]:
    """The trials that are under way in the project."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "trial" in words and process.info["cwd"] == os.path.realpath(shop.root):
            found.append(process)
    return found


def test_what_cannot_be_searched_is_said_before_anything_is_trained(searching: Shop) -> None:
    write_search(searching, ask(1, parameters={"model.latnt": {"low": 1, "high": 2}}))
    state = look(searching)
    assert (state.is_failed(), state.name) == (True, "ParamsError")
    assert "search.parameters.model.latnt: the run 'vae' has no such setting to search" in (state.message or "")
    write_search(searching, ask(1, parameters={"model.width": {"low": -3, "high": 8}}))
    assert "model.vae.width" in (look(searching).message or "")
    assert not searching.journal(), "not even the stages before it"


def test_without_a_section_there_is_nothing_to_search(shop: Shop) -> None:
    state = look(shop)
    assert (state.is_failed(), state.name) == (True, "UsageError")
    assert "write a section 'search'" in (state.message or "")
    assert not shop.journal()


def test_a_search_of_a_run_that_is_not_there_is_named(shop: Shop) -> None:
    write_search(shop, ask(1, run="van"))
    with pytest.raises(Exception, match=r"search\.run: no run is called 'van'; there are vae, gan"):
        load_params(shop.root / "params.yaml")


def test_the_trial_is_a_command_that_is_not_shown() -> None:
    told = subprocess.run([sys.executable, "-m", "packshot.cli", "--help"], capture_output=True, text=True, check=True).stdout
    assert " trial " not in told
