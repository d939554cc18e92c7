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


def _apart(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs have one name: {', '.join(twice)}")
    return runs


class TrainParams(Record):
    """`train:` in params.yaml."""

    steps: int = Field(ge=1, le=100_000_000)
    """Of a run of length 1: the one number that shortens or lengthens every run."""
    batch_size: int = Field(64, ge=2, le=65_536)
    flips: bool = True
    """Whether a photo is shown mirrored half of the time."""
    threads: int = Field(2, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoints: int = Field(1, ge=1, le=1000)
    """How many of each run are kept, evenly spread over the part in which its samples mean something; the last step's always."""
    report_every: int = Field(50, ge=1)
    picture_every: int = Field(500, ge=1)
    save_every: int = Field(500, ge=1)
    """Steps that a killed run loses at most."""
    runs: Annotated[tuple[Run, ...], Field(min_length=1), AfterValidator(_apart)]

    def steps_of(self, run: Run) -> int:
        return max(1, round(self.steps * run.length))
