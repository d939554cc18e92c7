"""What every request passes before anything else looks at it, and every answer on its way out."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from packshot.serving.follow import Follower, Serving
from packshot.serving.metrics import Metrics, Route
from packshot.serving.problems import Problem, quoted

access = logging.getLogger("packshot.access")
log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that a service on this machine may be called by. More stand in PACKSHOT_HOSTS."""

REQUEST_ID, SERVING = "packshot.request_id", "packshot.serving"
"""Keys of the ASGI scope: the request's own id; the Serving that a handler drew with."""

ROUTES: dict[str, Route] = {
    "/": "page",
    "/generate": "generate",
    "/reconstruct": "reconstruct",
    "/describe": "describe",
    "/livez": "health",
    "/readyz": "health",
    "/healthz": "health",
    "/metrics": "metrics",
}

CLIENT_LEFT = 499


class Front:
    """Checks who is called and from where, names the model, writes the access log, and lets no exception out.

    `own` answers; the paths in `beneath_paths` go to `beneath`, the server that packshot stands in front of.
    """

    def __init__(
        self,
        beneath: ASGIApp,
        *,
        own: ASGIApp,
        beneath_paths: Collection[str],
        hosts: Sequence[str],
        follower: Follower,
        metrics: Metrics,
    ) -> None:
        self._beneath, self._own, self._beneath_paths = beneath, own, frozenset(beneath_paths)
        self._hosts, self._follower, self._metrics = frozenset(_host(host) or host.lower() for host in hosts), follower, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI door."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
            return
        if scope["type"] != "http":
            await self._beneath(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id = secrets.token_hex(8)
        began, status, started, sent = time.monotonic(), 500, False, 0

        async def send_named(message: Message) -> None:
            nonlocal status, started, sent
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                self._name(MutableHeaders(raw=message["headers"]), scope)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._answer(scope, receive, send_named)
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        except Exception:
            log.exception("request %s failed", request_id)
            if not started:
                problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log has more under this request id")
                await problem.answer(request_id)(scope, receive, send_named)
        finally:
            seconds = time.monotonic() - began
            route = ROUTES.get(scope["path"], "other")
            self._metrics.count_request(route, status, seconds)
            if route not in ("health", "metrics"):
                client = (scope.get("client") or ("-",))[0]
                method, path = quoted(scope["method"]), quoted(scope["raw_path"].decode("ascii", "replace"))
                access.info('%s %s "%s %s" %d %d %.1fms', request_id, client, method, path, status, sent, 1000 * seconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._check_caller(headers)
        except Problem as problem:
            await problem.answer(scope[REQUEST_ID])(scope, receive, send)
            return
        to_beneath = scope["path"] in self._beneath_paths and scope["method"] in ("GET", "HEAD")
        await (self._beneath if to_beneath else self._own)(scope, receive, send)

    def _check_caller(self, headers: Headers) -> None:
        """No stranger's page speaks to this service through its visitor's browser: neither by another name nor across sites."""
        if _host(headers.get("host", "")) not in self._hosts:
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST, "this service does not answer to that name; PACKSHOT_HOSTS lists more names"
            )
        origin = headers.get("origin")
        if origin is not None and _host(urlsplit(origin).netloc if "://" in origin else "") not in self._hosts:
            raise Problem(HTTPStatus.FORBIDDEN, "pages of other sites may not call this service")

    def _name(self, headers: MutableHeaders, scope: Scope) -> None:
        headers["X-Request-Id"] = scope[REQUEST_ID]
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        serving: Serving | None = scope.get(SERVING) or self._follower.current
        if serving is not None:
            live = serving.live
            headers["X-Packshot-Model"], headers["X-Packshot-Version"] = live.model, str(live.version)
            headers["X-Packshot-Digest"], headers["X-Packshot-Epoch"] = live.sha256, str(live.epoch)


def _host(value: str) -> str:
    """The name in `name`, `name:port`, `[address]` or `[address]:port`; empty where there is none."""
    try:
        return (urlsplit(f"//{value}").hostname or "") if "@" not in value and "/" not in value else ""
    except ValueError:
        return ""
