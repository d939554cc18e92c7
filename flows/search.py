"""The flow `search`: a bounded number of trials of a run's settings, each a process of its own, all below one MLflow run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.progress import Progress
from flows.summaries import describe_search, picture_address
from flows.tasks import failed
from flows.training import training
from packshot.adapters.processes import fault_of, stream
from packshot.adapters.search import Study, Tried
from packshot.adapters.tracking import PENDING, RunLog, Tracking
from packshot.errors import OutOfResources, PackshotError, TrainingFailed, UsageError
from packshot.evaluation.metrics import METRICS
from packshot.failpoints import failpoint
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.params import Params, describe_best, load_params, set_trial
from packshot.records import Dataset, write_bytes
from packshot.training.search import ORDER, PARAMS, Order, SearchParams, Setting

SCORE = re.compile(r"score (\d+)/(\d+) (\S+)")
"""A trial's line: the step, all steps, the metric."""

PRUNED = "Pruned"
"""The name of the state of a trial that was given up."""

UNFINISHED = "Unfinished"
"""The name of the state of a search, or of a trial, that goes on when the search is run again."""

FAILED_ALONE = (TrainingFailed, OutOfResources)
"""What says something of one trial's settings; anything else would end every trial alike, and ends the search."""


class Hopeless(Exception):
    """A trial is worse than the median of the others at the same look."""


class Over(Exception):
    """The search is over; the trial goes on where it stands when the search does."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search under way: what every trial needs."""

    layout: Layout
    params: Params
    settings: SearchParams
    folder: Path
    study: Study
    tracking: Tracking
    runlog: RunLog
    deadline: float
    """By time.monotonic."""
    ended: Event = field(default_factory=Event)

    @property
    def over(self) -> bool:
        """Whether what is under way is to be ended."""
        return self.ended.is_set() or time.monotonic() > self.deadline

    @property
    def metric(self) -> str:
        """As the curves have it."""
        return f"dev/{self.settings.metric}"

    def order(self, number: int) -> Order:
        """What trial `number` is told."""
        known = not self.runlog.mlflow_run.startswith(PENDING)
        parent = self.runlog.mlflow_run if known else ""
        return Order(study=self.folder.name, number=number, metric=self.settings.metric, parent=parent)

    def conclude(self, number: int, state: str) -> None:
        """Note in MLflow what became of a trial, and how good the best one is by now."""
        self.tracking.mark("trial", self.order(number).tags["trial"], {"trial.state": state})
        best = self.study.best()
        if state == "completed" and best is not None and best.value is not None:
            value = next(one.value for one in self.study.tried() if one.number == number)
            self.runlog.metrics(number, {self.metric: value or 0.0, f"best/{self.settings.metric}": best.value})


@task(name="trial", task_run_name="trial-{number}", cache_policy=NO_CACHE, persist_result=False, result_serializer="json")
def trial(search: Search, number: int, settings: dict[str, Setting]) -> State[None]:
    """Train with these settings until that is through or given up; whatever ends the flow ends it too."""
    log = get_run_logger()
    log.info("trial %d: %s", number, tell(settings))
    folder = search.folder / f"{number:04d}"
    ordered = set_trial(search.params, settings)
    write_bytes(folder / PARAMS, ordered.model_dump_json(indent=2, by_alias=True).encode())
    search.order(number).write(folder / ORDER)
    progress, scores = Progress(), list[float]()

    def on_line(line: str) -> None:
        if search.over:
            raise Over
        if not (found := SCORE.fullmatch(line)):
            log.info(line)
            progress.follow(line)
            return
        step, steps, value = int(found[1]), int(found[2]), float(found[3])
        scores.append(value)
        log.info("trial %d: %s %.5g after step %d of %d", number, search.metric, value, step, steps)
        failpoint("search.score")
        if search.study.report(number, round(100 * step / steps), value) and step < steps:
            raise Hopeless

    words = [sys.executable, "-m", "packshot.cli", "trial", str(folder)]
    try:
        code, lines = stream(words, search.layout.root, on_line, {**os.environ, "PYTHONUNBUFFERED": "1"})
    except Hopeless:
        search.study.prune(number)
        search.conclude(number, "pruned")
        return Completed(name=PRUNED, message=f"{search.metric} {scores[-1]:.5g}: worse than the median at that look")
    except Over:
        return Completed(name=UNFINISHED, message="it goes on when the search does")
    if code == 0 and scores:
        search.study.complete(number, scores[-1])
        search.conclude(number, "completed")
        return Completed(message=f"{search.metric} {scores[-1]:.5g}")
    if code == 0:
        return failed(PackshotError("a trial told no score", where=str(folder), advice="raise search.share or search.looks"))
    error = fault_of(code, lines, where=str(folder), advice="its lines say why")
    if not isinstance(error, FAILED_ALONE):
        return failed(error)
    search.study.fail(number, error.what)
    search.conclude(number, "failed")
    return failed(error)


