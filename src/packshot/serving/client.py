"""Ask a running service, as a shop's application would."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException

import numpy as np
from numpy.typing import NDArray

from packshot.errors import IntegrityError, Unavailable
from packshot.images.sheet import decode_png

DIGEST = "X-Packshot-Digest"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered, and the digest of the weights that it named."""

    digest: str
    content: bytes


def ask(url: str, body: Mapping[str, object] | None = None) -> Answer:
    """GET `url`, or POST `body` to it as JSON. Raises Unavailable where there is no answer, or none with a status below 400."""
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310  an address of the operator's own
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return Answer(answer.headers.get(DIGEST, ""), answer.read())
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"the service does not answer: {reason}", where=url, advice="start it: make serve") from None


def generate(
    url: str, category: str, *, count: int, seed: int, sha256: str, attributes: Mapping[str, str] | None = None
) -> NDArray[np.uint8]:
    """Ask the service at `url` for pictures: uint8 (count, H, W, 3).

    Raises IntegrityError where it serves other weights than `sha256`, or answers with something that is no picture.
    """
    wish: dict[str, object] = {"category": category, "count": count, "seed": seed, "format": "png"}
    answer = ask(f"{url}/generate", wish | ({"attributes": dict(attributes)} if attributes else {}))
    if answer.digest != sha256:
        raise IntegrityError(
            f"the service answers with {answer.digest[:12]}, not {sha256[:12]}", where=url, advice="promote again"
        )
    try:
        encoded = [base64.b64decode(image["data"], validate=True) for image in json.loads(answer.content)["images"]]
        pictures = np.stack([decode_png(picture) for picture in encoded])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the service's answer is no picture: {error}", where=url, advice="roll back") from error
    if len(pictures) != count:
        raise IntegrityError(f"the service answers with {len(pictures)} of {count} pictures", where=url, advice="roll back")
    return pictures
