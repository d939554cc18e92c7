"""The section `train` of params.yaml: read by every command, so without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from packshot.models import AnyModel
from packshot.records import Name, Record


class Run(Record):
    """One model to train."""

    name: Name
    model: AnyModel
    length: float = Field(1.0, gt=0, le=1000)
    """Times train.steps."""
    batch_size: int | None = Field(None, ge=2, le=65_536)
    """In place of train.batch_size."""


def _apart(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs have one name: {', '.join(twice)}")
    return runs


class WatchParams(Record):
    """`train.watch`: when a training is stopped for its own good, and what is tried then."""

    every: int = Field(250, ge=1)
    """Steps between two looks at what the model draws."""
    retries: int = Field(2, ge=0, le=10)
    """How often a training in trouble goes back to a good state, before it is given up."""
    slow_down: float = Field(0.5, gt=0, lt=1)
    """Times every learning rate, each time."""


class TrainParams(Record):
    """`train:` in params.yaml."""

    steps: int = Field(ge=1, le=100_000_000)
    """Of a run of length 1: the one number that shortens or lengthens every run."""
    batch_size: int = Field(64, ge=2, le=65_536)
    flips: bool = True
    """Whether a photo is shown mirrored half of the time."""
    threads: int = Field(2, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the networks' products; weights, averages and losses are float32 always. `auto` times the run's own turns in both."""
    compile: bool = False
    """Whether torch.compile translates the networks, on a GPU into CUDA graphs: minutes before the first step."""
    processes: int = Field(1, ge=1, le=1024)
    """That train one model together, each with its part of every batch; on GPUs one each."""
    accumulate: int = Field(1, ge=1, le=65_536)
    """Parts of a batch that are taken one after the other, where one is too large for the memory."""
    checkpoints: int = Field(1, ge=1, le=1000)
    """How many of each run are kept, evenly spread over the part in which its samples mean something; the last step's always."""
    report_every: int = Field(50, ge=1)
    picture_every: int = Field(500, ge=1)
    save_every: int = Field(500, ge=1)
    """Steps that a killed run loses at most."""
    watch: WatchParams = WatchParams()
    runs: Annotated[tuple[Run, ...], Field(min_length=1), AfterValidator(_apart)]

    def steps_of(self, run: Run) -> int:
        return max(1, round(self.steps * run.length))

    def batch_size_of(self, run: Run) -> int:
        return run.batch_size or self.batch_size