@flow(name="search", validate_parameters=True, persist_result=False, result_serializer="json")
def search(
    project: Path = Path(),
    trials: Annotated[int, Field(ge=1)] | None = None,
    minutes: Annotated[float, Field(gt=0)] | None = None,
) -> State[None]:
    """Search settings of a run, as the section `search` of params.yaml says: trials of it, those without hope given up early.

    What is found is told, and written to var/search/<study>/best.yaml; params.yaml stays as it is. A search that was ended, or
    has run its minutes, goes on where it stood when it is run again with the same settings and data.

    Args:
        project: The project's folder; the worker's own by default.
        trials: In place of search.trials: of the whole search, those of before included.
        minutes: In place of search.minutes: no trial begins after them, and those under way are ended, to be gone on with.
    """
    try:
        layout = Layout.here(project)
        params = load_params(layout.params)
        if params.search is None:
            raise UsageError("nothing is to be searched", where=str(layout.params), advice="write a section 'search'")
        changes = {name: value for name, value in (("trials", trials), ("minutes", minutes)) if value is not None}
        settings = params.search.model_copy(update=changes)
        require_settable(params, settings)
        prepared = training(layout.root, until="prepare", return_state=True)
        if not prepared.is_completed():
            return Failed(name=prepared.name, message=prepared.message)
        return look_for(layout, params, settings)
    except PackshotError as error:
        return failed(error)


def require_settable(params: Params, settings: SearchParams) -> None:
    """Raise ParamsError, before anything is trained, where the run cannot have a value that might be tried."""
    for name, parameter in settings.parameters.items():
        for value in parameter.extremes:
            set_trial(params, {name: value})


def look_for(layout: Layout, params: Params, settings: SearchParams) -> State[None]:
    """Run the trials, and tell what was found."""
    folder = layout.searches / name_study(layout, params, settings)
    tracking = Tracking.open(layout)
    told: dict[str, str | int | float] = {"run": settings.run, "metric": settings.metric, "share": settings.share}
    told |= {f"search.{name}": parameter.model_dump_json() for name, parameter in settings.parameters.items()}
    with (
        Study.open(folder, settings, maximise=METRICS[settings.metric].higher_is_better) as study,
        tracking.start(f"search-{settings.run}", parameters=told, tags={"search": folder.name}) as runlog,
    ):
        deadline = time.monotonic() + 60 * settings.minutes
        search = Search(layout, params, settings, folder, study, tracking, runlog, deadline)
        fault = run_trials(search)
        report(search)
        best, tried = study.best(), study.tried()
        done = sum(one.state != "running" for one in tried)
        if fault is not None:
            return Failed(name=fault.name, message=fault.message)
        if best is None:
            return Failed(name="NothingFound", message=f"none of {done} trials is through")
        message = f"{search.metric} {best.value:.5g} by trial {best.number} of {done}: {tell(best.settings)}"
        return Completed(message=message, name="Completed" if done >= settings.trials else UNFINISHED)


def run_trials(search: Search) -> State[Any] | None:
    """Run trials, `parallel` at once, until there are as many as asked for or the time is over; the fault that ended it."""
    under_way: list[PrefectFuture[State[None]]] = []
    try:
        while True:
            while len(under_way) < search.settings.parallel and may_begin(search):
                number, settings = search.study.begin()
                if search.settings.parallel > 1:
                    under_way.append(trial.submit(search, number, settings))
                elif is_fault(state := trial(search, number, settings, return_state=True)):
                    return state
            if not under_way:
                return None
            done = next(as_completed(under_way))
            under_way.remove(done)
            done.wait()  # it is over; only now does its future know how it ended
            if is_fault(done.state):
                return done.state
    finally:
        search.ended.set()
        for one in under_way:
            one.wait()


def may_begin(search: Search) -> bool:
    """Whether there is time for another trial, and one is asked for."""
    return len(search.study.tried()) < search.settings.trials and not search.over


def is_fault(state: State[Any]) -> bool:
    """Whether a trial ended in a way in which every other one would."""
    return not state.is_completed() and state.name not in {kind.__name__ for kind in FAILED_ALONE}


def report(search: Search) -> None:
    """Write what was found, and show it in Prefect and MLflow. A page that cannot be made is a warning."""
    log, tried, best = get_run_logger(), search.study.tried(), search.study.best()
    picture = search.study.draw()
    write_bytes(search.folder / "history.png", encode_png(picture))
    search.runlog.picture(len(tried), "history", picture)
    if best is not None:
        text = best_yaml(search, best)
        write_bytes(search.folder / "best.yaml", text.encode())
        for line in text.splitlines():
            log.info(line)
    try:
        create_markdown_artifact(describe_search(search.metric, tried, best), key="search", description=search.folder.name)
        create_image_artifact(picture_address(search.folder / "history.png"), key="search-history", description="What was tried")
    except (PackshotError, OSError) as error:
        log.warning("no artifact of the search: %s", error)


def best_yaml(search: Search, best: Tried) -> str:
    """The best settings as lines for the run in params.yaml, with what they are worth."""
    share = f", at {search.settings.share:.0%} of its steps" if search.settings.share < 1 else ""
    head = f"# {search.metric} {best.value:.5g}: trial {best.number} of {search.folder.name}{share}."
    return f"{head}\n# For the run '{search.settings.run}' of params.yaml:\n{describe_best(best.settings)}"


def name_study(layout: Layout, params: Params, settings: SearchParams) -> str:
    """The same for searches that go on from each other: of the same data and settings, but for how many and how long."""
    dataset = Dataset.read(layout.stage("prepare") / "dataset.json")
    told = {
        "search": settings.model_dump(mode="json", exclude={"trials", "minutes", "parallel"}),
        "train": set_trial(params, {}).train.model_dump(mode="json"),
        "evaluate": params.evaluate.model_dump(mode="json"),
        "seed": params.seed,
        "dataset": dataset.digest,
    }
    return f"{settings.run}-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]}"


def tell(settings: Mapping[str, Setting]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items())
