"""A real Prefect server, started as `make up` starts it, and a throwaway project whose stages take no time."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient

from packshot.stages import STAGES
from tests.conftest import ROOT, TOOLS

STAGE = Path(__file__).with_name("stage.py")


def await_that(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition` holds; fail with `what` where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


@contextmanager
def running(command: list[str], cwd: Path, environment: dict[str, str], record: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process and its own group, both gone at the end; what it says goes to `record`."""
    with record.open("ab") as sink:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=sink, stderr=sink, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def procfile(name: str) -> list[str]:
    """The command that honcho would run."""
    line = re.search(rf"^{name}: (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert line
    return ["sh", "-c", line[1]]


@dataclass(frozen=True)
class Server:
    """A Prefect server, and the environment of those who use it."""

    port: int
    home: Path

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_TRACKING"))}
        return {
            **kept,
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.home.parent / "dvc-site"),
            "PREFECT_PORT": str(self.port),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PACKSHOT_TESTS": str(os.getpid()),
        }


@dataclass(frozen=True)
class Shop:
    """A project in which stage.py stands for the six stages of packshot."""

    root: Path
    environment: dict[str, str]

    def journal(self) -> list[tuple[str, str, int]]:
        """What the stages did, in order: begin or end, the stage, its process."""
        path = self.root / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(word, stage, int(process)) for word, stage, process in (line.split() for line in lines)]

    def mood(self, name: str, text: str | None = "") -> None:
        """Tell stage.py how to behave; None takes it back."""
        path = self.root / "mood" / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    def outputs(self) -> dict[str, bytes]:
        data = self.root / "data"
        return {path.relative_to(data).as_posix(): path.read_bytes() for path in sorted(data.rglob("*.json"))}


@pytest.fixture(scope="session")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Git and DVC project, with packshot's own flows and deployments."""
    root = tmp_path_factory.mktemp("template") / "shop"
    root.mkdir()
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "prefect.yaml", ROOT / "prefect.toml", STAGE, ROOT / "tests" / "params.yaml"):
        shutil.copy(path, root / path.name)
    for name in ("mood", "logs", "data"):
        (root / name).mkdir()
    (root / "mood" / "gate").write_text("pass")
    lines, before = ["stages:"], "stage.py"
    for stage in STAGES:
        lines += [f"  {stage}:", f"    cmd: {sys.executable} stage.py {stage}", "    deps:", f"      - {before}"]
        lines += ["      - mood/gate"] if stage == "gate" else []
        lines += ["    outs:", f"      - data/{stage}"]
        before = f"data/{stage}"
    (root / "dvc.yaml").write_text("\n".join(lines) + "\n")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, env=server.environment, check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server, started by the Procfile's own line."""
    base = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Server(port, base / "home")
    shutil.copy(ROOT / "prefect.toml", base)
    with running(procfile("prefect"), base, made.environment, base / "server.log") as process:
        await_that(lambda: answers(f"{made.api}/health") or process.poll() is not None, 600, "the Prefect server answers")
        assert process.poll() is None, (base / "server.log").read_text()
        yield made


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def shop(server: Server, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A fresh project; flows that are called in this process talk to the server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    made = Shop(tmp_path / "shop", server.environment)
    shutil.copytree(template, made.root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", server.environment["DVC_SITE_CACHE_DIR"])
    for name in ("MLFLOW_TRACKING_URI", "BENTOML_HOME", "PACKSHOT_VAR", "PACKSHOT_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    with temporary_settings({PREFECT_API_URL: server.api}):
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(server.api) as made:
        yield made


def lives(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
