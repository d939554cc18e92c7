"""Ask whether what was promoted is what is served, and whether it draws."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request

import cv2
import numpy as np

from packshot.errors import IntegrityError, Unavailable
from packshot.layout import Layout
from packshot.records import ImageSpec, Live
from packshot.serving.engine import Engine

SECONDS_TO_FOLLOW = 60.0
DIGEST = "X-Packshot-Digest"


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
            digest, _ = _ask(f"{url}/describe")
            if digest == live.sha256:
                return
            reason = f"it serves {digest[:12] or 'nothing'}, not {live.sha256[:12]}"
        except Unavailable as error:
            reason = error.what
        if time.monotonic() > deadline:
            raise Unavailable("the service does not follow", where=url, advice=reason)
        time.sleep(0.2)


def _draw(url: str, category: str, live: Live, image: ImageSpec) -> None:
    digest, answer = _ask(f"{url}/generate", {"category": category, "count": 1, "seed": 0, "format": "png"})
    if digest != live.sha256:
        raise IntegrityError(f"the service answers with {digest[:12]}, not {live.sha256[:12]}", where=url, advice="promote again")
    try:
        encoded = base64.b64decode(json.loads(answer)["images"][0]["data"], validate=True)
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except (ValueError, KeyError, IndexError, TypeError, cv2.error) as error:
        raise IntegrityError(f"the service's answer is no picture: {error}", where=url, advice="roll back") from error
    if pixels is None or pixels.shape[:2] != (image.size, image.size) or int(np.ptp(pixels)) == 0:
        raise IntegrityError(f"the service's picture of {category} is broken", where=url, advice="roll back")


def _ask(url: str, body: dict[str, object] | None = None) -> tuple[str, bytes]:
    """The digest that an answer names, and its content."""
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310  ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.headers.get(DIGEST, ""), answer.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"the service does not answer: {reason}", where=url, advice="start it: make serve") from None
