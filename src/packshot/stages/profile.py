"""`packshot train --profile`: where the time of the runs' steps goes. It touches no stage's folder, no state and no MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.errors import UsageError
from packshot.images.shards import load_split
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.records import Dataset, write_bytes
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.loop import build
from packshot.training.params import Run, TrainParams
from packshot.training.probe import choose_precision
from packshot.training.profile import Profile, draw_profile, profile_run, tell_profile

if TYPE_CHECKING:
    from packshot.params import Params


@dataclass(frozen=True, slots=True)
class Profiled:
    """A run's profile, as text and in files."""

    profile: Profile
    text: str
    page: Path
    trace: Path
    picture: Path


def profile(params: Params, layout: Layout, run: str = "") -> list[Profiled]:
    """Profile the run named `run`, or every one, as `training.profile` does, and write what it says below var/profile/.

    Raises UsageError where there is no such run.
    """
    source = layout.stage("prepare")
    runs = choose_runs(params.train, run)
    dataset = Dataset.read(source / "dataset.json")
    machine = Machine.choose(params.train)
    photos = Photos.open(load_split(source, "train"), dataset.conditions, machine.device)
    done = []
    for one in runs:
        model = build(one, dataset.image, dataset.categories, dataset.conditions, seed=params.seed, device=machine.device)
        chosen = machine
        if machine.precision == "auto":
            chosen = machine.with_precision(choose_precision(model, photos, one, params.train, machine, layout.cache))
        place = layout.step_profiles / one.name
        found = profile_run(model, photos, one, params.train, seed=params.seed, machine=chosen, trace=place.with_suffix(".json"))
        text = tell_profile(found)
        write_bytes(place.with_suffix(".md"), text.encode())
        write_bytes(place.with_suffix(".png"), encode_png(draw_profile(found)))
        done.append(Profiled(found, text, *(place.with_suffix(suffix) for suffix in (".md", ".json", ".png"))))
    return done


def choose_runs(params: TrainParams, name: str) -> tuple[Run, ...]:
    """The run of that name, or all of them where it is empty. Raises UsageError where there is no such run."""
    found = tuple(run for run in params.runs if name in {"", run.name})
    if not found:
        known = ", ".join(run.name for run in params.runs)
        raise UsageError(f"no run is called '{name}'", where="train.runs", advice=f"there are {known}")
    return found
