"""train: every run of params.yaml, from where it was stopped or anew, and what it leaves to be judged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packshot.adapters.tracking import RunLog, Tracking
from packshot.adapters.versioning import data_version, git_commit
from packshot.errors import UsageError
from packshot.evaluation.dev import DevJudge
from packshot.failpoints import failpoint
from packshot.images.shards import load_split, require_unchanged
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.models.base import ImageModel
from packshot.models.weights import WeightsCard
from packshot.records import Checkpoint, Dataset, Started, Tracked, TrackedRuns, TrainReport, require_room, write_bytes
from packshot.stages import clear
from packshot.stages.start import find_judge, find_start, judge_elsewhere, note_start, tidy_starts
from packshot.training.batches import Photos
from packshot.training.checkpoint import Checkpoints
from packshot.training.energy import EnergyMeter
from packshot.training.hardware import Machine
from packshot.training.identity import Identity, Recipe, leaves
from packshot.training.interruption import heed_signals
from packshot.training.launch import Place, join
from packshot.training.log import Log, Silence
from packshot.training.loop import build
from packshot.training.loop import train as fit
from packshot.training.memory import tell_memory
from packshot.training.params import Run
from packshot.training.pictures import sample_sheet
from packshot.training.plots import closing_sheets
from packshot.training.probe import choose_precision
from packshot.training.progress import Both, Progress, curves_csv
from packshot.training.ranks import SharedKeeper, from_first, require_equal
from packshot.training.stopped import Trainings, sole_owner
from packshot.training.transfer import Start
from packshot.training.vitals import Vitals

if TYPE_CHECKING:
    import torch

    from packshot.params import Params

logger = logging.getLogger(__name__)


def train(params: Params, layout: Layout, *, resume: bool = False) -> TrainReport:
    """Train every run of `train.runs`, and write what each leaves: weights, curves, a sheet of samples, its numbers.

    A stage that was killed goes on where it stood: finished runs are not trained again, and an unfinished one ends in the bits of
    a straight one. What differs from a stopped training in anything begins beside it, and says in what; with `resume` it is
    refused. Raises TrainingFailed where a run diverges, with the evidence in the run's folder under var/train/; OutOfResources
    where the disk has no room for all of it; Stopped where a signal asks for an end.
    """
    return train_runs(params, layout, resume=resume)


def train_runs(
    params: Params, layout: Layout, *, tags: Mapping[str, str] | None = None, listener: Log | None = None, resume: bool = False
) -> TrainReport:
    """What `train` does; the MLflow runs have these `tags` too, and a `listener` is told what they are told."""
    with join(params.train, layout.root) as place:
        if place.rank:
            return _train_along(params, layout, place)
        return _train_and_keep(params, layout, tags or {}, listener, resume=resume)


def _train_along(params: Params, layout: Layout, place: Place) -> TrainReport:
    """Train what the first process trains, on this one's part of every batch; keep nothing and tell nobody."""
    dataset, photos, machine = _open(params, layout, place)
    require_equal("params, code or data", _told(params, dataset, machine), machine.device)
    with heed_signals() as interruption:
        for run in params.train.runs:
            chosen = _chosen(from_first(b"", machine.device), machine)
            with tell_memory(run.name):
                model = build(run, dataset.image, dataset.categories, dataset.conditions, seed=params.seed, device=machine.device)
                fit(
                    model,
                    photos,
                    run,
                    params.train,
                    seed=params.seed,
                    machine=chosen,
                    log=Silence(),
                    keeper=SharedKeeper(None, machine.device),
                    judge=judge_elsewhere(params),
                    interruption=interruption,
                )
    return TrainReport(dataset=dataset.digest, checkpoints=())


def _open(params: Params, layout: Layout, place: Place) -> tuple[Dataset, Photos, Machine]:
    """What every process of a training needs."""
    source = layout.stage("prepare")
    dataset = Dataset.read(source / "dataset.json")
    _require_learnable(params, dataset)
    machine = Machine.choose(params.train, place.local)
    photos = Photos.open(load_split(source, "train"), dataset.conditions, machine.device, processes=machine.processes)
    return dataset, photos, machine


