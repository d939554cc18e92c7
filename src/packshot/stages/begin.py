"""How the runs of a training begin: with which photos, on what machine, from where, and whether a stopped one goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from packshot.errors import UsageError
from packshot.evaluation.dev import DevJudge
from packshot.images.shards import load_split
from packshot.layout import Layout
from packshot.models.base import ImageModel
from packshot.models.weights import WeightsCard
from packshot.records import Dataset, require_room
from packshot.training.batches import Photos
from packshot.training.checkpoint import Checkpoints
from packshot.training.descent import Descent
from packshot.training.hardware import Machine
from packshot.training.identity import Identity, Recipe
from packshot.training.launch import Place
from packshot.training.loop import build
from packshot.training.params import Run
from packshot.training.probe import choose_precision
from packshot.training.state import learning_phases
from packshot.training.stopped import Trainings
from packshot.training.transfer import Start

if TYPE_CHECKING:
    from packshot.params import Params

logger = logging.getLogger(__name__)


def open_photos(params: Params, layout: Layout, place: Place) -> tuple[Dataset, Photos, Machine]:
    """What every process of a training needs."""
    source = layout.stage("prepare")
    dataset = Dataset.read(source / "dataset.json")
    _require_learnable(params, dataset)
    machine = Machine.choose(params.train, place.local)
    photos = Photos.open(load_split(source, "train"), dataset.conditions, machine.device, processes=machine.processes)
    return dataset, photos, machine


def tell_identities(params: Params, dataset: Dataset, machine: Machine) -> str:
    """What the processes of one training must agree on."""
    identities = [Identity.here(Recipe.of(run, params.train, params.seed), dataset.digest, machine) for run in params.train.runs]
    return "".join(identity.model_dump_json() for identity in identities)


def with_chosen(precision: bytes, machine: Machine) -> Machine:
    """The machine with the precision that the first process has told."""
    return machine.with_precision("bfloat16" if precision == b"bfloat16" else "float32")


@dataclass(frozen=True, slots=True)
class Given:
    """What decides how a run begins, and with that whether a stopped one is the same."""

    run: Run
    params: Params
    dataset: Dataset
    judge: DevJudge | None
    start: Start | None = None

    def identity(self, machine: Machine) -> Identity:
        """What must be equal for a stopped training to go on."""
        recipe = Recipe.of(self.run, self.params.train, self.params.seed)
        origin, judge = self.start.origin if self.start else None, self.judge.digest if self.judge else ""
        return Identity.here(recipe, self.dataset.digest, machine, start=origin, judge=judge)

    def build(self, device: torch.device) -> ImageModel:
        """The model that the run begins with."""
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


def settle_precision(given: Given, layout: Layout, photos: Photos, machine: Machine, trainings: Trainings) -> Machine:
    """The machine with the precision that `auto` stands for: a stopped training's own, or what is measured to be quicker."""
    if machine.precision != "auto":
        return machine
    for candidate in (with_chosen(name, machine) for name in (b"float32", b"bfloat16")):
        if given.desk(trainings, candidate).resumable():
            return candidate
    model = given.build(machine.device)
    return machine.with_precision(choose_precision(model, photos, given.run, given.params.train, machine, layout.cache))


def look_back(trainings: Trainings, desks: Sequence[Checkpoints], *, resume: bool) -> None:
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


def try_out(begun: Sequence[Given], layout: Layout, machine: Machine, photos: Photos, desks: Sequence[Checkpoints]) -> None:
    """Build every run's model once, before anything is changed: what is wrong with the last run is told now, not after a night.

    Raises UsageError where a model cannot begin as its run says, be measured or share out its batches; OutOfResources where the
    disk has no room for all that the runs will keep.
    """
    size = 0
    for given, desk in zip(begun, desks, strict=True):
        train = given.params.train
        with _in_silence():
            model = given.build(torch.device("cpu"))
        if given.judge:
            given.judge.require_measurable(model)
        descent = Descent(photos, machine, given.params.seed, train.flips, train.accumulate)
        for phase in learning_phases(model):
            descent.require_enough(phase, phase.batch_size or train.batch_size_of(given.run))
        size += desk.room(model, train.checkpoints + (2 if train.dev else 0))  # the best ones, and one before
    require_room(layout.resume, size)


@contextmanager
def _in_silence() -> Iterator[None]:
    """Within it, only warnings are told: what is built for a try is built again, and told of then."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        logging.disable(before)


def _require_learnable(params: Params, dataset: Dataset) -> None:
    """Raise UsageError, before anything is trained, where a run's model is not for such photos."""
    for number, run in enumerate(params.train.runs):
        if reason := run.model.refuse(dataset.image, len(dataset.categories)):
            raise UsageError(f"the model of run '{run.name}' cannot learn this: {reason}", where=f"train.runs.{number}.model")
