"""train: every run of params.yaml, from where it was stopped or anew, and what it leaves to be judged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.adapters.tracking import Tracking
from packshot.failpoints import failpoint
from packshot.images.shards import require_unchanged
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.records import Checkpoint, Started, Tracked, TrackedRuns, TrainReport, write_bytes
from packshot.stages import clear
from packshot.stages.begin import Given, look_back, open_photos, settle_precision, tell_identities, try_out, with_chosen
from packshot.stages.start import find_judge, find_start, judge_elsewhere, note_start, tidy_starts
from packshot.stages.track import lineage_tags, track
from packshot.training.batches import Photos
from packshot.training.checkpoint import Checkpoints
from packshot.training.energy import EnergyMeter
from packshot.training.hardware import Machine
from packshot.training.interruption import Interruption, heed_signals
from packshot.training.launch import Place, join
from packshot.training.log import Log, Pixels, Silence
from packshot.training.loop import build
from packshot.training.loop import train as fit
from packshot.training.memory import tell_memory
from packshot.training.pictures import sample_sheet
from packshot.training.plots import closing_sheets
from packshot.training.progress import Both, Progress, curves_csv
from packshot.training.ranks import PATIENCE as WAIT_FOR_RANKS
from packshot.training.ranks import SharedKeeper, from_first, require_equal
from packshot.training.state import TrainState
from packshot.training.stopped import PATIENCE as WAIT_FOR_TRAININGS
from packshot.training.stopped import Trainings, own_in_turn, sole_owner
from packshot.training.vitals import Vitals

if TYPE_CHECKING:
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
    dataset, photos, machine = open_photos(params, layout, place)
    require_equal("params, code or data", tell_identities(params, dataset, machine), machine.device)
    with heed_signals() as interruption:
        for run in params.train.runs:
            chosen = with_chosen(from_first(b"", machine.device), machine)
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


def _train_and_keep(
    params: Params, layout: Layout, tags: Mapping[str, str], listener: Log | None, *, resume: bool
) -> TrainReport:
    """What the first process does, which is the only one as a rule."""
    folder, source = layout.stage("train"), layout.stage("prepare")
    dataset, photos, machine = open_photos(params, layout, Place())
    require_equal("params, code or data", tell_identities(params, dataset, machine), machine.device)
    trainings, tracking = Trainings(layout.resume), Tracking.open(layout)
    with ExitStack() as held:
        # Who trains here, from where, on what, and whether there is room for it all.
        interruption = held.enter_context(heed_signals())
        held.enter_context(sole_owner(folder))
        judge = find_judge(params, layout, dataset)
        begun = [Given(run, params, dataset, judge) for run in params.train.runs]
        starts = [find_start(given.run, params, layout, trainings, given.identity(machine)) for given in begun]
        begun = [replace(given, start=start) for given, start in zip(begun, starts, strict=True)]
        machines = [settle_precision(given, layout, photos, machine, trainings) for given in begun]
        desks = [given.desk(trainings, machine) for given, machine in zip(begun, machines, strict=True)]
        # Another experiment may be at one of the runs: the processes that wait with this one do so for as long as for any step.
        patience = WAIT_FOR_TRAININGS if machine.processes == 1 else WAIT_FOR_RANKS / 2
        own_in_turn(held, [desk.folder for desk in desks], interruption.check, patience)
        look_back(trainings, desks, resume=resume)
        try_out(begun, layout, machine, photos, desks)
        for given, desk in zip(begun, desks, strict=True):
            note_start(desk.folder, given.start)
        clear(folder)

        # Every run in its turn.
        left: list[_Left] = []
        for given, desk, machine in zip(begun, desks, machines, strict=True):
            interruption.check()
            going_on = desk.resumable()
            trainings.begin(desk.identity)
            told = {**lineage_tags(params, layout, dataset, given.start), **tags}
            with track(tracking, desk, told, going_on=going_on) as runlog:
                heard = Both(runlog, listener) if listener else runlog
                state, sheets = _train_one(given, desk, machine, photos, heard, interruption)
            tracked = Tracked(run=given.run.name, mlflow_run=runlog.mlflow_run, experiment=runlog.experiment)
            left.append(_publish(folder, desk, state, sheets, tracked))
            failpoint("train.run")

        # What they leave together; the report last, by which the stage is done.
        metrics = {one.tracked.run: one.metrics for one in left}
        write_bytes(folder / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
        TrackedRuns(runs=tuple(one.tracked for one in left)).write(folder / "tracked.json")
        require_unchanged(source, dataset, "train")
        checkpoints = tuple(checkpoint for one in left for checkpoint in one.checkpoints)
        started = tuple(Started(run=given.run.name, origin=given.start.origin) for given in begun if given.start)
        report = TrainReport(dataset=dataset.digest, checkpoints=checkpoints, started=started)
        report.write(folder / "report.json")
        failpoint("train.done")
        for desk in desks:
            desk.clear()
        tidy_starts(layout, tuple(starts))
    return report


def _train_one(
    given: Given, desk: Checkpoints, machine: Machine, photos: Photos, heard: Log, interruption: Interruption
) -> tuple[TrainState, dict[str, Pixels]]:
    """Train one run to its end, and draw what is shown of it then."""
    run, train = given.run, given.params.train
    size = train.batch_size_of(run)
    from_first(machine.precision.encode(), machine.device)
    with (
        EnergyMeter.of(machine.device) as energy,
        Progress(run.name, train.steps_of(run), size) as progress,
        interruption.watching(desk.folder, train.stall_minutes),
        tell_memory(run.name),
    ):
        model = given.build(machine.device)
        vitals = Vitals(Both(progress, heard), size, machine.device, energy)
        state = fit(
            model,
            photos,
            run,
            train,
            seed=given.params.seed,
            machine=machine,
            log=vitals,
            keeper=desk if machine.processes == 1 else SharedKeeper(desk, machine.device),
            interruption=interruption,
            judge=given.judge,
        )
        sheets = closing_sheets(run.name, state)
        for name, sheet in sheets.items():
            vitals.picture(state.step, name, sheet)
        if taken := vitals.close(state.step):
            logger.info("%s took %s", run.name, taken)
    return state, sheets


@dataclass(frozen=True, slots=True)
class _Left:
    """What one run left in data/train."""

    tracked: Tracked
    checkpoints: tuple[Checkpoint, ...]
    metrics: dict[str, float]
    """The last value of each loss and signal."""


def _publish(folder: Path, desk: Checkpoints, state: TrainState, sheets: Mapping[str, Pixels], tracked: Tracked) -> _Left:
    """Copy the run's weights, its curves and its sheets into the stage's folder."""
    name = desk.card.run
    checkpoints = desk.publish(state, folder)
    write_bytes(folder / "curves" / f"{name}.csv", curves_csv(state.history).encode())
    write_bytes(folder / "sheets" / f"{name}.png", encode_png(sample_sheet(state.average)))
    for which, sheet in sheets.items():
        write_bytes(folder / "sheets" / f"{name}.{which}.png", encode_png(sheet))  # no run's name has a point in it
    return _Left(tracked, tuple(checkpoints), {loss: value for row in state.history for loss, value in row.values.items()})
