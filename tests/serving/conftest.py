"""A real BentoML service on the loopback interface, with a shelf of tiny models of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from packshot.models.vae import FlowPrior
from tests.serving.shelf import CONDITIONS, GAN, VAE, Shelf

ROOT = Path(__file__).parents[2]
SLOW = VAE.model_copy(update={"prior": FlowPrior(width=16, blocks=1, steps=800)})
"""Version 3: some tenths of a second for a full request, so that requests meet each other."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass
class Service:
    """One service, as `make serve` starts it."""

    shelf: Shelf
    port: int = field(default_factory=free_port)
    epoch: int = 0

    def start(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
            "PACKSHOT_LIVE": str(self.shelf.live),
            "PACKSHOT_HOSTS": "localhost:80, Shop.example:443",
            "BENTOML_HOME": str(self.shelf.root / "bentoml"),
            "SERVICE_PORT": str(self.port),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.generator"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.lives, "the service starts")

    @property
    def log(self) -> Path:
        return self.shelf.root / "service.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def lives(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/livez", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def promote(self, version: int) -> str:
        """Have a version served, as promote and rollback do; its digest once it is."""
        self.epoch += 1
        live = self.shelf.serve(version, self.epoch)
        wait_until(lambda: self.served_epoch() == self.epoch, f"version {version} is served")
        return live.sha256

    def shelf_version(self) -> int:
        """The version that is served."""
        return int(httpx.get(f"{self.url}/livez", timeout=10).headers["x-packshot-version"])

    def served_epoch(self) -> int:
        return int(httpx.get(f"{self.url}/livez", timeout=10).headers.get("x-packshot-epoch", "0"))

    def metric(self, sample: str) -> float:
        lines = httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(30)


@pytest.fixture(scope="session")
def shelf_of_models(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    shelf.put(1)
    shelf.put(2, GAN)
    shelf.put(3, SLOW)
    shelf.put(4, conditions=CONDITIONS)
    return shelf


@pytest.fixture(scope="session")
def service(shelf_of_models: Shelf) -> Iterator[Service]:
    """The one service that the tests of this room share."""
    made = Service(shelf_of_models)
    made.start()
    try:
        made.promote(1)
        yield made
    finally:
        made.stop()


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service of a test's own that has not been started."""
    made = Service(Shelf(tmp_path))
    try:
        yield made
    finally:
        if hasattr(made, "process"):
            made.stop()
