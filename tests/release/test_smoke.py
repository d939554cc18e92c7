"""The smoke test against the real service: it follows a promotion and a rollback without a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from packshot.errors import Unavailable
from packshot.release.demo import service
from packshot.release.rollback import rollback
from packshot.release.smoke import smoke
from tests.release.conftest import Shop
from tests.release.test_release import release

ROOT = Path(__file__).parents[2]

DEMO = """
import time
from packshot import cli
from packshot.layout import Layout
from packshot.release import demo
def stay(params, layout, **_):
    with demo.service(layout) as url:
        print(url, flush=True)
        time.sleep(600)
demo.demo, cli._project = stay, lambda: (None, Layout.here())
cli.main()
"""
"""`packshot demo` once its service is up: what comes before takes minutes."""


@pytest.mark.servers
def test_a_running_service_follows_promotion_and_rollback(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    first = release(shop, 1)
    with service(shop.layout) as url:
        assert smoke(shop.layout, url) == first
        second = release(shop, 2, psnr=21.0)
        assert smoke(shop.layout, url) == second
        back = rollback(shop.layout, by="bob", reason="the mugs melt")
        assert smoke(shop.layout, url) == back
        assert back.sha256 == first.sha256
        second.write(shop.layout.live)  # by hand: its epoch is past, so the service stays where the ledger is
        with pytest.raises(Unavailable, match="does not follow"):
            smoke(shop.layout, url, seconds=1.5)


@pytest.mark.servers
def test_a_demo_that_is_asked_to_end_leaves_no_service_behind(shop: Shop) -> None:
    release(shop, 1)
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO, "demo"],
        cwd=shop.layout.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout
    assert demo.stdout.readline().startswith("http://127.0.0.1:")
    started = psutil.Process(demo.pid).children(recursive=True)
    assert len(started) >= 2
    demo.terminate()
    assert demo.wait(60) == 143
    assert not psutil.wait_procs(started, 10)[1]
    demo.stdout.close()