def _told(params: Params, dataset: Dataset, machine: Machine) -> str:
    """What the processes of one training must agree on."""
    identities = [Identity.here(Recipe.of(run, params.train, params.seed), dataset.digest, machine) for run in params.train.runs]
    return "".join(identity.model_dump_json() for identity in identities)


def _chosen(precision: bytes, machine: Machine) -> Machine:
    return machine.with_precision("bfloat16" if precision == b"bfloat16" else "float32")


@dataclass(frozen=True, slots=True)
class _Given:
    """What decides how a run begins, and with that whether a stopped one is the same."""

    run: Run
    params: Params
    dataset: Dataset
    judge: DevJudge | None
    start: Start | None = None

    def identity(self, machine: Machine) -> Identity:
        recipe = Recipe.of(self.run, self.params.train, self.params.seed)
        origin, judge = self.start.origin if self.start else None, self.judge.digest if self.judge else ""
        return Identity.here(recipe, self.dataset.digest, machine, start=origin, judge=judge)

    def build(self, device: torch.device) -> ImageModel:
        image, categories, conditions = self.dataset.image, self.dataset.categories, self.dataset.conditions
        return build(self.run, image, categories, conditions, seed=self.params.seed, device=device, start=self.start)

    def desk(self, trainings: Trainings, machine: Machine) -> Checkpoints:
        """Where the run's states are kept until the stage is through."""
        identity = self.identity(machine)
        card = WeightsCard(
            config=self.run.model,
            image=self.dataset.image,
            categories=self.dataset.categories,
            conditions=self.dataset.conditions,
            run=self.run.name,
            step=0,
            dataset=self.dataset.digest,
            params=identity.recipe.content_digest(),
            seed=self.params.seed,
            start=identity.start,
        )
        return Checkpoints(trainings.folder(identity), identity, card)


def _settle(given: _Given, layout: Layout, photos: Photos, machine: Machine, trainings: Trainings) -> Machine:
    """The machine with the precision that `auto` stands for: a stopped training's own, or what is measured to be quicker."""
    if machine.precision != "auto":
        return machine
    for candidate in (_chosen(name, machine) for name in (b"float32", b"bfloat16")):
        if given.desk(trainings, candidate).resumable():
            return candidate
    model = given.build(machine.device)
    return machine.with_precision(choose_precision(model, photos, given.run, given.params.train, machine, layout.cache))


def _train_and_keep(
    params: Params, layout: Layout, tags: Mapping[str, str], listener: Log | None, *, resume: bool
) -> TrainReport:
    """What the first process does, which is the only one as a rule."""
    folder, source = layout.stage("train"), layout.stage("prepare")
    dataset, photos, machine = _open(params, layout, Place())
    require_equal("params, code or data", _told(params, dataset, machine), machine.device)
    checkpoints: list[Checkpoint] = []
    tracked: list[Tracked] = []
    metrics: dict[str, dict[str, float]] = {}
    tracking = Tracking.open(layout)
    trainings = Trainings(layout.resume)
    with ExitStack() as held:
        interruption = held.enter_context(heed_signals())
        held.enter_context(sole_owner(folder))
        judge = find_judge(params, layout, dataset)
        begun = [_Given(run, params, dataset, judge) for run in params.train.runs]
        begun = [
            replace(given, start=find_start(given.run, params, layout, trainings, given.identity(machine))) for given in begun
        ]
        machines = [_settle(given, layout, photos, machine, trainings) for given in begun]
        desks = [given.desk(trainings, machine) for given, machine in zip(begun, machines, strict=True)]
        for desk in desks:
            held.enter_context(sole_owner(desk.folder))
        _look_back(trainings, desks, resume=resume)
        _require_room(params, layout, dataset, desks)
        clear(folder)
        for given, desk, machine in zip(begun, desks, machines, strict=True):
            run = given.run
            from_first(machine.precision.encode(), machine.device)
            keeper = desk if machine.processes == 1 else SharedKeeper(desk, machine.device)
            interruption.check()
            going_on = desk.resumable()
            trainings.begin(desk.identity)
            note_start(desk.folder, given.start)
            told = {**_tags(params, layout, dataset, given.start), **tags}
            steps, size = params.train.steps_of(run), params.train.batch_size_of(run)
            with (
                _tracked(tracking, run, desk, told, going_on=going_on) as runlog,
                EnergyMeter.of(machine.device) as energy,
                Progress(run.name, steps, size) as progress,
                interruption.watching(desk.folder, params.train.stall_minutes),
                tell_memory(run.name),
            ):
                model = given.build(machine.device)
                if judge:
                    judge.require_measurable(model)
                listeners = Both(progress, Both(runlog, listener) if listener else runlog)
                vitals = Vitals(listeners, size, machine.device, energy)
                state = fit(
                    model,
                    photos,
                    run,
                    params.train,
                    seed=params.seed,
                    machine=machine,
                    log=vitals,
                    keeper=keeper,
                    interruption=interruption,
                    judge=judge,
                )
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
        require_unchanged(source, dataset, "train")
        started = tuple(Started(run=given.run.name, origin=given.start.origin) for given in begun if given.start)
        report = TrainReport(dataset=dataset.digest, checkpoints=tuple(checkpoints), started=started)
        report.write(folder / "report.json")
        failpoint("train.done")
        for desk in desks:
            desk.clear()
        tidy_starts(layout, tuple(given.start for given in begun))
    return report


