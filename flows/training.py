"""The flow `training`: the six stages in their order, each a task of its own name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.tasks import TASKS, failed
from packshot.errors import PackshotError
from packshot.layout import Layout
from packshot.records import Verdict
from packshot.stages import STAGES

Stage = Literal["ingest", "validate", "prepare", "train", "evaluate", "gate"]

REFUSED = "Refused"
"""The name of the state of a training that ran through, and whose models do not pass the gate."""


@flow(name="training", validate_parameters=True, persist_result=False, result_serializer="json")
def training(
    project: Path = Path(),
    until: Stage = "gate",
    force: bool = False,
    stage_minutes: Annotated[float, Field(gt=0)] | None = None,
) -> State[None]:
    """Run the six stages, or those until one of them; DVC skips what has not changed.

    Ends Completed where the gate passes a checkpoint, Completed and named `Refused` where it passes none, Failed and named by the
    fault (DataRejected, TrainingFailed ...) with the stage's own one line where a stage fails.

    Args:
        project: The project's folder; the worker's own by default.
        until: The last stage to run.
        force: Run the stages even where nothing has changed.
        stage_minutes: The longest that one stage may take; as long as it takes by default.
    """
    try:
        layout = Layout.here(project)
    except PackshotError as error:
        return failed(error)
    seconds = None if stage_minutes is None else 60 * stage_minutes
    for stage in STAGES[: STAGES.index(until) + 1]:
        state = TASKS[stage].with_options(timeout_seconds=seconds)(layout.root, force=force, return_state=True)
        if not state.is_completed():
            return Failed(name=state.name, message=state.message or f"{stage} did not complete")
    return conclude(layout, until)


def conclude(layout: Layout, until: Stage) -> State[None]:
    """The state in which a training ends that went through."""
    if until != "gate":
        return Completed(message=f"Ran until {until}.")
    try:
        verdict = Verdict.read(layout.stage("gate") / "verdict.json")
    except PackshotError as error:
        return failed(error)
    get_run_logger().info("the gate: %s", verdict.reason)
    return Completed(message=verdict.reason) if verdict.passed else Completed(name=REFUSED, message=verdict.reason)
