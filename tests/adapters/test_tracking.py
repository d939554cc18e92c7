"""Tracking: on the project's own database, on a real server, and on servers that are not there."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packshot.adapters import tracking as room
from packshot.adapters.tracking import IDENTITY, PENDING, PROCESS, REASON, RunLog, Tracking
from packshot.errors import Unavailable, UsageError
from packshot.images.sheet import encode_png
from packshot.layout import Layout
from packshot.records import write_bytes
from tests.adapters.conftest import Server
from tests.release.conftest import Shop

PARAMETERS: dict[str, str | int | float] = {"model.latent": 4, "learning_rate": 2e-3, "family": "vae"}
TAGS = {"dataset": "d" * 64, "data_version": "0123.dir", "git_commit": "c" * 40, "params": "p" * 64, "family": "vae"}
PICTURE = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


def start(layout: Layout, *, resume: str | None = None, name: str = "vae-a") -> RunLog:
    return Tracking.open(layout).start(name, parameters=PARAMETERS, tags=TAGS, resume=resume)


def runs(layout: Layout, condition: str = "") -> list[Any]:
    tracking = Tracking.open(layout)
    return list(tracking.search(tracking.connect(), condition))


def history(layout: Layout, run: str, name: str = "loss") -> list[tuple[int, float]]:
    points = Tracking.open(layout).connect().get_metric_history(run, name)
    return sorted((point.step, point.value) for point in points)


def pictures(layout: Layout, run: str) -> list[str]:
    files = Tracking.open(layout).connect().list_artifacts(run, "images")
    return sorted(Path(file.path).name.split("+timestamp")[0] for file in files if file.path.endswith(".png"))


# --- the project's own database -----------------------------------------------------------------------------------------


def test_a_training_is_a_run_with_everything_that_explains_it(shop: Shop) -> None:
    with start(shop.layout) as log:
        for step in range(0, 1200, 2):
            log.metrics(step, {"loss": 1 / (step + 1), "vae/kl": 3.0})
        log.picture(600, "samples", PICTURE)
        log.picture(1200, "samples", PICTURE)
    (run,) = runs(shop.layout)
    assert run.info.run_id == log.mlflow_run
    assert (run.info.run_name, run.info.status, log.experiment) == ("vae-a", "FINISHED", "packshot")
    assert run.data.params == {"model.latent": "4", "learning_rate": "0.002", "family": "vae"}
    assert TAGS.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.source.git.commit"] == TAGS["git_commit"]
    assert len(history(shop.layout, log.mlflow_run)) == 600
    assert run.data.metrics["vae/kl"] == 3.0
    assert pictures(shop.layout, log.mlflow_run) == ["samples+step+1200", "samples+step+600"]
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.digest == "d" * 32
    assert "0123.dir" in given.dataset.source
    assert ("data_version", "0123.dir") in {(tag.key, tag.value) for tag in given.tags}


def test_system_metrics_are_noted_beside_the_losses(shop: Shop) -> None:
    with start(shop.layout) as log:
        deadline = time.monotonic() + 60
        while not any(name.startswith("system/") for name in runs(shop.layout)[0].data.metrics):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "system/cpu_utilization_percentage" in runs(shop.layout)[0].data.metrics
    assert log.mlflow_run


def test_no_value_that_is_no_number_is_sent_as_one(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with start(shop.layout) as log:
        log.metrics(1, {"loss": float("nan"), "kl": 1.0})
        log.metrics(2, {"loss": float("inf"), "kl": float("-inf")})
    (run,) = runs(shop.layout)
    assert run.data.metrics.keys() == {"kl"} | {name for name in run.data.metrics if name.startswith("system/")}
    assert run.data.tags[room.NOT_FINITE] == "loss at step 1: nan"
    assert "loss of the run vae-a is nan at step 1" in caplog.text


def test_a_resumed_run_goes_on_without_a_point_twice(shop: Shop) -> None:
    log = start(shop.layout)

    def fail() -> None:
        with log:
            for step in range(100):
                log.metrics(step, {"loss": float(step)})
            log.picture(50, "samples", PICTURE)
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        fail()
    (run,) = runs(shop.layout)
    assert (run.info.status, run.data.tags[REASON]) == ("FAILED", "RuntimeError: power")
    with start(shop.layout, resume=log.mlflow_run) as again:
        assert again.mlflow_run == log.mlflow_run
        for step in range(50, 200):
            again.metrics(step, {"loss": float(step)})
        again.picture(50, "samples", PICTURE)
        again.picture(150, "samples", PICTURE)
    (run,) = runs(shop.layout)
    assert run.info.status == "FINISHED"
    assert REASON not in run.data.tags
    assert history(shop.layout, log.mlflow_run) == [(step, float(step)) for step in range(200)]
    assert pictures(shop.layout, log.mlflow_run) == ["samples+step+150", "samples+step+50"]


def test_an_unfinished_run_is_found_by_what_it_is_and_a_finished_one_is_left_alone(shop: Shop) -> None:
    stopped = start(shop.layout)
    stopped.close("KILLED", "stopped")
    with start(shop.layout) as second:
        assert second.mlflow_run == stopped.mlflow_run
    with start(shop.layout) as third:
        assert third.mlflow_run != second.mlflow_run
    with start(shop.layout, resume="0123456789abcdef0123456789abcdef") as fourth:
        assert fourth.mlflow_run not in {second.mlflow_run, third.mlflow_run}
    assert len(runs(shop.layout)) == 3


def test_an_interrupted_run_is_killed_with_the_reason(shop: Shop) -> None:
    with pytest.raises(KeyboardInterrupt), start(shop.layout):
        raise KeyboardInterrupt
    (run,) = runs(shop.layout)
    assert (run.info.status, run.data.tags[REASON]) == ("KILLED", "stopped by KeyboardInterrupt")


def test_a_run_whose_process_is_gone_does_not_run_for_ever(shop: Shop) -> None:
    client = Tracking.open(shop.layout).connect()
    with start(shop.layout, name="other") as alive:
        gone = client.create_run(
            client.get_experiment_by_name("packshot").experiment_id,
            tags={PROCESS: runs(shop.layout)[0].data.tags[PROCESS].rsplit("/", 1)[0] + "/1.5"},
        )
        with start(shop.layout):
            pass
        assert client.get_run(alive.mlflow_run).info.status == "RUNNING"
    run = client.get_run(gone.info.run_id)
    assert (run.info.status, run.data.tags[REASON]) == ("KILLED", "its process is gone")


def test_what_evaluate_found_is_added_to_the_run(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    write_bytes(shop.layout.root / "sheet.png", encode_png(PICTURE))
    with start(shop.layout) as log:
        log.metrics(10, {"loss": 1.0})
    tracking = Tracking.open(shop.layout)
    for _ in range(2):
        metrics = {"psnr": 20.5, "kid": float("nan")}
        tracking.annotate(log.mlflow_run, metrics, 10, {"reconstructions": shop.layout.root / "sheet.png"})
    assert history(shop.layout, log.mlflow_run, "psnr") == [(10, 20.5)]
    assert history(shop.layout, log.mlflow_run, "kid") == []
    found = tracking.connect().list_artifacts(log.mlflow_run, "evaluation/10")
    assert [file.path for file in found] == ["evaluation/10/reconstructions.png"]
    tracking.annotate("0123456789abcdef0123456789abcdef", {"psnr": 1.0}, 10, {})
    assert "does not know the run" in caplog.text


def test_folders_are_refused_as_tracking_stores(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("file:///tmp/mlruns", "mlruns"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UsageError, match="no longer tracks to folders"):
            Tracking.open(shop.layout)


@pytest.mark.parametrize("uri", ["ftp://host/runs", "postgresql://ada:secret@127.0.0.1:1/runs"])
def test_an_address_that_mlflow_cannot_use_is_unavailable(shop: Shop, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(Unavailable, match="MLflow cannot use this address") as told:
        Tracking.open(shop.layout).connect()
    assert "secret" not in str(told.value)


def test_what_is_no_mlflow_is_unavailable_and_a_password_is_not_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def chat() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(1000)
                caller.sendall(b"220 mail here\r\n")

        thread = threading.Thread(target=chat)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Unavailable, match="220 mail here") as told:
            Tracking.open(shop.layout).connect()
        thread.join()
    assert "secret" not in str(told.value)


def test_two_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    script = "import sys, pathlib; from packshot.layout import Layout; from packshot.adapters.tracking import Tracking; "
    script += (
        "Tracking.open(Layout(pathlib.Path(sys.argv[1]))).start('run-' + sys.argv[2], parameters={}, tags={}).close('FINISHED')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)], env=environment, stderr=subprocess.PIPE)
        for number in range(2)
    ]
    for process in processes:
        _, fault = process.communicate()
        assert process.returncode == 0, fault.decode()
    found = runs(Layout(tmp_path))
    assert sorted(run.info.run_name for run in found) == ["run-0", "run-1"]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert not list((tmp_path / "var").rglob("*.draft"))


# --- servers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Layout:
    """A project that tracks to the server, in an experiment of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return shop.layout


