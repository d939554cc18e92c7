"""The worker and its deployments on a real server: schedules fire, and whatever is killed does not look alive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelling

from flows.release import ACTS, release
from flows.tasks import TASKS
from flows.training import training
from flows.worker import POOL, lock_project
from tests.conftest import ROOT
from tests.flows.conftest import Server, Shop, await_that, lives, running

pytestmark = pytest.mark.servers

WORKER = [sys.executable, "-m", "flows.worker"]


@dataclass(frozen=True)
class Staff:
    shop: Shop
    worker: subprocess.Popen[bytes]


@contextmanager
def working(shop: Shop) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in the shop, ready; it and the runs that it started are gone at the end."""
    record = shop.root / "logs" / "worker"
    record.unlink(missing_ok=True)
    with running(WORKER, shop.root, shop.environment, record) as process:
        await_that(lambda: "started!" in record.read_text() or process.poll() is not None, 600, "the worker starts")
        assert process.poll() is None, record.read_text()
        try:
            yield process
        finally:
            for child in engines():
                child.kill()


def engines() -> list[psutil.Process]:
    """The processes of flow runs that this test session started."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = str(os.getpid()) == process.environ().get("PACKSHOT_TESTS")
            if ours and "prefect.engine" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def start(client: SyncPrefectClient, **parameters: object) -> FlowRun:
    deployment = client.read_deployment_by_name("training/nightly")
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


def state_of(client: SyncPrefectClient, run: FlowRun) -> StateType | None:
    state = client.read_flow_run(run.id).state
    return state.type if state else None


def stage_process(shop: Shop, stage: str) -> int:
    """The process of that stage, once it runs."""
    await_that(lambda: [line[:2] for line in shop.journal()[-1:]] == [("begin", stage)], 90, f"{stage} runs")
    return shop.journal()[-1][2]


@pytest.fixture(scope="module")
def staff(server: Server, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staff]:
    """A project with a worker, and one more deployment: the nightly one's twin, whose cron fires every three seconds."""
    shop = Shop(tmp_path_factory.mktemp("staffed") / "shop", server.environment)
    shutil.copytree(template, shop.root)
    content = yaml.safe_load((shop.root / "prefect.yaml").read_text())
    nightly = next(one for one in content["deployments"] if one["name"] == "nightly")
    soon = {**nightly["schedules"][0], "cron": "* * * * * */3", "slug": "soon"}  # the sixth field counts seconds
    content["deployments"].append({**nightly, "name": "soon", "schedules": [soon], "parameters": {"until": "ingest"}})
    (shop.root / "prefect.yaml").write_text(yaml.safe_dump(content))
    with working(shop) as worker:
        yield Staff(shop, worker)


@pytest.fixture
def staffed(staff: Staff) -> Shop:
    """The project with a worker."""
    return staff.shop


def test_a_cron_fires_and_the_worker_runs_it_to_the_end(staffed: Shop, client: SyncPrefectClient) -> None:
    deployment = client.read_deployment_by_name("training/soon")
    completed = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])),
    )
    await_that(lambda: client.read_flow_runs(flow_run_filter=completed), 90, "a scheduled run completes")
    client.delete_deployment(deployment.id)
    assert [getattr(one.schedule, "cron", None) for one in deployment.schedules] == ["* * * * * */3"]
    (run, *_) = client.read_flow_runs(flow_run_filter=completed)
    assert run.auto_scheduled
    assert run.work_pool_name == POOL
    assert (staffed.root / "data" / "ingest" / "catalog.json").is_file(), "it ran in the worker's folder"
    log = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    await_that(lambda: any("tage 'ingest'" in line.message for line in client.read_logs(log)), 30, "the log arrives")


