"""A port that is taken is one line before anything is started, never a server's traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from packshot.errors import UsageError
from packshot.ports import USUAL, free_port
from tests.conftest import ROOT


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("words", [["services.generator"], ["packshot.ports", "SERVICE_PORT"]], ids=["serve", "up"])
def test_a_port_that_is_taken_ends_with_two_and_one_line(taken: int, words: list[str]) -> None:
    environment = {**os.environ, "SERVICE_PORT": str(taken)}
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(rf"packshot: E2 port {taken} cannot be had: .*SERVICE_PORT=\d+\n", done.stderr)


@pytest.mark.parametrize("text", ["x", "0", "-1", "65536", "9" * 30, "3000.0", "³"])
def test_what_is_no_port_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SERVICE_PORT", text)
    with pytest.raises(UsageError, match="SERVICE_PORT is"):
        free_port("SERVICE_PORT")


def test_a_free_port_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("SERVICE_PORT", str(port))
    assert free_port("SERVICE_PORT") == port


def test_the_usual_ports_are_those_of_the_makefile_and_the_procfile() -> None:
    for name, port in USUAL.items():
        assert f"{name} ?= {port}\n" in (ROOT / "Makefile").read_text()
    procfile = (ROOT / "Procfile").read_text()
    assert set(re.findall(r"\$\{(\w+_PORT):-(\d+)\}", procfile)) <= {(name, str(port)) for name, port in USUAL.items()}
