"""How the service answers: pictures as themselves or as JSON, and every fault as a problem."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from packshot.records import Live
from packshot.serving.encoding import ENCODINGS
from packshot.serving.front import CLIENT_LEFT, REQUEST_ID
from packshot.serving.problems import Problem, quoted
from packshot.serving.requests import Format


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture of an answer."""

    seed: int | None
    content: bytes


def answer_pictures(
    request: Request,
    live: Live,
    category: str,
    form: Format,
    drawn: Sequence[Drawn],
    attributes: Mapping[str, str | float] | None = None,
) -> Response:
    """One picture is answered as its own bytes, unless the caller accepts JSON by name; several are always JSON."""
    media_type = ENCODINGS[form].media_type
    if len(drawn) == 1 and "application/json" not in request.headers.get("accept", "").lower():
        headers = {} if drawn[0].seed is None else {"X-Packshot-Seed": str(drawn[0].seed)}
        return Response(drawn[0].content, headers=headers, media_type=media_type)
    images = [
        {"data": base64.b64encode(one.content).decode("ascii")} | ({} if one.seed is None else {"seed": one.seed})
        for one in drawn
    ]
    told = {
        "model": live.model,
        "version": live.version,
        "digest": live.sha256,
        "category": category,
        "media_type": media_type,
        "images": images,
    }
    return answer_json(told | ({"attributes": dict(attributes)} if attributes else {}))


def answer_json(content: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(content).encode("ascii"), status, headers, media_type="application/json")


async def answer_error(request: Request, error: Exception) -> Response:
    """Refusals and faults as problems (a 405 keeps its Allow). Starlette raises a fault on, and the front logs it."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_LEFT)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        gone = status == HTTPStatus.NOT_FOUND
        detail = "there is nothing at this path" if gone else f"{quoted(request.method)} is not offered here"
        error = Problem(status, detail, headers=error.headers)
    if not isinstance(error, Problem):
        error = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log has more under this request id")
    return error.answer(request.scope[REQUEST_ID])
