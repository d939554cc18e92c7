"""One trial of a search (flows/search.py), in a process of its own: a run with some other settings, which tells its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.errors import IntegrityError
from packshot.layout import Layout, TrialLayout
from packshot.stages.train import train_runs
from packshot.training.search import ORDER, PARAMS, Order

if TYPE_CHECKING:
    from packshot.training.log import Pixels


def trial(layout: Layout, folder: Path, on_score: Callable[[int, int, float], None]) -> None:
    """Train what was ordered in `folder`; each score goes to `on_score` with its step and the steps in all.

    Neither data/train nor var/train is touched; in MLflow it is a run below the search's. Raises what `train` raises.
    """
    from packshot.params import Params

    order = Order.read(folder / ORDER)
    try:
        params = Params.model_validate_json((folder / PARAMS).read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError("the trial was ordered by another version of packshot", where=str(folder)) from error
    run = params.train.runs[0]
    own = TrialLayout(layout.root, folder=folder, states=folder.parent / "states")
    listener = _Scores(f"dev/{order.metric}", params.train.steps_of(run), on_score)
    train_runs(params, own, tags=order.tags, listener=listener)


class _Scores:
    """A Log that hands on one number."""

    def __init__(self, name: str, steps: int, on_score: Callable[[int, int, float], None]) -> None:
        self.name, self.steps, self.on_score = name, steps, on_score

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Hand on the score, where there is one among `values`."""
        if self.name in values:
            self.on_score(step, self.steps, values[self.name])

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Pictures are no scores."""
