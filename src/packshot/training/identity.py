"""What makes two trainings the same: only then does a stopped one end in the bits of a straight one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch

import packshot
from packshot.records import Digest, Origin, Record, file_digest
from packshot.training.hardware import Machine
from packshot.training.params import Run, TrainParams

ELSEWHERE = {"runs", "device", "threads", "processes", "precision", "compile"}
"""Fields of `train` that an identity has in another place: the run as it is, and the machine as it was found."""
IDLE = {"stall_minutes"}
"""Fields of `train` that no weight depends on; every other one counts, also one that is yet to be thought of.

`save_every` and `picture_every` count: where a training in trouble goes back to is what was saved, and a picture may show one.
"""


class Recipe(Record):
    """Every setting that a run's result depends on, apart from the photos and the machine."""

    run: Run
    settings: dict[str, str]
    """The leaves of `train` in params.yaml by dotted name, as this run has them."""
    seed: int

    @classmethod
    def of(cls, run: Run, params: TrainParams, seed: int) -> Recipe:
        settings = params.model_dump(mode="json", exclude=ELSEWHERE | IDLE)
        settings |= {"steps": params.steps_of(run), "batch_size": params.batch_size_of(run)}
        return cls(run=run, settings={name: str(value) for name, value in sorted(leaves("", settings))}, seed=seed)


class Identity(Record):
    """What must be equal for a stopped training to go on."""

    recipe: Recipe
    dataset: Digest
    code: str
    torch_version: str
    device: str
    threads: int
    processes: int
    precision: str
    compiled: bool
    start: Origin | None
    """The weights that it started from."""
    judge: str
    """The digest of what measures it while it trains; empty where nothing does."""

    @classmethod
    def here(cls, recipe: Recipe, dataset: str, machine: Machine, *, start: Origin | None = None, judge: str = "") -> Identity:
        return cls(
            recipe=recipe,
            dataset=dataset,
            start=start,
            judge=judge,
            code=_code_digest(),
            torch_version=torch.__version__,
            device=machine.name,
            threads=machine.threads,
            processes=machine.processes,
            precision=machine.precision,
            compiled=machine.compiles,
        )

    def told(self) -> dict[str, str]:
        """Every part by the name that a person knows it by: train.batch_size, run.model.latent, dataset, threads ..."""
        run = self.recipe.run.model_dump(mode="json")
        rest = self.model_dump(mode="json", exclude={"recipe"})
        parts = {"train": self.recipe.settings, "run": run, "seed": self.recipe.seed, **rest}
        return {name: str(value) for name, value in leaves("", parts)}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """One text for each part of two identities (as told) that is not the same, as 'run.model.latent: 64, then 32'."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return tuple(f"{name}: {before.get(name, 'nothing')}, then {after.get(name, 'nothing')}" for name in names)


def leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The leaves of nested JSON objects by dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}" if name else key, inner)
    else:
        yield name, value


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Of the sources that a training runs through."""
    root = Path(packshot.__file__).parent
    sources = [*sorted(root.glob("models/**/*.py")), *sorted(root.glob("training/**/*.py")), root / "images" / "pixels.py"]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(root)} {file_digest(path)}\n".encode())
    return digest.hexdigest()[:16]
