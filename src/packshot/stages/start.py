"""What a run begins with beside its settings: the weights that it starts from, and the judge that measures it while it trains."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.adapters.registry import TRAINING, WEIGHTS, Registry
from packshot.errors import IntegrityError, MissingArtifact, UsageError
from packshot.evaluation.dev import DevJudge
from packshot.evaluation.metrics import METRICS
from packshot.images.shards import load_split
from packshot.layout import Layout
from packshot.models.weights import read_card, training_path
from packshot.records import Dataset, Live, Origin, file_digest, write_bytes
from packshot.training.identity import Identity
from packshot.training.params import Run, WeightsFile
from packshot.training.stopped import Trainings
from packshot.training.stopping import Elsewhere, Judge
from packshot.training.transfer import Start

if TYPE_CHECKING:
    from packshot.params import Params

ORIGIN = "origin.json"


def find_start(run: Run, params: Params, layout: Layout, trainings: Trainings, identity: Identity) -> Start | None:
    """The weights that `init_from` stands for, checked and brought to this machine; None where the run starts from chance.

    A stopped training goes on from those that it began with, whoever became champion since, and asks no server while they are
    here. `identity` is the run's, but for its start. Raises UsageError where there is no champion, no such version or no such
    file, Unavailable where MLflow is needed and does not answer, IntegrityError where bytes are not those that were registered.
    """
    if run.init_from is None:
        return None
    if isinstance(run.init_from, WeightsFile):
        return _keep_file(layout, layout.root / run.init_from.weights, f"{run.name}: init_from")
    number = _champion(layout, run) if run.init_from == "champion" else run.init_from
    if begun := trainings.begun(identity, ("start", "precision")):
        noted = Origin.read(begun / ORIGIN)
        if run.init_from == "champion" or noted.version == number:
            return _kept(layout, noted) or _fetch(params, layout, noted.version or number)
    return _fetch(params, layout, number)


def note_start(folder: Path, start: Start | None) -> None:
    """Note in a training's folder what it began with."""
    if start:
        start.origin.write(folder / ORIGIN)


def tidy_starts(layout: Layout, starts: tuple[Start | None, ...]) -> None:
    """Drop what earlier trainings started from, but `starts`, and those of what is stopped or under way in another experiment."""
    kept = {path for start in starts if start for path in (start.weights, start.training)}
    for note in layout.resume.glob(f"*/{ORIGIN}"):
        with suppress(IntegrityError, MissingArtifact):  # of one that ends in this moment, nothing is to be kept
            standing = _start(layout, Origin.read(note))
            kept |= {standing.weights, standing.training}
    for path in layout.starts.glob("*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _champion(layout: Layout, run: Run) -> int:
    if not layout.live.is_file():
        raise UsageError(
            "there is no champion to start from",
            where=f"{run.name}: init_from",
            advice="promote a version first, or take init_from out",
        )
    return Live.read(layout.live).version


def _fetch(params: Params, layout: Layout, number: int) -> Start:
    registry = Registry(layout, params.release.model)
    with tempfile.TemporaryDirectory(prefix="packshot-") as draft:
        registered = registry.version(number)
        folder = registry.fetch(registered, Path(draft))
        if (found := file_digest(folder / WEIGHTS)) != registered.version.sha256:
            raise IntegrityError(f"its weights are {found[:12]}, not {registered.version.sha256[:12]}", where=f"version {number}")
        _require_readable(folder / WEIGHTS, f"version {number}")
        return _keep(layout, folder / WEIGHTS, folder / TRAINING, number)


def _keep_file(layout: Layout, weights: Path, where: str) -> Start:
    if weights.resolve().is_relative_to(layout.stage("train").resolve()):
        raise UsageError(
            f"a training takes away what stands in {layout.stage('train')} before it begins",
            where=where,
            advice="copy the weights, and what lies beside them, to another folder, or start from a registered version",
        )
    if not weights.is_file():
        raise MissingArtifact("there are no such weights", where=str(weights), advice="name a file that `packshot train` wrote")
    _require_readable(weights, str(weights))
    return _keep(layout, weights, training_path(weights), None)


def _require_readable(weights: Path, where: str) -> None:
    """Raise IntegrityError where a file is not what this packshot reads as weights, in the words of whoever named it."""
    try:
        read_card(weights)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=where, advice=error.advice) from error


def _keep(layout: Layout, weights: Path, training: Path, number: int | None) -> Start:
    """Copy weights, and what only training needs where it is there, to where they stay while a run lasts."""
    there = {path: file_digest(path) for path in (weights, training) if path.is_file()}
    origin = Origin(version=number, sha256=there[weights], training=there.get(training))
    for path, sha256 in there.items():
        copy = layout.starts / f"{sha256}.safetensors"
        if not copy.is_file() or file_digest(copy) != sha256:
            write_bytes(copy, path.read_bytes())
    return _start(layout, origin)


def _kept(layout: Layout, origin: Origin) -> Start | None:
    """What was brought here before; None where it is gone or damaged."""
    start = _start(layout, origin)
    wanted = {start.weights: origin.sha256, start.training: origin.training}
    whole = all(path is None or (path.is_file() and file_digest(path) == sha256) for path, sha256 in wanted.items())
    return start if whole else None


def _start(layout: Layout, origin: Origin) -> Start:
    training = layout.starts / f"{origin.training}.safetensors" if origin.training else None
    return Start(origin, layout.starts / f"{origin.sha256}.safetensors", training)


def find_judge(params: Params, layout: Layout, dataset: Dataset) -> DevJudge | None:
    """What measures every run as train.dev says; None where nothing does. Raises UsageError where the photos are too few."""
    if (dev := params.train.dev) is None:
        return None
    source = layout.stage("prepare")
    return DevJudge.gather(
        dev.metric,
        dataset,
        load_split(source, "train"),
        load_split(source, "val"),
        samples=dev.samples,
        seed=params.seed,
        extractor=params.evaluate.extractor,
        cache=layout.cache,
    )


def judge_elsewhere(params: Params) -> Judge | None:
    """What stands in for the judge in the processes that hear from the first one how good the model is."""
    dev = params.train.dev
    return Elsewhere(dev.metric, METRICS[dev.metric].higher_is_better) if dev else None
