"""The same intake on a Dask cluster that stands already: chunks of photos go to its workers, results come back in order.

Each worker takes photos in through processes of its own (sources.crew), so a hostile file ends none of Dask's. The workers read
the photos themselves: what the source names must stand at the same path for all of them (a shared file system).
"""

from __future__ import annotations

import logging
import platform
import re
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from packshot.errors import PackshotError, Unavailable, UsageError
from packshot.images.decode import PictureError, Recipe
from packshot.records import BadPhoto
from packshot.sources.base import Encoded, Photo
from packshot.sources.crew import Crew
from packshot.sources.folder import escape
from packshot.sources.intake import CHUNKS_AHEAD, Intake, make_crew

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 5
"""For the scheduler to answer."""
WORKERS_SECONDS = 30
"""For a first worker to be there, at the start and whenever the last one has gone."""

_ASK_AGAIN_SECONDS = 5.0
_DECIDING = ("packshot", "numpy", "opencv-python-headless", "pillow", "simplejpeg")
"""The packages on which the pixels, and all that is measured on them, depend."""

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}")

log = logging.getLogger(__name__)

_crews: dict[Recipe, Crew[Photo, Intake | BadPhoto]] = {}
_recruiting = threading.Lock()


class Cluster:
    """A connection to a scheduler, tcp://host:port.

    Raises UsageError where the address is none, Unavailable where Dask is not installed here, the scheduler does not answer, or
    it has no workers; `submit`'s answers raise it where a worker runs other versions, cannot see a file that is here, or the
    cluster goes away.
    """

    def __init__(self, address: str, recipe: Recipe) -> None:
        self._address, self._recipe = address, recipe
        self._client = _connect(address)
        self._threads, self._asked = 0, 0.0
        self._under_way: list[_Chunk] = []
        if not self._wait_for_workers():
            self.close()
            raise Unavailable(
                f"has no workers after {WORKERS_SECONDS} s", where=self._where, advice="start workers: dask worker ADDRESS"
            )
        log.info("intake on the Dask cluster %s, %d threads", address, self._threads)

    @property
    def window(self) -> int:
        """Chunks that may be under way; more when the cluster has grown."""
        if time.monotonic() - self._asked > _ASK_AGAIN_SECONDS:
            self._count_threads()
        return CHUNKS_AHEAD * max(1, self._threads)

    def submit(self, photos: Sequence[Photo]) -> _Chunk:
        """Send photos to whichever worker is free."""
        order = _Order(tuple(photos), self._recipe, self._recipe.digest, _versions())
        chunk = _Chunk(self, order, self._client.submit(_take, order, pure=False))
        self._under_way.append(chunk)
        return chunk

    def close(self) -> None:
        """Let go of what is under way, and of the scheduler."""
        self._client.close(timeout=CONNECT_SECONDS)

    def fetch(self, chunk: _Chunk) -> None:
        """Wait for a chunk, and bring with it all others that are done: one round trip for many.

        Dask runs a chunk again elsewhere when its worker is killed; without any worker, one is waited for.
        """
        while chunk.outcomes is None:
            try:
                if (fault := chunk.future.exception(timeout=_ASK_AGAIN_SECONDS)) is not None:
                    raise fault
                ready = [one for one in self._under_way if one.future.status == "finished"]
                for one, outcomes in zip(ready, self._client.gather([one.future for one in ready]), strict=True):
                    one.outcomes = outcomes
                    self._under_way.remove(one)
            except TimeoutError:
                if not self._wait_for_workers():
                    raise self._gone(f"has had no workers for {WORKERS_SECONDS} s") from None
            except PackshotError:
                raise
            except CancelledError as error:
                raise self._gone("went away while photos were taken in") from error
            except Exception as error:  # what a worker cannot import, or what Dask gives up on, comes back as it was raised
                detail = f"{type(error).__name__}: {error}"[:300]
                advice = "its workers must have packshot installed, the same version as here"
                raise Unavailable(f"could not run a chunk of photos: {detail}", where=self._where, advice=advice) from error

    def require_same_files(self, photos: Sequence[Photo], outcomes: Sequence[Intake | BadPhoto]) -> None:
        """Raise Unavailable where a worker could not read a file that can be read here."""
        for photo, outcome in zip(photos, outcomes, strict=True):
            if not isinstance(outcome, BadPhoto) or outcome.reason != "UNREADABLE" or not isinstance(photo.content, Encoded):
                continue
            try:
                photo.content.read()
            except PictureError:
                continue
            raise Unavailable(
                f"a worker cannot read {escape(photo.name)}, which can be read here ({outcome.detail})",
                where=self._where,
                advice="the photos must stand at the same path on every worker: share their folder, or unset PACKSHOT_DASK",
            )

    @property
    def _where(self) -> str:
        return f"the Dask cluster {self._address}"

    def _gone(self, what: str) -> Unavailable:
        return Unavailable(what, where=self._where, advice="start it again and run ingest again, or unset PACKSHOT_DASK")

    def _count_threads(self) -> None:
        try:
            self._threads = sum(self._client.nthreads().values())
        except OSError as error:
            raise self._gone("does not answer any more") from error
        self._asked = time.monotonic()

    def _wait_for_workers(self) -> bool:
        """Whether there is a worker before WORKERS_SECONDS have gone."""
        end = time.monotonic() + WORKERS_SECONDS
        self._count_threads()
        while not self._threads and time.monotonic() < end:
            time.sleep(0.2)
            self._count_threads()
        return self._threads > 0


