"""Photos taken in: decoded, fitted, measured and fingerprinted, here on every core or on a cluster, with the same result."""

from __future__ import annotations

import hashlib
import logging
import os
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from packshot.images.decode import PictureError, Recipe, decode
from packshot.images.fingerprint import Fingerprint, fingerprint, pixel_digest
from packshot.images.measure import Measures, describe_shape, measure
from packshot.images.resize import fit_within
from packshot.images.sheet import encode_png
from packshot.records import BadPhoto
from packshot.sources.base import Encoded, Photo, Pixels
from packshot.sources.crew import Crew, Death
from packshot.sources.folder import escape

CHUNK_PHOTOS = 32
"""Photos that go to a process at a time, so that what it costs to send them is small beside the work."""
CHUNK_BYTES = 16 * 1024 * 1024
"""Of pictures that come back at a time, at most; large ones go in smaller chunks."""
CHUNKS_AHEAD = 4
"""Chunks under way or finished and not yet asked for, a process: one slow photo holds up no other, and memory stays flat."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """What one photo became: the accepted picture and all that is known about it."""

    photo: Photo
    sha256: str
    """Of the file's bytes; of a drawing's pixels."""
    pixels: str
    """The digest of the stored pixels (images.fingerprint.pixel_digest)."""
    png: bytes
    """The stored pixels."""
    format: str
    """JPEG, PNG, WEBP or DRAWN."""
    width: int
    height: int
    """Pixels of the original, upright."""
    file_bytes: int
    prints: Fingerprint
    measures: Measures
    shape: bytes
    """images.measure.describe_shape."""


def take(photo: Photo, recipe: Recipe) -> Intake | BadPhoto:
    """Take one photo in, in this process; or the reason why not.

    FAULT is the reason where packshot itself fails over it, CHANGED where the bytes are not those that the source announced.
    Raises MemoryError.
    """
    sha256 = ""
    try:
        if isinstance(photo.content, Encoded):
            content = photo.content.read()
            sha256 = hashlib.sha256(content).hexdigest()
            if photo.sha256 not in {"", sha256}:
                return bad_photo(photo, "CHANGED", f"its sha256 is {sha256}; the source announced {photo.sha256}")
            decoded = decode(content, background=recipe.colour, suffix=photo.content.suffix)
            original, form = decoded.pixels, str(decoded.format)
        else:
            original, form = photo.content(), "DRAWN"
            content = _raw(original)
            sha256 = hashlib.sha256(content).hexdigest()
        fitted = fit_within(original, recipe.side)
        return Intake(
            photo=photo,
            sha256=sha256,
            pixels=pixel_digest(fitted),
            png=encode_png(fitted),
            format=form,
            width=original.shape[1],
            height=original.shape[0],
            file_bytes=len(content),
            prints=fingerprint(fitted),
            measures=measure(fitted),
            shape=describe_shape(fitted),
        )
    except Exception as error:
        _require_memory(error)
        if isinstance(error, PictureError):
            return bad_photo(photo, error.reason, error.detail, sha256=sha256)
        return bad_photo(photo, "FAULT", _place(error))


def take_all(items: Iterable[Photo | BadPhoto], recipe: Recipe) -> Iterator[Intake | BadPhoto]:
    """Take photos in on every core, or on the Dask cluster that PACKSHOT_DASK names, in their order; BadPhotos pass through.

    A photo over which a process dies comes out as a BadPhoto, with a reason of `sources.crew`. Memory is bounded whatever the
    number of photos: here by CHUNKS_AHEAD chunks of CHUNK_PHOTOS photos and CHUNK_BYTES of pictures at most, 64 MB a process;
    in each process by worker.MEMORY_BYTES.
    """
    size = max(1, min(CHUNK_PHOTOS, CHUNK_BYTES // (3 * recipe.side**2)))
    left = iter(items)
    engine = _engine(recipe)
    under_way: deque[_Chunk] = deque()
    try:
        while chunk := list(islice(left, size)):
            under_way.append(_start(chunk, engine))
            while len(under_way) >= engine.window:
                yield from _finish(under_way.popleft())
        while under_way:
            yield from _finish(under_way.popleft())
    finally:
        engine.close()


class Answer(Protocol):
    """What will become of one chunk's photos."""

    def result(self) -> list[Intake | BadPhoto]: ...


class Engine(Protocol):
    """Where chunks of photos are taken in."""

    @property
    def window(self) -> int:
        """Chunks that may be under way."""

    def submit(self, photos: Sequence[Photo]) -> Answer: ...

    def close(self) -> None:
        """End what is under way."""


def make_crew(recipe: Recipe) -> Crew[Photo, Intake | BadPhoto]:
    """Processes on this machine that take photos in."""
    return Crew(partial(take, recipe=recipe), _refuse, preload=[__name__, "cv2"])


def bad_photo(photo: Photo, reason: str, detail: str, *, sha256: str = "") -> BadPhoto:
    """A refused photo, its name safe to print."""
    return BadPhoto(path=escape(photo.name), category=escape(photo.category), reason=reason, detail=escape(detail), sha256=sha256)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive items, and what becomes of the photos among them."""

    items: list[Photo | BadPhoto]
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Nothing:
    def result(self) -> list[Intake | BadPhoto]:
        return []


def _start(items: list[Photo | BadPhoto], engine: Engine) -> _Chunk:
    photos = [item for item in items if isinstance(item, Photo)]
    return _Chunk(items, engine.submit(photos) if photos else _Nothing())


def _finish(chunk: _Chunk) -> Iterator[Intake | BadPhoto]:
    outcomes = iter(chunk.answer.result())
    for item in chunk.items:
        yield item if isinstance(item, BadPhoto) else next(outcomes)


class _Local:
    """A thread for each core, each waiting for a process of its own."""

    def __init__(self, recipe: Recipe) -> None:
        workers = count_cores()
        self.window = CHUNKS_AHEAD * workers
        self._crew = make_crew(recipe)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="intake")

    def submit(self, photos: Sequence[Photo]) -> Future[list[Intake | BadPhoto]]:
        return self._threads.submit(self._crew.take, photos)

    def close(self) -> None:
        self._crew.close()
        self._threads.shutdown(wait=True, cancel_futures=True)


def _engine(recipe: Recipe) -> Engine:
    if address := os.environ.get("PACKSHOT_DASK"):
        from packshot.sources.cluster import Cluster

        return Cluster(address, recipe)
    return _Local(recipe)


def _refuse(photo: Photo, death: Death) -> BadPhoto:
    """A photo over which a process died; its bytes are read here to know them again, unless reading them may have blocked."""
    log.warning("%s: %s: %s", escape(photo.name), death.reason, death.detail)
    sha256 = photo.sha256
    if not sha256 and (death.is_certain or death.reason != "TIMEOUT") and isinstance(photo.content, Encoded):
        try:
            sha256 = hashlib.sha256(photo.content.read()).hexdigest()
        except PictureError:
            sha256 = ""
    return bad_photo(photo, death.reason, death.detail, sha256=sha256)


def _require_memory(error: BaseException | None) -> None:
    """Raise MemoryError where that is what is behind an error."""
    while error is not None:
        if isinstance(error, MemoryError) or (type(error).__module__ == "cv2" and getattr(error, "code", 0) == -4):
            raise MemoryError from error
        error = error.__cause__ or error.__context__


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"[:300]


def count_cores() -> int:
    """The cores that this process may use: those it is bound to, and no more than its container's share of time (cgroup v2)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return bound if quota == "max" else max(1, min(bound, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        return bound


def _raw(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()
