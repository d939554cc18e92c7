"""The champion, served by BentoML: a thin skin over packshot.serving.

`python -m services.generator` starts it, from the project's root. PACKSHOT_LIVE names the record that is followed
(var/live.json of the project where unset), PACKSHOT_HOSTS more host names that the service answers to, with commas between.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from packshot.layout import Layout

if TYPE_CHECKING:
    from packshot.serving.front import Front

PAGE = Path(__file__).with_name("page.html")
BENEATH = ("/livez", "/healthz")
"""What BentoML itself answers: whether its process lives."""

PR_SET_PDEATHSIG = 1


class Door:
    """Where BentoML's requests meet packshot: before its own routes, validation, documentation pages and metrics by path."""

    def __init__(self, app: ASGIApp) -> None:
        self._beneath = app
        self._front: Front | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI door."""
        if scope["type"] == "lifespan":
            await self._beneath(scope, receive, send)
            return
        if self._front is None:
            self._front = _running().front(self._beneath)
        await self._front(scope, receive, send)


# BentoML's own metrics have a label for each path that anybody asks for, and its access log writes what it gets: both are off,
# and the front counts and writes instead. Its timeout lies beyond ours, and little: it holds each request's context that long.
@bentoml.service(
    name="generator",
    workers=1,
    traffic={"timeout": 45},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Generator:
    """Pictures of products, drawn by the champion."""

    def __init__(self) -> None:
        # Here and not above: the process that only watches the workers needs no torch.
        from packshot.serving.app import Application
        from packshot.serving.engine import settle
        from packshot.serving.follow import Follower
        from packshot.serving.page import Page

        global _generator
        _end_with_parent()
        logging.getLogger("packshot").setLevel(logging.INFO)
        settle()
        live = os.environ.get("PACKSHOT_LIVE")
        self.follower = Follower(Path(live) if live else Layout.here().live)
        self.follower.start()
        self.application = Application(self.follower, Page.read(PAGE))
        _generator = self

    def front(self, beneath: ASGIApp) -> Front:
        """What stands before BentoML's app `beneath`."""
        from packshot.serving.front import LOOPBACK, Front

        more = [host.strip() for host in os.environ.get("PACKSHOT_HOSTS", "").split(",")]
        return Front(
            beneath,
            own=self.application.routes,
            beneath_paths=BENEATH,
            hosts=[*LOOPBACK, *filter(None, more)],
            follower=self.follower,
            metrics=self.application.metrics,
        )

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Stop what this process started."""
        self.follower.stop()
        self.application.close()


Generator.add_asgi_middleware(Door)  # type: ignore[attr-defined]  # the decorator has made a Service of the class

_generator: Generator | None = None
"""The one instance that BentoML makes, in the process that serves."""


def _running() -> Generator:
    if _generator is None:
        raise RuntimeError("BentoML asks before it has made its service")
    return _generator


def _end_with_parent() -> None:
    """Ask the kernel to end this worker when the process that watches it dies, so that no orphan holds the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