@dataclass(frozen=True, slots=True)
class _Order:
    """What a worker is asked for; one object, so that Dask does not look for tasks in it."""

    photos: tuple[Photo, ...]
    recipe: Recipe
    digest: str
    versions: tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class _Chunk:
    """One order, and what became of it."""

    cluster: Cluster
    order: _Order
    future: Future[list[Intake | BadPhoto]]
    outcomes: list[Intake | BadPhoto] | None = None

    def result(self) -> list[Intake | BadPhoto]:
        self.cluster.fetch(self)
        outcomes = self.outcomes or []
        self.cluster.require_same_files(self.order.photos, outcomes)
        return outcomes


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        advice = "pip install 'packshot[dask]', or unset PACKSHOT_DASK"
        raise Unavailable("PACKSHOT_DASK is set, but Dask is not installed", where=address, advice=advice) from error
    if not _ADDRESS.fullmatch(address):
        advice = "say tcp://HOST:PORT, or unset it"
        raise UsageError("not the address of a Dask scheduler", where=f"PACKSHOT_DASK={address}", advice=advice)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other versions: said by the workers themselves, and of the packages that matter
            return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="packshot")
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"no scheduler answers within {CONNECT_SECONDS} s",
            where=f"PACKSHOT_DASK={address}",
            advice="start one (dask scheduler) or unset PACKSHOT_DASK",
        ) from error


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return (("python", ".".join(platform.python_version_tuple()[:2])), *((name, version(name)) for name in _DECIDING))


# --- on a worker of the cluster ---------------------------------------------------------------------------------------------


def _take(order: _Order) -> list[Intake | BadPhoto]:
    """Take a chunk in, in a process of this worker's own; whoever waits for it is one thread of the worker."""
    if order.versions != _versions() or order.digest != order.recipe.digest:
        theirs, ours = dict(order.versions), dict(_versions())
        differing = [f"{name} {theirs[name]} there, {ours[name]} here" for name in theirs if theirs[name] != ours.get(name)]
        raise Unavailable(
            f"a worker runs other versions than the one who asks: {', '.join(differing) or 'another decoder'}",
            where=f"the worker on {platform.node()}",
            advice="install the same constraints.txt on every worker",
        )
    with _recruiting:
        crew = _crews.setdefault(order.recipe, make_crew(order.recipe))
    return crew.take(order.photos)