def test_every_night_at_two_and_what_it_stands_on(staffed: Shop, client: SyncPrefectClient) -> None:
    nightly = client.read_deployment_by_name("training/nightly")
    scheduled = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[nightly.id]))
    await_that(lambda: client.read_flow_runs(flow_run_filter=scheduled), 60, "the coming nights are scheduled")
    starts = sorted(run.expected_start_time for run in client.read_flow_runs(flow_run_filter=scheduled) if run.auto_scheduled)
    assert timedelta() < starts[0] - datetime.now(UTC) <= timedelta(days=1)
    assert {(one.astimezone(UTC).hour, one.astimezone(UTC).minute) for one in starts} == {(2, 0)}
    manual = client.read_deployment_by_name("release/manual")
    assert not manual.schedules
    assert client.read_work_pool(POOL).concurrency_limit == 1
    assert len(client.read_automations_by_name("packshot: a silent run is dead")) == 1


def test_a_killed_run_crashes_at_once_and_the_next_one_converges(staffed: Shop, client: SyncPrefectClient) -> None:
    staffed.mood("validate.slow", "600")
    run = start(client, until="prepare")
    stage = stage_process(staffed, "validate")
    (engine,) = engines()
    engine.kill()
    await_that(lambda: state_of(client, run) is StateType.CRASHED, 60, "the run is marked as crashed")
    await_that(lambda: not lives(stage), 10, "no stage runs on unseen")

    staffed.mood("validate.slow", None)
    second = start(client, until="prepare")
    await_that(lambda: state_of(client, second) is StateType.COMPLETED, 90, "the next run converges")
    straight = staffed.root.with_name("straight")
    shutil.copytree(staffed.root, straight, ignore=shutil.ignore_patterns("data", "dvc.lock", "cache", "tmp", "journal"))
    (straight / "data").mkdir()
    subprocess.run(["dvc", "repro", "-q", "prepare"], cwd=straight, env=staffed.environment, check=True)
    assert staffed.outputs() == Shop(straight, staffed.environment).outputs()


def test_a_cancelled_run_takes_its_stage_with_it(staffed: Shop, client: SyncPrefectClient) -> None:
    staffed.mood("train.slow", "600")
    run = start(client)
    stage = stage_process(staffed, "train")
    client.set_flow_run_state(run.id, Cancelling())
    await_that(lambda: state_of(client, run) is StateType.CANCELLED, 60, "the run is cancelled")
    await_that(lambda: not lives(stage), 15, "the stage is gone")


def test_there_is_one_worker_a_project(tmp_path: Path) -> None:
    lock = lock_project(tmp_path / "home")
    command = [sys.executable, "-m", "flows.worker"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home")}
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 23
    assert "packshot: E23 this project has a worker already" in second.stderr
    os.close(lock)
    os.close(lock_project(tmp_path / "home"))


def test_another_site_cannot_start_runs(server: Server) -> None:
    request = urllib.request.Request(f"{server.api}/flows/", data=b'{"name": "evil"}', method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("Origin", "http://evil.example")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    preflight = urllib.request.Request(f"{server.api}/flows/", method="OPTIONS")
    for name, value in {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}.items():
        preflight.add_header(name, value)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(preflight, timeout=10)
    assert refused.value.headers.get("Access-Control-Allow-Origin") is None


def test_nothing_of_a_run_is_pickled(server: Server) -> None:
    settings = tomllib.loads((ROOT / "prefect.toml").read_text())
    assert settings["results"] == {"default_serializer": "json", "persist_by_default": False}
    assert {one.result_serializer for one in (training, release, *TASKS.values(), *ACTS.values())} == {"json"}
    assert not [path for path in (server.home / "storage").rglob("*") if path.is_file()], "nothing of a result is kept at all"


def test_what_died_with_its_worker_is_buried_by_the_next_one(staff: Staff, client: SyncPrefectClient) -> None:
    (staff.shop.root / "journal").unlink()
    run = start(client)  # train is still slow
    stage = stage_process(staff.shop, "train")
    staff.worker.kill()
    for engine in engines():
        engine.kill()
    await_that(lambda: not lives(stage), 10, "no stage runs on unseen")
    assert state_of(client, run) is StateType.RUNNING
    with working(staff.shop):
        assert state_of(client, run) is StateType.CRASHED
