"""The running service follows one small file: what it says is loaded, checked, warmed up, and only then served."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from packshot.errors import PackshotError
from packshot.records import Live
from packshot.serving.engine import Engine, settle
from packshot.serving.problems import quoted

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Serving:
    """What is being served, and by whose word."""

    live: Live
    engine: Engine


@dataclass(frozen=True, slots=True)
class Failure:
    """What was to be served and cannot be."""

    what: str
    """'<model> <version> (epoch <n>, <digest>)', or 'live.json'."""
    reason: str


class Follower:
    """Keeps `current` in step with the record at `path`. What fails is tried once, logged once, and the old model stays.

    `current` changes by one assignment: whoever took it keeps a whole engine until the last picture is drawn.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current: Serving | None = None
        self.failure: Failure | None = None
        self.swaps = 0
        self.failures = 0
        self._seen: bytes | None = b""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packshot-follow", daemon=True)

    def start(self) -> None:
        """Look once, so that a service starts with its model; then look again and again in a thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Follow the record if it has changed since the last look."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            self._seen, reason = None, f"cannot be read: {error.strerror}"  # whatever it says next is news
            if self.failure is None or self.failure.reason != reason:
                self._fail("live.json", reason)
            return
        if content == self._seen:
            return
        self._seen = content
        if not content:
            if self.current is not None:
                self._fail("live.json", "is gone; the model that was served stays")
            return
        self._follow(content)

    def _follow(self, content: bytes) -> None:
        try:
            live = Live.model_validate_json(content)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            self._fail("live.json", f"is no such record: {'.'.join(map(str, fault['loc']))}: {fault['msg']}")
            return
        what = f"{live.model} {live.version} (epoch {live.epoch}, {live.sha256[:12]})"
        now = self.current
        if now is not None and live == now.live:
            self.failure = None
            return
        if now is not None and live.epoch <= now.live.epoch:
            self._fail(what, f"its epoch does not follow the epoch {now.live.epoch} that is served")
            return
        try:
            engine = Engine.load(live)
            engine.warm_up()
        except (PackshotError, OSError) as error:
            self._fail(what, str(error))
            return
        except Exception as error:
            # Whatever a candidate does wrong, the model that is served stays.
            log.exception("%s broke while it was loaded", what)
            self._fail(what, f"{type(error).__name__}: {error}")
            return
        self.current, self.failure = Serving(live, engine), None
        self.swaps += 1
        log.info("serving %s", what)

    def _fail(self, what: str, reason: str) -> None:
        self.failure = Failure(what, reason)
        self.failures += 1
        log.error("not serving %s: %s", what, " ".join(quoted(word) for word in reason.split()))

    def _run(self) -> None:
        settle()
        while not self._stopping.wait(EVERY_SECONDS):
            self.look()
