"""The service's own routes: POST /generate, POST /reconstruct, GET /describe, /readyz, /metrics and / (a page to look at)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from packshot.images.colour import parse_colour
from packshot.images.decode import PictureError, decode
from packshot.images.resize import fit_square
from packshot.records import ServiceCard
from packshot.serving.answers import Drawn, answer_error, answer_json, answer_pictures
from packshot.serving.batching import Batcher, Closed, QueueFull, Work
from packshot.serving.bodies import check_type, read_body, wait_for_leave
from packshot.serving.encoding import ENCODINGS, Pixels, encode
from packshot.serving.engine import Photo, Wish, settle
from packshot.serving.follow import Follower, Serving
from packshot.serving.front import SERVING
from packshot.serving.marks import Mark
from packshot.serving.metrics import Metrics
from packshot.serving.page import Page
from packshot.serving.problems import Problem, invalid, quoted, too_late, unavailable
from packshot.serving.requests import (
    Format,
    check_attributes,
    check_category,
    check_work,
    parse_generate,
    parse_reconstruct,
    picture_seeds,
)

JSON_BYTES = 64 * 1024
PHOTO_BYTES = 8 * 1024 * 1024
WAITING_PICTURES, WAITING_PHOTOS = 256, 8
"""How much may wait to be drawn, and to be drawn again."""
UPLOADS = 4
"""How many photos may be on their way in at once."""
DEADLINE_SECONDS = 30.0
DRAWN_SEEDS = 2**53
"""Seeds that the service draws stay below: every JSON reader, a browser's too, keeps them exact."""

Item = TypeVar("Item")


class Description(ServiceCard):
    """GET /describe: the card of the model that is served, and the epoch of its promotion."""

    epoch: int