@pytest.mark.servers
def test_a_training_outlives_its_server_and_nothing_is_lost_or_doubled(
    remote: Layout, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(room, "PATIENCE", (0.0,))
    server.kill()
    with start(remote) as early:
        early.metrics(1, {"loss": 1.0})
        early.picture(1, "samples", PICTURE)
    assert early.mlflow_run.startswith(PENDING)
    assert "the MLflow server does not answer" in caplog.text
    assert len(list((remote.var / "spool").glob("*.jsonl"))) == 1

    server.start()
    log = start(remote, name="vae-b")
    (first,) = runs(remote, f"tags.`{IDENTITY}` = '{early.mlflow_run.removeprefix(PENDING)}'")
    assert first.info.status == "FINISHED"
    assert history(remote, first.info.run_id) == [(1, 1.0)]
    assert pictures(remote, first.info.run_id) == ["samples+step+1"]
    log.metrics(1, {"loss": 1.0})
    log.picture(1, "samples", PICTURE)
    server.kill()
    log.metrics(2, {"loss": 2.0})
    log.picture(2, "samples", PICTURE)
    assert list((remote.var / "spool").glob("*.jsonl"))
    server.start()
    log.metrics(3, {"loss": 3.0})
    log.close("FINISHED")

    assert history(remote, log.mlflow_run) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert pictures(remote, log.mlflow_run) == ["samples+step+1", "samples+step+2"]
    assert {run.info.status for run in runs(remote)} == {"FINISHED"}
    assert len(runs(remote)) == 2
    assert not list((remote.var / "spool").iterdir())


@contextmanager
def losing(uri: str, lose: Callable[[str], bool]) -> Iterator[str]:
    """A proxy that passes every request on, and loses the answers to some."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
            request = urllib.request.Request(uri + self.path, data=body, headers=headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    status, kind, content = reply.status, reply.headers.get("Content-Type", ""), reply.read()
            except urllib.error.HTTPError as error:
                status, kind, content = error.code, error.headers.get("Content-Type", ""), error.read()
            if lose(self.path):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: object) -> None:  # type: ignore[override]
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


@pytest.mark.servers
def test_lost_answers_make_neither_a_second_run_nor_a_second_point(
    remote: Layout, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write's answer is lost once: MLflow has it, and packshot does not know."""
    monkeypatch.setattr(room, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(room, "PATIENCE", (0.0,))
    monkeypatch.setattr("packshot.adapters.tracking.RunLog._watch_system", lambda self: None)
    server.start()
    lost: set[str] = set()

    def lose(path: str) -> bool:
        write = any(word in path for word in ("runs/create", "log-batch", "artifacts/", "set-tag", "runs/update", "log-inputs"))
        once = path.split("/artifacts/", maxsplit=1)[0]
        if not write or once in lost:
            return False
        lost.add(once)
        return True

    with losing(server.uri, lose) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with start(remote) as log:
            for step in range(20):
                log.metrics(step, {"loss": float(step)})
            log.picture(5, "samples", PICTURE)
            for step in range(20, 40):
                log.metrics(step, {"loss": float(step)})
        Tracking.open(remote).replay(Tracking.open(remote).connect())
        assert any("runs/create" in path for path in lost)
        assert any("log-batch" in path for path in lost)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (run,) = runs(remote)
    assert run.info.status == "FINISHED"
    assert history(remote, run.info.run_id) == [(step, float(step)) for step in range(40)]
    assert pictures(remote, run.info.run_id) == ["samples+step+5"]


def test_a_server_that_takes_connections_and_never_answers_stops_no_training(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "SECONDS_TO_ANSWER", 2)
    with socket.socket() as hole, caplog.at_level(logging.WARNING):
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{hole.getsockname()[1]}")
        with start(shop.layout) as log:
            log.metrics(1, {"loss": 1.0})
        Tracking.open(shop.layout).annotate(log.mlflow_run, {"psnr": 20.0}, 1, {})
    assert log.mlflow_run.startswith(PENDING)
    assert "timed out" in caplog.text
    assert "waits in" in caplog.text
    assert "is not shown in MLflow" in caplog.text
