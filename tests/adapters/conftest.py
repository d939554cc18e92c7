"""The adapters are tried on the same small project as the release, and on a real MLflow server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from packshot.adapters.tracking import _ping
from packshot.errors import Unavailable
from tests.release.conftest import make_shop, repository, shop

__all__ = ["make_shop", "repository", "shop"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real MLflow server on the loopback interface, which can be killed and started again."""

    def __init__(self, folder: Path, database: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copy(database, folder / "mlflow.db")
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs already."""
        if self.process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "server.log").open("ab") as sink:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                _ping(self.uri)
            except Unavailable:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "mlflow", database)
    yield server
    server.kill()