class Application:
    """The routes, and the threads behind them: one draws, one redraws photos, two encode, one decodes.

    Redrawing has a thread of its own because a model without an encoder searches for seconds: nobody's pictures wait for that.
    """

    def __init__(self, follower: Follower, page: Page, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._follower, self._page, self._deadline = follower, page, deadline_seconds
        self._drawing = Batcher("draw", capacity=WAITING_PICTURES, begin=settle)
        self._redrawing = Batcher("redraw", capacity=WAITING_PHOTOS, begin=settle)
        self._encoders = ThreadPoolExecutor(2, "packshot-encode")
        self._decoder = ThreadPoolExecutor(1, "packshot-decode")
        self._uploads = 0
        self.metrics = Metrics(follower, lambda: self._drawing.waiting + self._redrawing.waiting)
        routes = [
            Route("/", self._index, methods=["GET"]),
            Route("/generate", self._generate, methods=["POST"]),
            Route("/reconstruct", self._reconstruct, methods=["POST"]),
            Route("/describe", self._describe, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        handlers = dict.fromkeys((Problem, HTTPException, ClientDisconnect, Exception), answer_error)
        self.routes = Starlette(routes=routes, exception_handlers=handlers)
        self.routes.router.redirect_slashes = False

    def close(self) -> None:
        """Stop the threads; whoever still waits is told to come back."""
        self._drawing.close()
        self._redrawing.close()
        self._encoders.shutdown()
        self._decoder.shutdown()

    async def _generate(self, request: Request) -> Response:
        check_type(request, ["application/json"])
        asked = parse_generate(await read_body(request, JSON_BYTES))
        serving = self._serving(request)
        card = serving.engine.card
        category = check_category(asked.category, card.categories)
        conditions = check_attributes(asked.attributes, card.conditions)
        attributes = {told.name: asked.attributes[told.name] for told in card.conditions if told.name in asked.attributes}
        check_work(asked.count, card.image)
        seeds = picture_seeds(secrets.randbelow(DRAWN_SEEDS) if asked.seed is None else asked.seed, asked.count)
        wishes = [Wish(category, seed, conditions) for seed in seeds]
        pictures = await self._await(request, self._drawing, serving.engine.drawing, wishes)
        drawn = await self._encode(serving, pictures, seeds, asked.format, attributes)
        self.metrics.count_pictures("generate", len(drawn))
        return answer_pictures(request, serving.live, asked.category, asked.format, drawn, attributes)

    async def _reconstruct(self, request: Request) -> Response:
        check_type(request, [encoding.media_type for encoding in ENCODINGS.values()])
        asked = parse_reconstruct(request.query_params)
        serving = self._serving(request)
        card = serving.engine.card
        category = check_category(asked.category, card.categories)
        if self._uploads >= UPLOADS:
            raise unavailable("too many photos are on their way in", retry_seconds=1)
        self._uploads += 1
        try:
            content = await read_body(request, PHOTO_BYTES)
            pixels = await _in(self._decoder, partial(read_photo, content, card))
        finally:
            self._uploads -= 1
        pictures = await self._await(request, self._redrawing, serving.engine.redrawing, [Photo(pixels, category)])
        drawn = await self._encode(serving, pictures, [None], asked.format, {})
        self.metrics.count_pictures("reconstruct", 1)
        return answer_pictures(request, serving.live, asked.category, asked.format, drawn)

    async def _describe(self, request: Request) -> Response:
        serving = self._serving(request)
        card = serving.engine.card
        fields = {name: getattr(card, name) for name in ServiceCard.model_fields}
        return answer_json(Description(**fields, epoch=serving.live.epoch).model_dump(mode="json"))

    async def _ready(self, request: Request) -> Response:
        now, failure = self._follower.current, self._follower.failure
        state: dict[str, object] = {"status": "ready" if now else "no model"}
        if now:
            state |= {"model": now.live.model, "version": now.live.version, "digest": now.live.sha256, "epoch": now.live.epoch}
        if failure:
            state["failed"] = {"what": failure.what, "reason": failure.reason}
        return answer_json(state, 200 if now else 503, {} if now else {"Retry-After": "1"})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.expose(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _index(self, request: Request) -> Response:
        return Response(self._page.content, headers={"Content-Security-Policy": self._page.policy}, media_type="text/html")

    def _serving(self, request: Request) -> Serving:
        serving = self._follower.current
        if serving is None:
            raise unavailable("no model has been promoted yet", retry_seconds=5)
        request.scope[SERVING] = serving
        return serving

    async def _await(self, request: Request, batcher: Batcher, work: Work[Item, Pixels], items: Sequence[Item]) -> list[Pixels]:
        """Have a thread draw; give up when the client leaves or the deadline passes."""
        try:
            ticket = batcher.submit(work, items)
        except QueueFull as error:
            raise unavailable("too many pictures are waiting to be drawn", retry_seconds=1) from error
        except Closed as error:
            raise unavailable("the service is stopping", retry_seconds=5) from error
        ready = asyncio.wrap_future(ticket.done)
        left = asyncio.create_task(wait_for_leave(request))
        either: set[asyncio.Future[Any]] = {ready, left}
        try:
            await asyncio.wait(either, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return ready.result()
            if left.done():
                raise ClientDisconnect
            raise too_late(self._deadline)
        except Closed as error:
            raise unavailable("the service is stopping", retry_seconds=5) from error
        finally:
            left.cancel()
            if not ready.done():
                batcher.cancel(ticket)

    async def _encode(
        self,
        serving: Serving,
        pictures: Sequence[Pixels],
        seeds: Sequence[int | None],
        form: Format,
        attributes: Mapping[str, str | float],
    ) -> list[Drawn]:
        def run() -> list[Drawn]:
            live = serving.live
            return [
                Drawn(seed, encode(pixels, form, Mark(live.model, live.version, live.sha256, seed, attributes)))
                for pixels, seed in zip(pictures, seeds, strict=True)
            ]

        return await _in(self._encoders, run)


def read_photo(content: bytes, card: ServiceCard) -> Pixels:
    """A photo as the model's own were prepared: uint8 (S, S, 3). Raises Problem 422 where it is none that can be read."""
    try:
        photo = decode(content, background=parse_colour(card.beneath))
        return fit_square(photo.pixels, card.image.size, parse_colour(card.beside))
    except PictureError as error:
        raise invalid(f"the photo is refused: {error.reason}: {quoted(error.detail)}", field="body") from error


Result = TypeVar("Result")


async def _in(executor: Executor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(executor, work)
