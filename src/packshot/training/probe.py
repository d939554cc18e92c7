"""Which precision pays on this machine for this model: measured on the run's own turns, once, and remembered."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path

import torch

from packshot.errors import PackshotError
from packshot.models import AnyModel
from packshot.models.base import ImageModel
from packshot.models.processes import apart
from packshot.records import ImageSpec, Record
from packshot.training.batches import Photos
from packshot.training.descent import Descent, learning
from packshot.training.hardware import Machine, Precision, has_bfloat16
from packshot.training.params import Run, TrainParams
from packshot.training.state import learning_phases

FEW = 512
"""Photos that the turns are timed on: what is fitted before some of them is fitted to these."""
ROUNDS, SECONDS = 5, 20.0
"""Rounds that are timed, after one that is not; no further one is begun after so many seconds."""
PAYS = 0.9
"""Share of float32's time up to which bfloat16 is worth the digits that it loses."""
logger = logging.getLogger(__name__)


class Measured(Record):
    """What a mean step of a run takes in milliseconds: of the CPU, or of a GPU."""

    float32: float
    bfloat16: float

    @property
    def choice(self) -> Precision:
        return "bfloat16" if self.bfloat16 < PAYS * self.float32 else "float32"


class Question(Record):
    """What the answer depends on."""

    device: str
    torch_version: str
    threads: int
    compiled: bool
    model: AnyModel
    image: ImageSpec
    batch_size: int
    parts: int


def choose_precision(
    model: ImageModel, photos: Photos, run: Run, params: TrainParams, machine: Machine, folder: Path
) -> Precision:
    """Time the turns of `model`, a fresh one that is not used afterwards, in both precisions, or read the answer in `folder`."""
    if machine.device.type == "cuda" and not has_bfloat16(machine.device):
        logger.info("%s: this GPU has no bfloat16: float32", run.name)
        return "float32"
    share = params.batch_size_of(run) // machine.processes
    question = Question(
        device=machine.name,
        torch_version=torch.__version__,
        threads=machine.threads,
        compiled=machine.compiles,
        model=run.model,
        image=model.image,
        batch_size=share,
        parts=params.accumulate,
    )
    answer = folder / f"precision-{question.content_digest()[:16]}.json"
    measured = _remembered(answer)
    if measured is None:
        measured = _measure(model, photos, run, params, machine)
        measured.write(answer)
    logger.info(
        "%s: a step takes %.3g ms in float32 and %.3g ms in bfloat16: %s",
        run.name,
        measured.float32,
        measured.bfloat16,
        measured.choice,
    )
    return measured.choice


def _remembered(answer: Path) -> Measured | None:
    try:
        return Measured.read(answer) if answer.is_file() else None
    except PackshotError:
        return None  # of another version, or cut short: it is measured again


def _measure(model: ImageModel, photos: Photos, run: Run, params: TrainParams, machine: Machine) -> Measured:
    few = photos.first(FEW)
    ways = {
        precision: Descent(few, machine.with_precision(precision), 0, params.flips, params.accumulate)
        for precision in ("float32", "bfloat16")
    }
    totals = {"float32": 0.0, "bfloat16": 0.0}
    model.requires_grad_(requires_grad=False)
    with apart():
        machine.translate(model)
        for fit in model.fits():
            fit.run(lambda: few.every(flips=params.flips))
        model.train()
        for phase in learning_phases(model):
            parameters = [parameter for module in phase.modules for parameter in module.parameters()]
            size = (phase.batch_size or params.batch_size_of(run)) // machine.processes
            began = time.monotonic()
            times: list[dict[str, float]] = []
            while not times or (len(times) <= ROUNDS and time.monotonic() - began < SECONDS):
                row = {}
                for precision, descent in ways.items():
                    here = descent.machine
                    with here.own(), learning(parameters), here.turn(eager=phase.second_order), _Stopwatch(here) as watch:
                        descent.collect(phase, parameters, len(times), size, chances=len(times))
                    row[precision] = watch.milliseconds
                times.append(row)
            for precision in totals:
                usual = statistics.median(row[precision] for row in times[1:] or times)
                totals[precision] += usual * max(0.0, phase.stop - phase.start) / phase.every
    return Measured.model_validate(totals)


class _Stopwatch:
    """Milliseconds of the CPU's time, whoever else is at work there; on a GPU between two events."""

    milliseconds: float

    def __init__(self, machine: Machine) -> None:
        self.cuda = machine.device.type == "cuda"

    def __enter__(self) -> _Stopwatch:
        if self.cuda:
            self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            self.events[0].record()
        self.start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.milliseconds = 1000 * (time.process_time() - self.start)
        if self.cuda:
            self.events[1].record()
            torch.cuda.synchronize()
            self.milliseconds = self.events[0].elapsed_time(self.events[1])