def _require_learnable(params: Params, dataset: Dataset) -> None:
    """Raise UsageError, before anything is trained, where a run's model is not for such photos."""
    for number, run in enumerate(params.train.runs):
        if reason := run.model.refuse(dataset.image, len(dataset.categories)):
            raise UsageError(f"the model of run '{run.name}' cannot learn this: {reason}", where=f"train.runs.{number}.model")


def _look_back(trainings: Trainings, desks: Sequence[Checkpoints], *, resume: bool) -> None:
    """Say where a run does not go on from its last training, and in what it differs; drop what is too old.

    Raises UsageError where `resume` asks for what was stopped, and a run would begin anew.
    """
    trainings.drop_old([desk.card.run for desk in desks])
    found = {desk.card.run: desk.resumable() for desk in desks}
    changed = {name: trainings.compare(desk.identity) for desk in desks if not found[name := desk.card.run]}
    told = [f"{name}: {difference}" for name, several in changed.items() for difference in several]
    if resume and (told or not any(found.values())):
        raise UsageError(
            "there is no training to go on from exactly" + (f"; since then there changed: {'; '.join(told)}" if told else ""),
            where="packshot train --resume",
            advice="change that back to go on, or train without --resume: what was stopped is kept",
        )
    for line in told:
        logger.warning("begins beside its last training, which is kept; there changed: %s", line)


def _require_room(params: Params, layout: Layout, dataset: Dataset, desks: Sequence[Checkpoints]) -> None:
    """Raise OutOfResources where the disk has no room for all that the runs will keep: now, and not after a night."""
    size = 0
    for run, desk in zip(params.train.runs, desks, strict=True):
        model = run.model.build(dataset.image, dataset.categories, dataset.conditions)
        size += desk.room(model, params.train.checkpoints + (2 if params.train.dev else 0))  # the best ones, and one before
    require_room(layout.resume, size)


def _tags(params: Params, layout: Layout, dataset: Dataset, start: Start | None) -> dict[str, str]:
    return {
        **({"started_from": start.origin.name, "started_from_sha256": start.origin.sha256} if start else {}),
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
    recipe = desk.identity.recipe
    machine = desk.identity.model_dump(mode="json", include={"device", "threads", "processes", "precision"})
    run_alone = recipe.run.model_dump(mode="json", exclude={"batch_size"})
    parameters = dict(leaves("", {**recipe.settings, "seed": recipe.seed, **run_alone, **machine}))
    told = {name: value if isinstance(value, str | int | float) else str(value) for name, value in parameters.items()}
    with tracking.start(run.name, parameters=told, tags=tags, resume=before) as runlog:
        Tracked(run=run.name, mlflow_run=runlog.mlflow_run, experiment=runlog.experiment).write(note)
        yield runlog
