"""Ask whether what was promoted is what is served, and whether it draws."""

from __future__ import annotations

import time

import numpy as np

from packshot.errors import IntegrityError, Unavailable
from packshot.layout import Layout
from packshot.records import ImageSpec, Live
from packshot.serving.client import ask, generate
from packshot.serving.engine import Engine

SECONDS_TO_FOLLOW = 60.0


def smoke(layout: Layout, url: str | None = None, *, seconds: float = SECONDS_TO_FOLLOW) -> Live:
    """Draw golden pictures with what live.json names; where there is a `url`, wait until the service there serves it and draws.

    Raises MissingArtifact where nothing is live, IntegrityError where weights or pictures are broken or the service answers with
    other weights than it says, Unavailable where the service does not follow in time.
    """
    live = Live.read(layout.live)
    engine = Engine.load(live)
    engine.warm_up()
    if url is not None:
        url = url.rstrip("/")
        _await(url, live, time.monotonic() + seconds)
        for category in engine.card.categories:
            _draw(url, category, live, engine.card.image)
    return live


def _await(url: str, live: Live, deadline: float) -> None:
    """Wait until the service names the digest."""
    reason = ""
    while True:
        try:
            digest = ask(f"{url}/describe").digest
            if digest == live.sha256:
                return
            reason = f"it serves {digest[:12] or 'nothing'}, not {live.sha256[:12]}"
        except Unavailable as error:
            reason = error.what
        if time.monotonic() > deadline:
            raise Unavailable("the service does not follow", where=url, advice=reason)
        time.sleep(0.2)


def _draw(url: str, category: str, live: Live, image: ImageSpec) -> None:
    (picture,) = generate(url, category, count=1, seed=0, sha256=live.sha256)
    if picture.shape[:2] != (image.size, image.size) or int(np.ptp(picture)) == 0:
        raise IntegrityError(f"the service's picture of {category} is broken", where=url, advice="roll back")
