"""The flow `release`: training, then register, review, promote and smoke test, undone as a whole when one of them fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.tasks import TASKS, failed, is_passing
from flows.training import training
from packshot.errors import GateRefused, PackshotError, ReviewRefused
from packshot.layout import Layout
from packshot.login import login
from packshot.params import load_params
from packshot.records import Verdict
from packshot.release.stale import verdict_is_stale

if TYPE_CHECKING:
    from packshot.release.transaction import Transaction

AWAITING = "AwaitingReview"
"""The name of the state of a release whose candidate stands and waits for people."""

RETRIES, RETRY_SECONDS = 2, 20


def register(transaction: Transaction) -> str:
    """Bring the gate's candidate into the registry."""
    version = transaction.register()
    return f"{version.model} version {version.version}: {version.checkpoint}, sha256 {version.sha256[:12]}"


def review(transaction: Transaction) -> str:
    """Hold the candidate against the policy of params.yaml and the reviews of people."""
    outcome = transaction.review()
    return f"{outcome.decision} by {outcome.by}: {outcome.reason}"


def promote(transaction: Transaction) -> str:
    """Make the candidate the champion."""
    live = transaction.promote()
    return f"{live.model} version {live.version} is the champion (epoch {live.epoch})"


def smoke(transaction: Transaction) -> str:
    """Draw with what is live now; where a service is named, ask it until it draws with the same."""
    service = os.environ.get("PACKSHOT_SERVICE_URL")
    live = transaction.smoke(service)
    return f"version {live.version} draws" + (f" at {service}" if service else "")


def make_task(act: Callable[[Transaction], str], *, retries: int) -> Task[..., State[None]]:
    """The task of one act. A server that is away is asked again; a refusal is final."""
    name = act.__name__

    @task(
        name=name,
        task_run_name=name,
        description=act.__doc__,
        retries=retries,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=is_passing,
        cache_policy=NO_CACHE,
        persist_result=False,
        result_serializer="json",
    )
    def run(transaction: Transaction) -> State[None]:
        try:
            told = act(transaction)
        except PackshotError as error:
            return failed(error)
        get_run_logger().info(told)
        return Completed(message=told)

    return run


ACTS: Mapping[str, Task[..., State[None]]] = {
    "register": make_task(register, retries=RETRIES),
    "review": make_task(review, retries=RETRIES),
    "promote": make_task(promote, retries=RETRIES),
    "smoke": make_task(smoke, retries=0),  # it waits for the service by itself
}


@task(name="undo", task_run_name="undo", cache_policy=NO_CACHE, persist_result=False, result_serializer="json")
def undo(transaction: Transaction, reason: str) -> State[None]:
    """Put back the champion and the candidate of before."""
    try:
        promoted = transaction.undo(reason)
    except PackshotError as error:
        return failed(error)
    return Completed(message="the champion of before is back" if promoted else "nothing had been promoted")


class Forward(logging.Handler):
    """Hands on to the run's log what packshot itself says, at that moment, in the task of that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it again, in the run."""
        get_run_logger().log(record.levelno, record.getMessage())


@contextmanager
def forwarding() -> Iterator[None]:
    """What packshot says stands in the run's log, too."""
    source, handler = logging.getLogger("packshot"), Forward(logging.INFO)
    level = source.level
    source.addHandler(handler)
    source.setLevel(logging.INFO)
    try:
        yield
    finally:
        source.setLevel(level)
        source.removeHandler(handler)


@flow(name="release", validate_parameters=True, persist_result=False, result_serializer="json")
def release(project: Path = Path(), by: str = "", force: bool = False) -> State[None]:
    """Train what has changed, then register, review, promote and smoke-test the winner.

    Ends Completed where the winner is champion; Completed and named `AwaitingReview` where people must approve first (the
    candidate stands: approve it and run this again); Failed and named `GateRefused` where no checkpoint passes the gate (nothing
    is registered), or by the fault of the step that failed, with its one line: then the champion and the candidate of before are
    back. Killed outright (SIGKILL, a power cut) it undoes nothing: a promotion that was committed stays, by weights that promote
    warmed up before and the service warms up again before it serves them. Run again, it smoke-tests that champion; where that
    fails, `packshot rollback` is a person's to say.

    Args:
        project: The project's folder; the worker's own by default.
        by: Who releases; the worker's login by default. The ledger keeps it, with the name of this run.
        force: Run the stages even where nothing has changed.
    """
    trained = training(project, force=force, return_state=True)
    if not trained.is_completed():
        return Failed(name=trained.name, message=trained.message)
    try:
        layout = Layout.here(project)
        if verdict_is_stale(layout):
            get_run_logger().info("the champion is another than the gate judged beside: judging again")
            for stage in ("evaluate", "gate"):
                state = TASKS[stage](layout.root, force=True, return_state=True)
                if not state.is_completed():
                    return Failed(name=state.name, message=state.message or f"{stage} did not complete")
        verdict = Verdict.read(layout.stage("gate") / "verdict.json")
        if not verdict.passed:
            raise GateRefused(verdict.reason, advice=str(layout.stage("gate") / "report.html"))
        return act_out(layout, f"{by or login()} (flow run {flow_run.get_name()})")
    except PackshotError as error:
        return failed(error)


def act_out(layout: Layout, by: str) -> State[None]:
    """Run the acts as one transaction. Whatever else ends this flow half way, a cancellation for one, undoes them too."""
    from packshot.release.transaction import Transaction  # torch comes with it: not where flows are only deployed

    told = ""
    with forwarding(), Transaction(load_params(layout.params), layout, by=by) as transaction:
        for name, act in ACTS.items():
            state = act(transaction, return_state=True)
            if state.is_completed():
                told = (state.message or "") if name == "promote" else told
                continue
            if state.name == ReviewRefused.__name__ and awaits_people(layout):
                return Completed(name=AWAITING, message=state.message)
            undone = undo(transaction, state.message or name, return_state=True)
            return Failed(name=state.name, message=f"{state.message} ({name}; {undone.message})")
    return Completed(message=told)


def awaits_people(layout: Layout) -> bool:
    """Whether the candidate was not refused, but waits for somebody to approve it."""
    from packshot.release.status import status

    return status(layout).review == "waiting"
