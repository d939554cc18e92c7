"""The door to MLflow's tracking: a training is a run there, and no server's absence can stop or slow a training.

Without MLFLOW_TRACKING_URI the runs go to a SQLite database under the project's var/. With a server that does not answer (noticed
within five seconds) a run's parameters, metrics and pictures are spooled to var/spool/ and sent when the server is back: later in
the same run, or by whichever training or evaluation comes next.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import math
import os
import platform
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from packshot.adapters.spool import Ended, Event, Measured, Noted, Opening, Pictured, Spool
from packshot.errors import PackshotError, Stopped, Unavailable, UsageError
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.login import login
from packshot.training.log import Pixels

log = logging.getLogger(__name__)

IDENTITY, PROCESS, REASON, NOT_FINITE = "packshot.identity", "packshot.process", "packshot.reason", "packshot.not_finite"
"""The tags that packshot keeps for itself on every run."""

PENDING = "pending-"
"""What a run that the server has not seen yet is called in `mlflow_run`; the rest is its identity."""

FLUSH_SECONDS, FLUSH_EVENTS = 3.0, 500
SECONDS_TO_ANSWER = 5
PATIENCE = (10.0, 30.0, 60.0, 120.0)
"""Seconds between attempts to reach a server that went away."""


class Tracking:
    """Where runs are tracked. Opening it reaches for nothing."""

    def __init__(self, layout: Layout, uri: str, experiment: str) -> None:
        self.layout, self.uri, self.experiment = layout, uri, experiment

    @classmethod
    def open(cls, layout: Layout) -> Tracking:
        """The server named by MLFLOW_TRACKING_URI, or the project's own database; the experiment of MLFLOW_EXPERIMENT_NAME."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{layout.mlflow_database}"
        if uri.startswith("file:") or "://" not in uri:
            raise UsageError(
                f"MLFLOW_TRACKING_URI is {uri!r}: MLflow no longer tracks to folders",
                advice="name a server (http://...) or a database (sqlite:///...), or unset it to use the project's own",
            )
        return cls(layout, uri.rstrip("/"), os.environ.get("MLFLOW_EXPERIMENT_NAME") or "packshot")

    @property
    def embedded(self) -> bool:
        """Whether runs go to the project's own database."""
        return self.uri == f"sqlite:///{self.layout.mlflow_database}"

    @property
    def begun(self) -> bool:
        """Whether there can be anything to read: the project's own database is made by the first who writes."""
        return not self.embedded or self.layout.mlflow_database.is_file()

    @property
    def address(self) -> str:
        """The URI as it may be shown."""
        return hide_login(self.uri)

    @property
    def server(self) -> str:
        """Which server it is, told apart from others without its address, which may hold a password."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def connect(self) -> Any:
        """An MlflowClient of a store that answers just now. Raises Unavailable where it does not."""
        _import_mlflow()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if self.embedded:
            _create_database(self.layout)
        elif self.uri.startswith(("http://", "https://")):
            _ping(self.uri)
        try:
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        except (MlflowException, ImportError) as error:  # a scheme, or a database's driver, that is not there
            where, advice = self.address, "MLFLOW_TRACKING_URI names a server (http://...) or a database (sqlite:///...)"
            raise Unavailable(f"MLflow cannot use this address: {_reason(error)}", where=where, advice=advice) from error

    def start(
        self, run: str, *, parameters: Mapping[str, str | int | float], tags: Mapping[str, str], resume: str | None = None
    ) -> RunLog:
        """Begin to track the training `run`, or go on with its MLflow run.

        Goes on with `resume` (a RunLog's `mlflow_run`) where the server knows it, else with a run of the same name, parameters
        and tags that did not finish, else makes a new one. Tags that name `dataset` and `data_version` also become the run's
        input; `git_commit` is shown as the run's source version. Never raises for a server's sake.
        """
        kept = {name: str(value) for name, value in parameters.items()}
        identity = _identity(self.experiment, run, kept, tags)
        opening = Opening(
            server=self.server,
            identity=identity,
            run=run,
            started=_now(),
            parameters=tuple(sorted(kept.items())),
            tags=tuple(sorted(tags.items())),
        )
        runlog = RunLog(self, opening.model_copy(update={"mlflow_run": resume}) if resume else opening)
        runlog.connect()
        return runlog

    def annotate(
        self,
        mlflow_run: str,
        metrics: Mapping[str, float],
        step: int,
        pictures: Mapping[str, Path],
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Add what evaluate and gate found to a run: metrics at `step`, pictures by name below evaluation/<step>/, and tags.

        A run that the server does not know, or a server that does not answer, is a warning.
        """
        from PIL import Image

        try:
            client = self.connect()
            self.replay(client)
            known = self.resolve(client, mlflow_run)
            if known is None:
                log.warning("MLflow at %s does not know the run %s; its evaluation is not shown there", self.address, mlflow_run)
                return
            remote = _Remote(client, known, resumed=True)
            finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
            remote.send([Measured(name=_name(name), step=step, value=value, at=_now()) for name, value in finite.items()])
            for name, path in pictures.items():
                with Image.open(path) as picture:
                    client.log_image(known, picture, artifact_file=f"evaluation/{step}/{_name(name)}.png")
            for name, text in tags.items():
                client.set_tag(known, name, text)
        except Exception as error:
            log.warning("the evaluation of %s is not shown in MLflow: %s", mlflow_run, _reason(error))

    def mark(self, name: str, value: str, tags: Mapping[str, str]) -> None:
        """Give the latest run whose tag `name` is `value` these tags too. That there is none, or no answer, is a warning."""
        with _shrugging(f"tags of the run {value}"):
            client = self.connect()
            self.replay(client)
            if not (found := self.search(client, f"tags.`{name}` = '{value}'")):
                raise Unavailable("MLflow does not know it")
            for tag, text in tags.items():
                client.set_tag(found[0].info.run_id, tag, text)

    def resolve(self, client: Any, mlflow_run: str) -> str | None:
        """The id by which the server knows this run, or None. A run that was spooled at first is found by its identity."""
        from mlflow.exceptions import MlflowException

        if mlflow_run.startswith(PENDING):
            found = self.search(client, f"tags.`{IDENTITY}` = '{mlflow_run.removeprefix(PENDING)}'")
            return str(found[0].info.run_id) if found else None
        try:
            info = client.get_run(mlflow_run).info
            return str(info.run_id) if info.lifecycle_stage == "active" else None
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def replay(self, client: Any) -> None:
        """Send what earlier runs could not send. Twice the same sends nothing twice."""
        for spool in Spool.waiting(self.layout.var / "spool"):
            opening, events = spool.read()
            if opening is None:
                spool.remove()
                continue
            if opening.server != self.server:
                spool.release()
                continue
            if not any(isinstance(event, Ended) for event in events):
                events.append(Ended(status="KILLED", reason="its process is gone", at=_now()))
            try:
                self.find(client, opening).send(events)
            except Exception as error:
                if not _is_refusal(error):
                    spool.release()
                    raise
                log.warning("MLflow refuses what was spooled of the run %s: %s", opening.run, _reason(error))
                spool.refuse()
            else:
                spool.remove()
                log.info("sent the spooled run %s to MLflow", opening.run)

    def find(self, client: Any, opening: Opening) -> _Remote:
        """The server's run for `opening`: searched before it is created, since a lost answer must not make a second one."""
        known = self.resolve(client, opening.mlflow_run) if opening.mlflow_run else None
        if known is None:
            unfinished = self.search(client, f"tags.`{IDENTITY}` = '{opening.identity}' and attributes.status != 'FINISHED'")
            known = unfinished[0].info.run_id if unfinished else None
        resumed = known is not None
        if known is None:
            tags = {**dict(opening.tags), IDENTITY: opening.identity, PROCESS: _process()}
            tags |= {"mlflow.user": login(), "mlflow.source.name": "packshot train", "mlflow.source.type": "LOCAL"}
            if "git_commit" in tags:
                tags["mlflow.source.git.commit"] = tags["git_commit"]
            experiment = self._experiment(client)
            known = client.create_run(experiment, start_time=opening.started, tags=tags, run_name=opening.run).info.run_id
        remote = _Remote(client, known, resumed=resumed)
        remote.describe(opening)
        return remote

    def _experiment(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        if (found := client.get_experiment_by_name(self.experiment)) is not None:
            return str(found.experiment_id)
        place = (self.layout.mlflow_artifacts / self.experiment).as_uri() if self.embedded else None
        try:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's pages speak of prompts and traces
            return str(client.create_experiment(self.experiment, artifact_location=place, tags=kind))
        except MlflowException:
            if (found := client.get_experiment_by_name(self.experiment)) is None:
                raise
            return str(found.experiment_id)

    def search(self, client: Any, condition: str) -> Sequence[Any]:
        """The runs of the experiment that meet an MLflow filter, the latest first."""
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            return ()
        runs: Sequence[Any] = client.search_runs([found.experiment_id], condition, order_by=["attributes.start_time DESC"])
        return runs

    def reap(self, client: Any) -> None:
        """Close the runs of this machine whose process is gone: MLflow would show them as running for ever."""
        for run in self.search(client, "attributes.status = 'RUNNING'"):
            process = run.data.tags.get(PROCESS, "")
            if process.split("/")[0] == platform.node() and not _alive(process):
                _Remote(client, run.info.run_id, resumed=False).send(
                    [Ended(status="KILLED", reason="its process is gone", at=_now())]
                )


class RunLog:
    """The log of one training (training.log.Log). Leaving it closes the run: FINISHED, FAILED or KILLED, with the reason."""

    def __init__(self, tracking: Tracking, opening: Opening) -> None:
        self._tracking, self._opening = tracking, opening
        self._remote: _Remote | None = None
        self._spool: Spool | None = None
        self._monitor: Any = None
        self._waiting: list[Event] = []
        self._seen: set[tuple[str, str, int]] = set()
        self._flushed = time.monotonic()
        self._failures, self._retry_at = 0, 0.0
        self._not_finite = False

    @property
    def mlflow_run(self) -> str:
        """MLflow's id of the run; while the server has not seen it, a name by which `Tracking` finds it later."""
        return self._opening.mlflow_run or PENDING + self._opening.identity

    @property
    def experiment(self) -> str:
        return self._tracking.experiment

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Note `values` at `step`. A value that is no number is noted as a tag (the first of the run) and logged as a warning."""
        for name, value in values.items():
            key = ("metric", name, step)
            if key in self._seen:
                continue
            self._seen.add(key)
            if math.isfinite(value):
                self._waiting.append(Measured(name=_name(name), step=step, value=float(value), at=_now()))
            elif not self._not_finite:
                self._not_finite = True
                log.warning("%s of the run %s is %s at step %d", name, self._opening.run, value, step)
                self._waiting.append(Noted(name=NOT_FINITE, value=f"{name} at step {step}: {value}"))
        self._flush_when_due()

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Note a picture, uint8 (H, W, 3), at `step`."""
        key = ("picture", name, step)
        if key not in self._seen:
            self._seen.add(key)
            self._waiting.append(Pictured(name=_name(name), step=step, png=encode_png(pixels), at=_now()))
        self._flush_when_due()

    def connect(self) -> None:
        """Reach for the server and the run; without an answer, spool."""
        self._flush()
        if self._remote is not None:
            self._watch_system(self._remote.run)

    def _watch_system(self, run: str) -> None:
        """Let MLflow note what the processor, the memory, the disk and the GPU do."""
        with _shrugging("system metrics"):
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                run, sampling_interval=5, resume_logging=True, tracking_uri=self._tracking.uri
            )
            self._monitor.start()

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"], reason: str = "") -> None:
        """Send what is left and close the run."""
        if self._monitor is not None:
            with _shrugging("system metrics"):
                self._monitor.finish()
        self._waiting.append(Ended(status=status, reason=reason, at=_now()))
        self._retry_at = 0.0
        self._flush()
        if self._spool is not None:
            self._spool.release()
            log.warning("the run %s waits in %s until MLflow answers", self._opening.run, self._tracking.layout.var / "spool")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close("FINISHED")
        elif isinstance(error, Stopped):
            self.close("KILLED", error.what)
        elif isinstance(error, Exception):
            self.close("FAILED", f"{type(error).__name__}: {error}")
        else:
            self.close("KILLED", f"stopped by {type(error).__name__}")

    def _flush_when_due(self) -> None:
        if len(self._waiting) >= FLUSH_EVENTS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Send what waits, or spool it. Nothing that a server does, or does not, gets out of here."""
        events, self._waiting, self._flushed = self._waiting, [], time.monotonic()
        if time.monotonic() >= self._retry_at:
            try:
                self._send(events)
                return
            except Exception as error:
                pause = PATIENCE[min(self._failures, len(PATIENCE) - 1)]
                self._failures, self._retry_at = self._failures + 1, time.monotonic() + pause
                self._remote = None  # what arrived of these events, the server itself says when it is back
                log.warning("MLflow at %s: %s; tracking on disk for now", self._tracking.address, _reason(error))
        try:
            if self._spool is None:
                self._spool = Spool.create(self._tracking.layout.var / "spool", self._opening)
            self._spool.append(events)
        except OSError as error:
            log.warning("the run %s cannot be tracked on disk either: %s", self._opening.run, error)

    def _send(self, events: Sequence[Event]) -> None:
        if self._remote is None:
            client = self._tracking.connect()
            self._tracking.replay(client)
            self._tracking.reap(client)
            self._remote = self._tracking.find(client, self._opening)
            self._opening = self._opening.model_copy(update={"mlflow_run": self._remote.run})
        if self._spool is not None:
            self._remote.send(self._spool.read()[1])
            self._spool.remove()
            self._spool = None
        self._remote.send(events)
        self._failures = 0


class _Remote:
    """One run on the server. Whatever is sent twice arrives once."""

    def __init__(self, client: Any, run: str, *, resumed: bool) -> None:
        self.client, self.run = client, run
        self._resumed = resumed
        self._measured: dict[str, set[int]] = {}
        self._drawn: set[tuple[str, int]] | None = None if resumed else set()

    def describe(self, opening: Opening) -> None:
        """Parameters, process and input of the run, as far as the server does not have them; running again if it had stopped."""
        from mlflow.entities import Param

        run = self.client.get_run(self.run)
        missing = [Param(name, value) for name, value in opening.parameters if name not in run.data.params]
        for start in range(0, len(missing), 100):
            self.client.log_batch(self.run, params=missing[start : start + 100])
        if self._resumed:
            self.client.set_tag(self.run, PROCESS, _process())
            self.client.update_run(self.run, status="RUNNING")
            if REASON in run.data.tags:
                self.client.delete_tag(self.run, REASON)
        tags = dict(opening.tags)
        if "dataset" in tags and not run.inputs.dataset_inputs:
            self._log_input(tags["dataset"], tags.get("data_version", ""))

    def send(self, events: Sequence[Event]) -> None:
        """Send these events, but those that the server has already."""
        measured = [event for event in events if isinstance(event, Measured) and event.step not in self._steps(event.name)]
        for start in range(0, len(measured), 1000):
            self._log_metrics(measured[start : start + 1000])
        for event in events:
            if isinstance(event, Pictured):
                self._log_picture(event)
            elif isinstance(event, Noted):
                self.client.set_tag(self.run, event.name, event.value)
            elif isinstance(event, Ended):
                if event.reason:
                    self.client.set_tag(self.run, REASON, event.reason[:5000])
                self.client.set_terminated(self.run, event.status, end_time=event.at)

    def _log_metrics(self, events: Sequence[Measured]) -> None:
        from mlflow.entities import Metric

        self.client.log_batch(self.run, metrics=[Metric(event.name, event.value, event.at, event.step) for event in events])
        for event in events:
            self._steps(event.name).add(event.step)

    def _log_picture(self, event: Pictured) -> None:
        from PIL import Image

        if (event.name, event.step) in self._pictures():
            return
        with Image.open(io.BytesIO(event.png)) as picture:
            self.client.log_image(self.run, picture, key=event.name, step=event.step, timestamp=event.at)
        self._pictures().add((event.name, event.step))

    def _log_input(self, dataset: str, data_version: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"dvc_md5": data_version, "dataset": dataset})
        entity = Dataset(name="catalogue", digest=dataset[:32], source_type="dvc", source=source)
        tags = [InputTag("mlflow.data.context", "training"), InputTag("data_version", data_version or "not under DVC")]
        self.client.log_inputs(self.run, [DatasetInput(entity, tags)])

    def _steps(self, name: str) -> set[int]:
        if name not in self._measured:
            history = self.client.get_metric_history(self.run, name) if self._resumed else ()
            self._measured[name] = {metric.step for metric in history}
        return self._measured[name]

    def _pictures(self) -> set[tuple[str, int]]:
        if self._drawn is None:
            parts = [re.split(r"[+%]", Path(file.path).name) for file in self.client.list_artifacts(self.run, "images")]
            self._drawn = {(part[0].replace("~", "/"), int(part[2])) for part in parts if len(part) > 2 and part[1] == "step"}
        return self._drawn


def _import_mlflow() -> None:
    """Import MLflow quietly: no telemetry, no handlers of its own, and no retries (its retries can make one run many)."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS_TO_ANSWER),
    }.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for vendor in ("mlflow", "alembic"):
        if (logger := logging.getLogger(vendor)).level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def _create_database(layout: Layout) -> None:
    """Make the project's tracking database, once: two processes that migrate one database at the same time break it."""
    database = layout.mlflow_database
    if database.is_file():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with (database.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if database.is_file():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        log.info("making the tracking database %s (once)", database)
        draft = database.with_name(".mlflow.db.draft")
        draft.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"sqlite:///{draft}", layout.mlflow_artifacts.as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        draft.replace(database)


def hide_login(uri: str) -> str:
    """A server's address without the name and the password that may stand in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def _ping(uri: str) -> None:
    """Ask the server whether it is there; any answer that is not its own fault (5xx) is one."""
    uri = hide_login(uri)
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=SECONDS_TO_ANSWER - 1):  # noqa: S310 - http(s) only, see connect
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return
        reason = f"it answers {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
    raise Unavailable("the MLflow server does not answer", where=uri, advice=reason)


@contextmanager
def _shrugging(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("no %s: %s", what, _reason(error))


def _identity(experiment: str, run: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> str:
    text = json.dumps([experiment, run, sorted(parameters.items()), sorted(tags.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _name(name: str) -> str:
    """A name that MLflow takes for metrics and pictures alike."""
    return re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", name)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _process() -> str:
    """Names this process, told apart from every other that had or will have its number: node/boot/pid/start."""
    import psutil

    return f"{platform.node()}/{_boot()}/{os.getpid()}/{psutil.Process().create_time()}"


def _alive(process: str) -> bool:
    import psutil

    _, boot, pid, started = process.rsplit("/", 3)
    if boot != _boot():
        return False
    try:
        return bool(str(psutil.Process(int(pid)).create_time()) == started)
    except psutil.NoSuchProcess:
        return False


def _boot() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else ""


def _is_refusal(error: Exception) -> bool:
    """Whether the server understood and said no, so that asking again is no use."""
    return getattr(error, "error_code", "") in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED"}


def _reason(error: Exception) -> str:
    """An error in one line."""
    text = str(error) if isinstance(error, PackshotError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
