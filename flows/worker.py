"""`python -m flows.worker`: tells the Prefect server what packshot is (pool, watch, deployments), then runs what it schedules.

It is started in the project's root: deployments run in place, in the folder of their worker. One worker a project.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.settings import get_current_settings
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from packshot.errors import Locked, PackshotError, Unavailable

POOL = "packshot"
RUNS_AT_ONCE = 1
"""One machine, one DVC workspace: runs take turns."""

SECONDS_TO_START = 120
SECONDS_OF_SILENCE = 90
"""A run that has not been heard of for so long is dead: three of its heartbeats (prefect.toml) are missing."""

UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def lock_project(home: Path) -> int:
    """Take the project's one place for a worker; the descriptor holds it, across exec, until the process ends. Raises Locked."""
    home.mkdir(parents=True, exist_ok=True)
    place = home / "worker.lock"
    lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Locked("this project has a worker already", where=str(place), advice="stop that one first") from None
    os.set_inheritable(lock, True)  # noqa: FBT003
    return lock


def wait_for_server(client: SyncPrefectClient, seconds: float = SECONDS_TO_START) -> None:
    """Wait until the server answers. Raises Unavailable where it does not in time."""
    deadline = time.monotonic() + seconds
    while (fault := client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise Unavailable("the Prefect server does not answer", where=str(client.api_url), advice=f"PREFECT_API_URL: {fault}")
        time.sleep(0.5)


def prepare_pool(client: SyncPrefectClient) -> None:
    """The process work pool of the deployments: made once, its limit put right. A pause by hand stays."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template, concurrency_limit=RUNS_AT_ONCE)
        )
    else:
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=RUNS_AT_ONCE))


def bury_dead_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Mark as crashed what a killed worker or a power cut left unfinished: such runs would hold the pool's only slot for ever.

    Whoever calls this holds the project's lock, so that no run of the pool is just being started. A run whose process outlived
    its worker is left to end by itself.
    """
    alive = find_live_runs()
    dead = []
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED)))
    for run in client.read_flow_runs(flow_run_filter=unfinished):
        outermost = run
        if run.parent_task_run_id and (parent := client.read_task_run(run.parent_task_run_id).flow_run_id):
            outermost = client.read_flow_run(parent)
        if outermost.work_pool_name == POOL and str(outermost.id) not in alive:
            client.set_flow_run_state(run.id, Crashed(message="Its process was gone when the worker started."), force=True)
            dead.append(run)
    return dead


def find_live_runs() -> set[str]:
    """The flow runs whose processes live on this machine, by id."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if "prefect.engine" in process.cmdline():
                found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return found


def watch_for_dead_runs() -> AutomationCore:
    """Marks a run as crashed whose process and worker are both gone; while its worker lives, the worker says so at once."""
    return AutomationCore(
        name="packshot: a silent run is dead",
        description=f"No heartbeat and no new state for {SECONDS_OF_SILENCE} s: the run's process and its worker are gone.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            threshold=1,
            within=timedelta(seconds=SECONDS_OF_SILENCE),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="Not heard of any more: its process is gone.")],
    )


def install_watch(client: SyncPrefectClient) -> None:
    """The watch for dead runs: made once, renewed where this version wants another one."""
    wanted = watch_for_dead_runs()
    known = client.read_automations_by_name(wanted.name)
    if known:
        client.update_automation(known[0].id, wanted)
    else:
        client.create_automation(wanted)


def deploy() -> None:
    """Deploy all of prefect.yaml. Raises PackshotError with what Prefect said where it does not take it."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackshotError("Prefect does not take prefect.yaml", advice=" ".join((done.stdout + done.stderr).split())[-500:])


def main() -> None:
    """Prepare the server, then become a worker of the pool."""
    log = get_logger("packshot")
    try:
        lock_project(get_current_settings().home)
        with get_client(sync_client=True) as client:
            wait_for_server(client)
            prepare_pool(client)
            install_watch(client)
            for run in bury_dead_runs(client):
                log.warning("the run %s had died with its worker: it is marked as crashed", run.name)
        deploy()
    except PackshotError as error:
        sys.stderr.write(f"{error.line}\n")
        sys.exit(error.exit_code)
    log.info("prefect.yaml is deployed: %s", get_current_settings().ui_url)
    words = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--install-policy", "never"]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  the worker keeps this process, and its lock


if __name__ == "__main__":
    main()
