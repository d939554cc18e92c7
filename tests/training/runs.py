"""Small trainings, as this process or another one runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from packshot.models.weights import WeightsCard
from packshot.records import Condition
from packshot.training.batches import Photos
from packshot.training.checkpoint import Checkpoints
from packshot.training.hardware import Machine
from packshot.training.identity import Identity, Recipe
from packshot.training.interruption import Interruption
from packshot.training.log import Pixels
from packshot.training.loop import build, train
from packshot.training.params import Run, TrainParams
from packshot.training.state import TrainState
from packshot.training.stopping import Judge
from packshot.training.transfer import Start
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, toy_split

CPU = torch.device("cpu")
SEED = 11


class Heard:
    """A Log that remembers."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int], float] = {}
        self.pictures: dict[tuple[str, int], Pixels] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.values |= {(name, step): value for name, value in values.items()}

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        self.pictures[name, step] = pixels


def params(name: str, steps: int = 40, **changes: object) -> TrainParams:
    settings = {
        "steps": steps,
        "batch_size": 16,
        "threads": 1,
        "device": "cpu",
        "checkpoints": 2,
        "report_every": 7,
        "picture_every": 20,
        "save_every": 9,
        "runs": (Run(name=name, model=SMALL[name]),),
    }
    return TrainParams.model_validate({**settings, **changes})


def photos(count: int = 96, conditions: tuple[Condition, ...] = ()) -> Photos:
    return Photos.resident(toy_split(count, conditions=bool(conditions)), conditions, CPU)


def desk(
    folder: Path,
    settings: TrainParams,
    seed: int = SEED,
    conditions: tuple[Condition, ...] = (),
    start: Start | None = None,
    judge: Judge | None = None,
) -> Checkpoints:
    run = settings.runs[0]
    recipe = Recipe.of(run, settings, seed)
    card = WeightsCard(
        config=run.model,
        image=IMAGE,
        categories=CATEGORIES,
        conditions=conditions,
        run=run.name,
        step=0,
        dataset="d" * 64,
        params=recipe.content_digest(),
        seed=seed,
        start=start.origin if start else None,
    )
    began, judged = start.origin if start else None, judge.digest if judge else ""
    return Checkpoints(folder, Identity.here(recipe, "d" * 64, Machine.choose(settings), start=began, judge=judged), card)


def run_through(
    folder: Path,
    settings: TrainParams,
    log: Heard | None = None,
    seed: int = SEED,
    conditions: tuple[Condition, ...] = (),
    interruption: Interruption | None = None,
    start: Start | None = None,
    judge: Judge | None = None,
) -> TrainState:
    keeper = desk(folder, settings, seed, conditions, start, judge)
    keeper.resumable()
    model = build(settings.runs[0], IMAGE, CATEGORIES, conditions, seed=seed, device=CPU, start=start)
    return train(
        model,
        photos(conditions=conditions),
        settings.runs[0],
        settings,
        seed=seed,
        machine=Machine.choose(settings),
        log=log or Heard(),
        keeper=keeper,
        interruption=interruption,
        judge=judge,
    )


def run_in_a_child(folder: str, name: str, failpoint: str, *, conditioned: bool = False) -> None:
    """What a child process runs: to its end, or to where `failpoint` kills it."""
    os.environ["PACKSHOT_FAILPOINT"] = failpoint
    run_through(Path(folder), params(name), conditions=CONDITIONS if conditioned else ())
