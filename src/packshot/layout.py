"""Where everything lives. Nothing else in packshot spells a path of the project."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from packshot.errors import UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one project. Making a Layout makes no directory."""

    root: Path

    @classmethod
    def here(cls, start: Path | None = None) -> Layout:
        """The project that holds `start` (the working directory): the nearest folder upwards with a params.yaml."""
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "params.yaml").is_file():
                return cls(folder)
        raise UsageError(
            "there is no params.yaml here or in any folder above",
            where=str(start),
            advice="run packshot inside a project",
        )

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def catalog(self) -> Path:
        """The shop's own photos, under DVC as data/catalog.dvc."""
        return self.data / "catalog"

    def stage(self, name: str) -> Path:
        """The one folder that the stage `name` writes."""
        return self.data / name

    @property
    def var(self) -> Path:
        """What this machine keeps beside the project: databases, logs, resume states, caches. Never versioned.

        PACKSHOT_VAR moves it. A copy of the project that DVC makes for an experiment shares the project's own.
        """
        if moved := os.environ.get("PACKSHOT_VAR"):
            return Path(moved)
        parts = self.root.parts
        for at in range(len(parts) - 2):
            if parts[at : at + 3] == (".dvc", "tmp", "exps"):
                return Path(*parts[:at]) / "var"
        return self.root / "var"

    @property
    def mlflow_database(self) -> Path:
        return self.var / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.var / "mlflow" / "artifacts"

    @property
    def ledger(self) -> Path:
        """Who was champion, when, by whose hand: SQLite."""
        return self.var / "ledger.db"

    @property
    def bento_home(self) -> Path:
        """BentoML's store: BENTOML_HOME, or a folder of the project's own."""
        return Path(os.environ.get("BENTOML_HOME") or self.var / "bentoml")

    @property
    def live(self) -> Path:
        """The record that says what the running service must serve (records.Live)."""
        return self.var / "live.json"

    @property
    def resume(self) -> Path:
        """States of trainings that are not finished."""
        return self.var / "train"

    @property
    def profiles(self) -> Path:
        """What the catalogues of champions were like, each named by its digest (sources.drift.Profile)."""
        return self.var / "profiles"

    @property
    def learnt(self) -> Path:
        """Which photos champions have learnt from: ids and groups of training splits, each named by the dataset's digest."""
        return self.var / "learnt"

    @property
    def hearings(self) -> Path:
        """Every evaluation that the gate has judged, with its verdict (stages/hearings.py)."""
        return self.var / "hearings"

    @property
    def step_profiles(self) -> Path:
        """Where the time of training steps goes, by run (`packshot train --profile`)."""
        return self.var / "profile"

    @property
    def searches(self) -> Path:
        """Studies of settings, each with its trials (flows/search.py)."""
        return self.var / "search"

    @property
    def starts(self) -> Path:
        """Weights that trainings start from, each named by its digest; what is gone is fetched from the registry again."""
        return self.var / "cache" / "starts"

    @property
    def diffs(self) -> Path:
        """Sheets and pages of what changed between two versions of the catalogue."""
        return self.var / "diff"

    @property
    def cache(self) -> Path:
        """What can be computed again: trained feature extractors, statistics of the real side."""
        return self.var / "cache"


@dataclass(frozen=True, slots=True)
class TrialLayout(Layout):
    """A project as one trial of a search sees it: what it trains stays in `folder`, what it was stopped at in `states`."""

    folder: Path
    states: Path

    def stage(self, name: str) -> Path:
        """The folder of a stage: the project's own, but for train."""
        return self.folder / "train" if name == "train" else Layout.stage(self, name)

    @property
    def resume(self) -> Path:
        """Of all trials of the search: one that is begun again with the same settings goes on where it stood."""
        return self.states

    @property
    def starts(self) -> Path:
        """Of the search's own: the project's runs tidy theirs."""
        return self.states.parent / "starts"
