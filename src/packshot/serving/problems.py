"""How the service says no: RFC 9457 problem details, without a traceback, a version or a path of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.responses import Response

REFLECT = 64
"""The most characters of a caller's own text that an answer repeats."""


class Problem(Exception):
    """A request that is not answered with pictures: the status, what is wrong and what would be right."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        field: str = "",
        allowed: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.allowed = status, detail, field, tuple(allowed)
        self.headers = dict(headers or {})

    def answer(self, request_id: str) -> Response:
        """The application/problem+json that the caller gets."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.field:
            body["field"] = self.field
        if self.allowed:
            body["allowed"] = list(self.allowed)
        # ASCII throughout: a lone surrogate that a caller sent cannot break the answer.
        content = json.dumps(body, ensure_ascii=True).encode("ascii")
        return Response(content, self.status, self.headers, media_type="application/problem+json")


def quoted(text: str) -> str:
    """A caller's text as an answer or a log line may repeat it: short, printable, on one line."""
    short = text if len(text) <= REFLECT else text[: REFLECT - 1] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in short)


def malformed(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def invalid(detail: str, *, field: str = "", allowed: Sequence[str] = ()) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, field=field, allowed=allowed)


def wrong_type(allowed: Sequence[str]) -> Problem:
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"the content type must be {' or '.join(allowed)}",
        field="content-type",
        allowed=allowed,
    )


def too_large(limit: int) -> Problem:
    # The rest of the body is not read: the connection is of no more use.
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes", headers={"Connection": "close"})


def unavailable(detail: str, *, retry_seconds: int) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(retry_seconds)})


def too_late(seconds: float) -> Problem:
    return Problem(HTTPStatus.GATEWAY_TIMEOUT, f"the pictures were not ready within {seconds:g} seconds")
