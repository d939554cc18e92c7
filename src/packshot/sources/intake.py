"""Photos taken in: decoded, fitted, measured and fingerprinted on every core, in processes that may die without harm."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packshot.errors import PackshotError
from packshot.images.colour import Colour
from packshot.images.decode import PictureError, decode, read_file
from packshot.images.fingerprint import Fingerprint, fingerprint, pixel_digest
from packshot.images.measure import Measures, measure
from packshot.images.resize import fit_within
from packshot.images.sheet import encode_png
from packshot.records import BadPhoto
from packshot.sources.base import Photo, Pixels
from packshot.sources.folder import escape

SECONDS_A_PHOTO = 60
"""A worker that needs longer for one photo dies by the alarm, and the photo is refused."""

_AHEAD = 8
"""Photos under way, a worker: enough that none waits, little enough that memory stays flat."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """What one photo became: the accepted picture and all that is known about it."""

    photo: Photo
    sha256: str
    pixels: str
    png: bytes
    format: str
    width: int
    height: int
    file_bytes: int
    prints: Fingerprint
    measures: Measures


def take(photo: Photo, side: int, background: Colour) -> Intake | BadPhoto:
    """Take one photo in: fitted into `side` x `side`, never enlarged; or the reason why not."""
    try:
        if isinstance(photo.content, Path):
            content = read_file(photo.content)
            decoded = decode(content, background=background, suffix=photo.content.suffix)
            original, form = decoded.pixels, str(decoded.format)
        else:
            original, form = photo.content(), "DRAWN"
            content = _raw(original)
    except PictureError as fault:
        return _bad(photo, fault.reason, fault.detail)
    fitted = fit_within(original, side)
    return Intake(
        photo=photo,
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=pixel_digest(fitted),
        png=encode_png(fitted),
        format=form,
        width=original.shape[1],
        height=original.shape[0],
        file_bytes=len(content),
        prints=fingerprint(fitted),
        measures=measure(fitted),
    )


def take_all(items: Iterable[Photo | BadPhoto], side: int, background: Colour) -> Iterator[Intake | BadPhoto]:
    """Take photos in on every core, in their order; what is bad already passes through.

    A photo whose worker dies (a fault of a decoder, its memory, its minute) comes out as a BadPhoto with the reason CRASHED.
    """
    with _Crew(_cores(), side, background) as crew:
        under_way: deque[_Place] = deque()
        for item in items:
            under_way.append(crew.start(item))
            if len(under_way) >= _AHEAD * crew.workers:
                yield _next(under_way, crew)
        while under_way:
            yield _next(under_way, crew)


@dataclass(slots=True)
class _Place:
    """One item's place in the queue: what it became, or who is at it."""

    photo: Photo | None
    outcome: Intake | BadPhoto | None = None
    future: Future[Intake | BadPhoto] | None = None


class _Crew:
    """Worker processes, replaced when one of them dies."""

    def __init__(self, workers: int, side: int, background: Colour) -> None:
        self.workers, self.side, self.background = workers, side, background
        self._pool = _recruit(workers)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, item: Photo | BadPhoto) -> _Place:
        """Begin with one item; a crew that has lost a worker begins nothing, and the place waits for `settle`."""
        if isinstance(item, BadPhoto):
            return _Place(photo=None, outcome=item)
        try:
            return _Place(photo=item, future=self._pool.submit(_take, item, self.side, self.background))
        except BrokenProcessPool:
            return _Place(photo=item)

    def settle(self, places: Iterable[_Place]) -> None:
        """After a death: finish what was under way one by one, so that the next death has one cause; then recruit anew."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        pool = _recruit(1)
        for place in places:
            if place.photo is None or place.outcome is not None or _finished(place.future):
                continue
            _require_workers(pool)
            try:
                place.outcome = pool.submit(_take, place.photo, self.side, self.background).result()
            except BrokenProcessPool:
                log.warning("a worker died over %s", escape(place.photo.name))
                place.outcome = _bad(place.photo, "CRASHED", "the decoder died over it, or needed more than a minute")
                pool = _recruit(1)
        pool.shutdown(wait=True)
        self._pool = _recruit(self.workers)


def _next(under_way: deque[_Place], crew: _Crew) -> Intake | BadPhoto:
    """What the first place in the queue became."""
    place = under_way[0]
    if place.outcome is None and place.future is not None:
        try:
            place.outcome = place.future.result()
        except (BrokenProcessPool, CancelledError):
            place.future = None
    if place.outcome is None:
        crew.settle(under_way)
    under_way.popleft()
    if place.outcome is None:
        raise PackshotError("a photo was neither taken nor refused", where=place.photo.name if place.photo else "")
    return place.outcome


def _finished(future: Future[Intake | BadPhoto] | None) -> bool:
    return future is not None and future.done() and not future.cancelled() and future.exception() is None


def _recruit(workers: int) -> ProcessPoolExecutor:
    """Fresh workers, forked from a server that has only this module: no thread, lock or GPU of the caller is in them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start)


def _require_workers(pool: ProcessPoolExecutor) -> None:
    """A crew that cannot even start must not be blamed on the photos."""
    try:
        pool.submit(_cores).result()
    except BrokenProcessPool as error:
        raise PackshotError("worker processes do not start", advice="start packshot from a file or its command") from error


def _bad(photo: Photo, reason: str, detail: str) -> BadPhoto:
    return BadPhoto(path=escape(photo.name), category=escape(photo.category), reason=reason, detail=escape(detail))


def _start() -> None:
    """A worker's first act: one thread each, Ctrl-C is the parent's to answer, and none outlives a parent that was killed."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _take(photo: Photo, side: int, background: Colour) -> Intake | BadPhoto:
    signal.alarm(SECONDS_A_PHOTO)
    try:
        return take(photo, side, background)
    finally:
        signal.alarm(0)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _raw(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()
