"""One Prefect task a stage, named by its one word: beside people, the only caller of `dvc repro`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from prefect import Task, task
from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.progress import Progress
from flows.summaries import describe, find_pictures, link_runs, picture_address
from packshot.adapters.versioning import repro
from packshot.errors import DataRejected, Locked, PackshotError, Unavailable
from packshot.layout import Layout
from packshot.stages import STAGES

PASSING = frozenset({Unavailable.__name__, Locked.__name__})
"""What another try may cure: a server that was away, a lock that somebody held. Bad data and weak models stay what they are."""

RETRIES, RETRY_SECONDS = 2, 60
WAIT_SECONDS = 12 * 3600.0
"""How long a stage waits while somebody else's DVC holds the project: a training by hand may take its night."""


class SaidAlready(logging.Filter):
    """Drops the engine's traceback of a run that ended in a state of ours: its one line stands in the log and in the state."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for what was said already."""
        return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


SAID_ALREADY = SaidAlready()


def failed(error: PackshotError) -> State[None]:
    """A fault as Prefect shows it: a failed state named by its kind, with its one line."""
    get_run_logger().error(error.line)
    logging.getLogger("prefect.flow_runs").addFilter(SAID_ALREADY)
    return Failed(name=type(error).__name__, message=error.line)


def is_passing(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Whether a failed try is worth another one."""
    return state.name in PASSING


def make_task(stage: str) -> Task[..., State[None]]:
    """The task that runs one stage in a process of its own, whose group dies with the task."""

    @task(
        name=stage,
        task_run_name=stage,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=is_passing,
        cache_policy=NO_CACHE,
        persist_result=False,
        result_serializer="json",
    )
    def run(root: Path, force: bool = False) -> State[None]:
        layout = Layout(root)
        log = get_run_logger()
        progress = Progress() if stage == "train" else None
        ran = False

        def on_line(line: str) -> None:
            nonlocal ran
            log.info(line)
            ran = ran or line.startswith("Running stage")
            if progress is not None:
                progress.follow(line)

        try:
            repro(layout, [stage], on_line=on_line, single_item=True, force=force, wait_seconds=WAIT_SECONDS)
        except PackshotError as error:
            if isinstance(error, DataRejected):
                publish(stage, layout)
            return failed(error)
        publish(stage, layout)
        return Completed() if ran else Completed(name="Cached", message="Nothing that it depends on has changed.")

    return run


TASKS: Mapping[str, Task[..., State[None]]] = {stage: make_task(stage) for stage in STAGES}


def publish(stage: str, layout: Layout) -> None:
    """Show what the stage left behind as artifacts of the task run. A page that cannot be made is a warning, not a failure."""
    try:
        create_markdown_artifact(describe(stage, layout), key=stage, description=f"The record of {stage}")
        for picture in find_pictures(stage, layout):
            create_image_artifact(picture_address(picture), key=f"{stage}-picture", description=picture.name)
        if stage == "train":
            for run, page in link_runs(layout):
                create_link_artifact(page, link_text=run, key="train-runs", description=f"The run {run} in MLflow")
    except (PackshotError, OSError) as error:
        get_run_logger().warning("no artifact of %s: %s", stage, error)
