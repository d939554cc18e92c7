"""Bodies are read within bounds: of kind, of size and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from packshot.serving.problems import Problem, too_large, wrong_type

BODY_SECONDS = 10.0


def check_type(request: Request, allowed: Sequence[str]) -> None:
    """Raise Problem 415 unless the body is declared as one of `allowed`.

    A page of another site cannot send these types without asking first, and this service never says yes.
    """
    essence, _, parameters = request.headers.get("content-type", "").partition(";")
    if essence.strip().lower() not in allowed or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise wrong_type(allowed)
    if "charset" in parameters.lower() and "utf-8" not in parameters.lower():
        raise wrong_type([f"{kind}; charset=utf-8" for kind in allowed])


async def read_body(request: Request, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """Read the whole body. Raises Problem: 413 past `limit` bytes, 408 past `seconds`; ClientDisconnect where the client left."""
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or len(declared) > 18 or int(declared) > limit:
        raise too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large(limit)
    except TimeoutError as error:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} seconds", headers={"Connection": "close"}
        ) from error
    return bytes(body)


async def wait_for_leave(request: Request) -> None:
    """Return when the client has left. The body has been read before."""
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        return
