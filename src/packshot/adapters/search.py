"""The one door to Optuna: a study of settings, on disk after every word, so that a killed search goes on with what it knows."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from packshot.errors import Locked
from packshot.training.search import Choice, Parameter, Range, SearchParams, Setting

JOURNAL = "study.log"
REASON = "reason"
"""What a trial that failed by itself has; one without was interrupted."""
State = Literal["completed", "pruned", "failed", "running"]
INKS: Mapping[State, str] = {"completed": "#1f5fa8", "pruned": "#9a9a9a", "failed": "#b3261e"}


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial: what was set, and what came of it."""

    number: int
    settings: Mapping[str, Setting]
    state: State
    value: float | None
    """Of the metric: at the end, or at the last look before it was given up; None where there was none."""
    reason: str = ""
    """Why it failed."""


class Study:
    """The trials of one search. Safe to be told of several at once."""

    def __init__(self, study: Any, search: SearchParams) -> None:
        self._study, self._search = study, search
        self._running: dict[int, Any] = {}
        self._lock = Lock()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, search: SearchParams, *, maximise: bool) -> Iterator[Study]:
        """The study that is kept in `folder`, for this process alone; a new one where there is none.

        Trials that were under way when a process was killed are tried again first, with the settings that they had. Raises Locked
        where another process has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                advice = "wait for it, or end it"
                raise Locked("this search is under way in another process", where=str(folder), advice=advice) from None
            yield cls(_load(folder, search, maximise=maximise), search)

    def begin(self) -> tuple[int, dict[str, Setting]]:
        """The number and settings of the next trial: by TPE (Bergstra et al. 2011), from the seed and what is known so far."""
        import optuna

        with self._lock:
            number = len(self._study.get_trials(deepcopy=False))
            chance = hashlib.sha256(f"{self._search.seed}/{number}".encode()).digest()
            self._study.sampler = optuna.samplers.TPESampler(seed=int.from_bytes(chance[:4], "big"))
            trial = self._study.ask()
            settings = {name: _suggest(trial, name, parameter) for name, parameter in self._search.parameters.items()}
            self._running[trial.number] = trial
            return trial.number, settings

    def report(self, number: int, look: int, value: float) -> bool:
        """Note the metric at a look; whether the trial is to be given up: worse than the median of others at the same look."""
        with self._lock:
            trial = self._running[number]
            trial.report(value, look)
            return bool(trial.should_prune())

    def complete(self, number: int, value: float) -> None:
        """The trial is through."""
        with self._lock:
            self._study.tell(self._running.pop(number), value)

    def prune(self, number: int) -> None:
        """The trial was given up."""
        from optuna.trial import TrialState

        with self._lock:
            self._study.tell(self._running.pop(number), state=TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Nothing came of the trial, which says something of its settings."""
        from optuna.trial import TrialState

        with self._lock:
            trial = self._running.pop(number)
            trial.set_user_attr(REASON, reason)
            self._study.tell(trial, state=TrialState.FAIL)

    def tried(self) -> list[Tried]:
        """All trials that count, in their order: those that were interrupted were begun again."""
        with self._lock:
            found = self._study.get_trials(deepcopy=False)
        return [_tell(one) for one in found if one.params and (one.state.name != "FAIL" or REASON in one.user_attrs)]

    def best(self) -> Tried | None:
        """The best of those that are through."""
        through = [one for one in self.tried() if one.state == "completed" and one.value is not None]
        sign = -1 if self._maximises else 1
        return min(through, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)

    def draw(self) -> NDArray[np.uint8]:
        """What was tried, uint8 (H, W, 3): the metric by trial with the best so far, then by each setting."""
        return _draw(self.tried(), self._search, maximise=self._maximises)

    @property
    def _maximises(self) -> bool:
        return str(self._study.direction.name) == "MAXIMIZE"


def _load(folder: Path, search: SearchParams, *, maximise: bool) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / JOURNAL
    _mend(journal)
    study = optuna.create_study(
        study_name=folder.name,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        direction="maximize" if maximise else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=search.unpruned),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _mend(journal: Path) -> None:
    """Drop a line that a killed process left half written, and its lock."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.is_file() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _suggest(trial: Any, name: str, parameter: Parameter) -> Setting:
    if isinstance(parameter, Choice):
        chosen: Setting = trial.suggest_categorical(name, parameter.values)
        return chosen
    whole = isinstance(parameter.low, int) and isinstance(parameter.high, int)
    suggest = trial.suggest_int if whole else trial.suggest_float
    number: Setting = suggest(name, parameter.low, parameter.high, log=parameter.log)
    return number


def _tell(trial: Any) -> Tried:
    states: Mapping[str, State] = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
    looks = trial.intermediate_values
    value = trial.value if trial.value is not None else looks[max(looks)] if looks else None
    return Tried(
        trial.number, dict(trial.params), states.get(trial.state.name, "running"), value, trial.user_attrs.get(REASON, "")
    )


def _draw(tried: list[Tried], search: SearchParams, *, maximise: bool) -> NDArray[np.uint8]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(search.parameters)
    columns = min(3, len(names))
    rows = 1 + -(-len(names) // columns)
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(max(6.0, 3.2 * columns), 2.8 * rows), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        grid = figure.add_gridspec(rows, columns)
        history = figure.add_subplot(grid[0, :])
        _draw_history(history, tried, search.metric, maximise=maximise)
        for index, name in enumerate(names):
            box = figure.add_subplot(grid[1 + index // columns, index % columns])
            _draw_setting(box, tried, name, search.parameters[name])
        canvas.draw()  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]


def _draw_history(box: Any, tried: list[Tried], metric: str, *, maximise: bool) -> None:
    _scatter(box, [(one.number, one) for one in tried])
    best, steps = None, []
    for one in tried:
        if one.state == "completed" and one.value is not None:
            best = one.value if best is None else (max if maximise else min)(best, one.value)
            steps.append((one.number, best))
    if steps:
        steps.append((max(one.number for one in tried), steps[-1][1]))
        box.step(*zip(*steps, strict=True), where="post", color="#2f7d4f", linewidth=1.2, label="best so far")
    for one in tried:
        if one.value is None:
            box.axvline(one.number, color=INKS["failed"], linewidth=0.8, linestyle=":")
    box.set_title(
        f"dev/{metric}, {'higher' if maximise else 'lower'} is better; dotted: failed before its first look", fontsize=9
    )
    box.set_xlabel("trial", fontsize=8)
    box.xaxis.get_major_locator().set_params(integer=True)
    box.tick_params(labelsize=7)
    if tried:
        box.legend(loc="upper left" if maximise else "lower left", fontsize=7, framealpha=0.8, edgecolor="none")


def _draw_setting(box: Any, tried: list[Tried], name: str, parameter: Parameter) -> None:
    if isinstance(parameter, Range):
        _scatter(box, [(one.settings.get(name), one) for one in tried])
        box.set_xscale("log" if parameter.log else "linear")
    else:
        places = {value: place for place, value in enumerate(parameter.values)}
        _scatter(box, [(places.get(one.settings.get(name)), one) for one in tried])
        box.set_xticks(range(len(places)), [str(value) for value in places])
    box.set_xlabel(name, fontsize=8)
    box.tick_params(labelsize=7)


def _scatter(box: Any, points: list[tuple[Any, Tried]]) -> None:
    for state, ink in INKS.items():
        mine = [(place, one.value) for place, one in points if one.state == state and one.value is not None and place is not None]
        if mine:
            box.scatter(*zip(*mine, strict=True), s=22, color=ink, label=state, zorder=3)
    box.grid(visible=True, color="#e4e4e4", linewidth=0.6)
