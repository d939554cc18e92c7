"""train: every run of params.yaml, from where it was stopped or anew, and what it leaves to be judged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packshot.adapters.tracking import RunLog, Tracking
from packshot.adapters.versioning import data_version, git_commit
from packshot.failpoints import failpoint
from packshot.images.shards import load_split
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.models.weights import WeightsCard
from packshot.records import Checkpoint, Dataset, Tracked, TrackedRuns, TrainReport, write_bytes
from packshot.stages import clear
from packshot.training.batches import Photos
from packshot.training.checkpoint import Checkpoints, Identity, Recipe, leaves, sole_owner
from packshot.training.energy import EnergyMeter
from packshot.training.hardware import Machine
from packshot.training.log import Log
from packshot.training.loop import build
from packshot.training.loop import train as fit
from packshot.training.params import Run
from packshot.training.pictures import sample_sheet
from packshot.training.plots import closing_sheets
from packshot.training.progress import Both, Progress, curves_csv
from packshot.training.vitals import Vitals

if TYPE_CHECKING:
    from packshot.params import Params

logger = logging.getLogger(__name__)


def train(params: Params, layout: Layout) -> TrainReport:
    """Train every run of `train.runs`, and write what each leaves: weights, curves, a sheet of samples, its numbers.

    A stage that was killed goes on where it stood: finished runs are not trained again, and an unfinished one ends in the bits of
    a straight one. Raises TrainingFailed where a run diverges; the evidence is in the run's folder under var/train/.
    """
    return train_runs(params, layout)


def train_runs(
    params: Params, layout: Layout, *, tags: Mapping[str, str] | None = None, listener: Log | None = None
) -> TrainReport:
    """What `train` does; the MLflow runs have these `tags` too, and a `listener` is told what they are told."""
    folder, source = layout.stage("train"), layout.stage("prepare")
    dataset = Dataset.read(source / "dataset.json")
    split = load_split(source, "train")
    machine = Machine.choose(params.train)
    photos = Photos.resident(split, dataset.conditions, machine.device)
    checkpoints: list[Checkpoint] = []
    tracked: list[Tracked] = []
    metrics: dict[str, dict[str, float]] = {}
    tracking = Tracking.open(layout)
    with sole_owner(layout.resume):
        clear(folder)
        desks = [_desk(run, params, layout, dataset, machine) for run in params.train.runs]
        for run, desk in zip(params.train.runs, desks, strict=True):
            going_on = desk.resumable()
            told = {**_tags(params, layout, dataset), **(tags or {})}
            steps, size = params.train.steps_of(run), params.train.batch_size_of(run)
            with (
                _tracked(tracking, run, desk, told, going_on=going_on) as runlog,
                EnergyMeter.of(machine.device) as energy,
                Progress(run.name, steps, size) as progress,
            ):
                model = build(run, dataset.image, dataset.categories, dataset.conditions, seed=params.seed, device=machine.device)
                listeners = Both(progress, Both(runlog, listener) if listener else runlog)
                vitals = Vitals(listeners, size, machine.device, energy)
                state = fit(model, photos, run, params.train, seed=params.seed, machine=machine, log=vitals, keeper=desk)
                sheets = closing_sheets(run.name, state)
                for name, sheet in sheets.items():
                    vitals.picture(state.step, name, sheet)
                if taken := vitals.close(state.step):
                    logger.info("%s took %s", run.name, taken)
            tracked.append(Tracked(run=run.name, mlflow_run=runlog.mlflow_run, experiment=runlog.experiment))
            checkpoints += desk.publish(state, folder)
            write_bytes(folder / "curves" / f"{run.name}.csv", curves_csv(state.history).encode())
            write_bytes(folder / "sheets" / f"{run.name}.png", encode_png(sample_sheet(state.average)))
            for name, sheet in sheets.items():
                write_bytes(folder / "sheets" / f"{run.name}-{name}.png", encode_png(sheet))
            metrics[run.name] = {name: value for row in state.history for name, value in row.values.items()}
            failpoint("train.run")
        write_bytes(folder / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
        TrackedRuns(runs=tuple(tracked)).write(folder / "tracked.json")
        report = TrainReport(dataset=dataset.digest, checkpoints=tuple(checkpoints))
        report.write(folder / "report.json")
        failpoint("train.done")
        for desk in desks:
            desk.clear()
    return report


def _desk(run: Run, params: Params, layout: Layout, dataset: Dataset, machine: Machine) -> Checkpoints:
    """Where the run's states are kept until the stage is through."""
    recipe = Recipe.of(run, params.train, params.seed)
    identity = Identity.here(recipe, dataset.digest, machine)
    card = WeightsCard(
        config=run.model,
        image=dataset.image,
        categories=dataset.categories,
        conditions=dataset.conditions,
        run=run.name,
        step=0,
        dataset=dataset.digest,
        params=recipe.content_digest(),
        seed=params.seed,
    )
    return Checkpoints(layout.resume / run.name, identity, card)


def _tags(params: Params, layout: Layout, dataset: Dataset) -> dict[str, str]:
    return {
        "dataset": dataset.digest,
        "data_version": data_version(layout),
        "git_commit": git_commit(layout),
        "params": params.content_digest(),
    }


@contextmanager
def _tracked(tracking: Tracking, run: Run, desk: Checkpoints, tags: dict[str, str], *, going_on: bool) -> Iterator[RunLog]:
    """The run in MLflow: the same one where a stopped training goes on."""
    note = desk.folder / "tracked.json"
    before = Tracked.read(note).mlflow_run if going_on and note.is_file() else None
    recipe = desk.identity.recipe.model_dump(mode="json", exclude={"run"})
    parameters = dict(leaves("", {**recipe, **desk.identity.recipe.run.model_dump(mode="json")}))
    parameters |= {"device": desk.identity.device, "threads": desk.identity.threads}
    told = {name: value if isinstance(value, str | int | float) else str(value) for name, value in parameters.items()}
    with tracking.start(run.name, parameters=told, tags=tags, resume=before) as runlog:
        Tracked(run=run.name, mlflow_run=runlog.mlflow_run, experiment=runlog.experiment).write(note)
        yield runlog
