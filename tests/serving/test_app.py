"""Deadlines, faults and slow bodies: what a real server cannot be made to do quickly, through the same ASGI door."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from torch import Tensor

from packshot.serving.app import Application, read_photo
from packshot.serving.bodies import read_body
from packshot.serving.engine import Engine
from packshot.serving.follow import Follower, Serving
from packshot.serving.front import LOOPBACK, Front
from packshot.serving.page import Page
from packshot.serving.problems import Problem
from tests.serving.conftest import ROOT, SLOW
from tests.serving.shelf import Shelf


async def nothing_beneath(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing goes beneath")


class Desk:
    """An application, its front, and the follower that a test may put an engine into."""

    def __init__(self, folder: Path, deadline_seconds: float) -> None:
        self.shelf = Shelf(folder)
        self.shelf.put(1, SLOW)
        self.shelf.serve(1, 1)
        self.follower = Follower(self.shelf.live)
        self.follower.look()
        self.application = Application(
            self.follower, Page.read(ROOT / "services/generator/page.html"), deadline_seconds=deadline_seconds
        )
        self.front = Front(
            nothing_beneath,
            own=self.application.routes,
            beneath_paths=(),
            hosts=LOOPBACK,
            follower=self.follower,
            metrics=self.application.metrics,
        )

    def call(self, work: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.front), base_url="http://localhost") as client:
                return await work(client)

        return asyncio.run(run())

    def generate(self, **fields: object) -> httpx.Response:
        return self.call(lambda client: client.post("/generate", json=fields))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, 0.1)
    yield made
    made.application.close()


def test_a_deadline_ends_the_request_and_its_work_and_leaves_no_thread(desk: Desk) -> None:
    desk.generate(category="mug", count=64)
    threads = threading.active_count()
    for _ in range(6):
        answer = desk.generate(category="mug", count=64)
        assert (answer.status_code, answer.json()["title"]) == (504, "Gateway Timeout")
    assert threading.active_count() == threads
    assert "packshot_queue_pictures 0.0" in desk.call(lambda client: client.get("/metrics")).text


def test_a_model_that_breaks_while_it_draws_is_a_500_without_its_words(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(type(desk.follower.current.engine.model)):  # type: ignore[misc,union-attr]
        def sample(self, categories: Tensor, seeds: object, conditions: Tensor | None = None) -> Tensor:
            raise ArithmeticError("secret of the model")

    now = desk.follower.current
    assert now is not None
    model = now.engine.model
    model.__class__ = Broken
    desk.follower.current = Serving(now.live, Engine(model, now.engine.card))
    with caplog.at_level(logging.ERROR, "packshot"):
        answer = desk.generate(category="mug")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "secret of the model" in caplog.text


def test_a_stopped_application_sends_its_callers_away_politely(desk: Desk) -> None:
    desk.application.close()
    answer = desk.generate(category="mug")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_websocket_is_turned_away(desk: Desk) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(desk.front({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1003}]


def request(parts: list[bytes], *, then: Callable[[], Awaitable[Message]], length: str | None = None) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": parts.pop(0), "more_body": True} if parts else await then()

    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def end() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def never() -> Message:
    await asyncio.sleep(3600)
    raise AssertionError


def test_a_body_is_read_to_its_end() -> None:
    assert asyncio.run(read_body(request([b"ab", b"cd"], then=end), 4)) == b"abcd"


def test_a_slow_body_is_given_up() -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(request([b"a"], then=never), 4, seconds=0.05))
    assert caught.value.status == HTTPStatus.REQUEST_TIMEOUT


@pytest.mark.parametrize("length", ["5", "99999999999999999999", "-1", "abc", "٣"])
def test_a_body_that_declares_too_much_is_not_read_at_all(length: str) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(request([], then=never, length=length), 4))
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_body_that_grows_past_its_limit_is_cut_off() -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(request([b"abc", b"de"], then=never), 4))
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_the_pages_policy_names_its_own_script_and_style(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<style>a{}</style><script>1</script>")
    policy = Page.read(page).policy
    assert "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='" in policy
    page.write_text("<script>1</script>")
    with pytest.raises(ValueError, match="0 <style>"):
        Page.read(page)


def test_a_photo_is_laid_on_the_backgrounds_of_the_catalogue(tmp_path: Path) -> None:
    """Red beneath what is transparent, blue beside what is not square."""
    card = Shelf(tmp_path).put(1).model_copy(update={"beneath": "#ff0000", "beside": "#0000ff"})
    photo = io.BytesIO()
    Image.new("RGBA", (8, 16), (0, 0, 0, 0)).save(photo, "PNG")
    pixels = read_photo(photo.getvalue(), card)
    assert pixels.shape == (16, 16, 3)
    assert (pixels[:, 0] == (0, 0, 255)).all()
    assert (pixels[:, 8] == (255, 0, 0)).all()
