"""Killed at any point, a promotion either did not happen or is finished by the next one."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from packshot.records import Live
from packshot.release.ledger import Ledger
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import review
from tests.release.conftest import Shop

BEFORE = ("promote.reviewed", "promote.shelved", "promote.warm")
AFTER = ("promote.committed", "promote.live", "promote.mirrored")

STARTER = """
import json, os, sys
from packshot.evaluation.review import ReleaseParams
from packshot.layout import Layout
from packshot.params import Params
from packshot.release.promote import promote
from packshot.release.rollback import rollback
from pathlib import Path
import mlflow, bentoml
params = Params.model_construct(release=ReleaseParams(review="auto"))
print("ready", flush=True)
for line in sys.stdin:
    root, act, point = json.loads(line)
    if (child := os.fork()) == 0:
        os.environ["PACKSHOT_FAILPOINT"] = point
        layout = Layout(Path(root))
        promote(params, layout, by="ada") if act == "promote" else rollback(layout, by="bob", reason="worse")
        os._exit(0)
    print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)
"""
"""Imports once, then acts in a fork of its own each time: an import takes longer than a promotion."""


@contextmanager
def starter() -> Iterator[Callable[[Shop, str, str], int]]:
    command = [sys.executable, "-W", "ignore", "-c", STARTER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    sink, source = process.stdin, process.stdout
    assert source.readline() == "ready\n"

    def act(shop: Shop, what: str, point: str = "") -> int:
        sink.write(json.dumps([str(shop.layout.root), what, point]) + "\n")
        sink.flush()
        return int(json.loads(source.readline()))

    try:
        yield act
    finally:
        sink.close()
        assert process.wait() == 0


def alias(shop: Shop) -> int:
    connection = sqlite3.connect(shop.layout.mlflow_database)
    try:
        row = connection.execute("SELECT version FROM registered_model_aliases WHERE alias = 'champion'").fetchone()
    finally:
        connection.close()
    return int(row[0])


def champion(shop: Shop) -> tuple[int, int]:
    head = Ledger(shop.layout.ledger).head()
    assert head is not None
    assert head.champion is not None
    return head.epoch, head.champion.version


def live(shop: Shop) -> tuple[int, int]:
    record = Live.read(shop.layout.live)
    return record.epoch, record.version


@pytest.fixture
def reviewed(shop: Shop) -> Shop:
    """Version 1 is the champion, version 2 is reviewed."""
    for seed, psnr in ((1, 20.0), (2, 21.0)):
        shop.train(seed, psnr=psnr)
        register(shop.params(), shop.layout)
        review(shop.params(), shop.layout, by="ada")
        if seed == 1:
            promote(shop.params(), shop.layout, by="ada")
    return shop


def test_a_promotion_killed_anywhere_did_not_happen_or_is_finished_by_the_next(reviewed: Shop, tmp_path: Path) -> None:
    var, saved = reviewed.layout.var, tmp_path / "saved"
    shutil.copytree(var, saved)

    def restore() -> None:
        shutil.rmtree(var)
        shutil.copytree(saved, var)

    with starter() as act:
        for point in (*BEFORE, *AFTER):
            restore()
            assert act(reviewed, "promote", f"{point}:kill") == -signal.SIGKILL, point
            assert champion(reviewed) == ((1, 1) if point in BEFORE else (2, 2)), point
            assert live(reviewed) == ((1, 1) if point in (*BEFORE, "promote.committed") else (2, 2)), point
            assert act(reviewed, "promote", "") == 0, point
            assert champion(reviewed) == live(reviewed) == (2, 2), point
            assert alias(reviewed) == 2, point
        restore()
        assert act(reviewed, "promote", "promote.committed:kill") == -signal.SIGKILL
        assert act(reviewed, "rollback", "rollback.committed:kill") == -signal.SIGKILL
        assert (champion(reviewed), live(reviewed)) == ((3, 1), (1, 1))
        assert act(reviewed, "rollback", "") == 0, "finishes the one before, and goes no further"
        assert champion(reviewed) == live(reviewed) == (3, 1)
        assert alias(reviewed) == 1
