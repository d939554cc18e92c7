"""A training as MLflow is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packshot.adapters.tracking import RunLog, Tracking
from packshot.adapters.versioning import data_version, git_commit
from packshot.layout import Layout
from packshot.records import Dataset, Tracked
from packshot.training.checkpoint import Checkpoints
from packshot.training.identity import leaves
from packshot.training.transfer import Start

if TYPE_CHECKING:
    from packshot.params import Params


def lineage_tags(params: Params, layout: Layout, dataset: Dataset, start: Start | None) -> dict[str, str]:
    """What a training's weights come from: photos, code, settings, and the weights that they started as."""
    return {
        **({"started_from": start.origin.name, "started_from_sha256": start.origin.sha256} if start else {}),
        "dataset": dataset.digest,
        "data_version": data_version(layout),
        "git_commit": git_commit(layout),
        "params": params.content_digest(),
    }


@contextmanager
def track(tracking: Tracking, desk: Checkpoints, tags: dict[str, str], *, going_on: bool) -> Iterator[RunLog]:
    """The run in MLflow: the same one where a stopped training goes on."""
    note = desk.folder / "tracked.json"
    before = Tracked.read(note).mlflow_run if going_on and note.is_file() else None
    recipe = desk.identity.recipe
    machine = desk.identity.model_dump(mode="json", include={"device", "threads", "processes", "precision"})
    run_alone = recipe.run.model_dump(mode="json", exclude={"batch_size"})
    parameters = dict(leaves("", {**recipe.settings, "seed": recipe.seed, **run_alone, **machine}))
    told = {name: value if isinstance(value, str | int | float) else str(value) for name, value in parameters.items()}
    with tracking.start(desk.card.run, parameters=told, tags=tags, resume=before) as runlog:
        Tracked(run=desk.card.run, mlflow_run=runlog.mlflow_run, experiment=runlog.experiment).write(note)
        yield runlog
