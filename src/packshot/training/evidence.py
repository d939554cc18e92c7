"""What a training in trouble leaves to a person: what happened in one record, its curves, and what it drew last."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path

import torch

from packshot.images.sheet import encode_png
from packshot.records import Record, write_bytes
from packshot.training.pictures import sample_sheet
from packshot.training.plots import draw_curves
from packshot.training.progress import curves_csv
from packshot.training.state import Setback, TrainState
from packshot.training.watch import ADVICE, Trouble, all_finite

RECORD, CURVES, PLOT, SAMPLES = "failure.json", "failure.csv", "failure-curves.png", "failure-samples.png"


class Failure(Record):
    """Why a training ended, or went back: what a person needs to find the photos or the setting to blame."""

    run: str
    step: int
    since: int
    """The step at which it began to brew."""
    reason: str
    detail: str
    phase: str
    """Empty where it is no single phase's."""
    advice: str
    values: dict[str, str]
    """As text: what failed is rarely a number."""
    rows: tuple[int, ...]
    """The photos at hand, by their row in prepare's train-index.parquet; none where the trouble is of many steps."""
    setbacks: tuple[Setback, ...]
    """What had been tried before: it went back that often, each time at lower rates."""


def bury(folder: Path, run: str, state: TrainState, trouble: Trouble) -> None:
    """Write the evidence of `trouble` into `folder`, in place of what an earlier one left there."""
    failure = Failure(
        run=run,
        step=state.step,
        since=state.step if trouble.since is None else trouble.since,
        reason=trouble.reason,
        detail=trouble.detail,
        phase=trouble.phase,
        advice=ADVICE[trouble.reason],
        values={name: str(value) for name, value in trouble.values.items()},
        rows=tuple(trouble.rows),
        setbacks=tuple(state.setbacks),
    )
    for name in (PLOT, SAMPLES):
        (folder / name).unlink(missing_ok=True)
    if state.sums:
        state.report()  # what has not been told yet: the steps that matter most
    failure.write(folder / RECORD)
    write_bytes(folder / CURVES, curves_csv(state.history).encode())
    if state.history:
        write_bytes(folder / PLOT, encode_png(draw_curves(run, state.history, state.setbacks)))
    # Of weights that are no numbers, or that overflow on the way, there is no picture.
    if all_finite(state.average.state_dict().values()):
        with suppress(ValueError), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            write_bytes(folder / SAMPLES, encode_png(sample_sheet(copy.deepcopy(state.average).eval())))
