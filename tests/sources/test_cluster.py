from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from packshot.errors import PackshotError, Unavailable, UsageError
from packshot.images.decode import Recipe
from packshot.records import BadPhoto
from packshot.sources import cluster
from packshot.sources.base import Drawing, Encoded, File, Photo
from packshot.sources.intake import Intake, take_all
from packshot.sources.synthetic import Synthetic
from tests.images.files import jpeg, png, product
from tests.sources.drawings import HERE, OnlyHere, die, draw, draw_late, gorge

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(side=64, background="#ffffff")
ONE_A_CHUNK = Recipe(side=2048, background="#ffffff")

pytestmark = pytest.mark.servers


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of Dask's programs on the loopback interface, ended with all its children."""
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    told = folder / "scheduler.json"
    words = (
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(told),
    )
    with program(*words) as process:
        wait_until(lambda: (told.is_file() and told.stat().st_size > 0) or process.poll() is not None)
        yield json.loads(told.read_text())["address"]


def worker(address: str, folder: Path, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    words = ("--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder), *options)
    return program("distributed.cli.dask_worker", address, *words)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass(frozen=True)
class Two:
    """A scheduler and two workers; a nanny watches the second one, as is Dask's habit, so that it may have no children."""

    address: str
    nanny: psutil.Process


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("dask")
    with scheduler(folder) as told, worker(told, folder, "--no-nanny"), worker(told, folder, "--nanny") as watched:
        yield Two(told, psutil.Process(watched.pid))


@pytest.fixture
def on_dask(two: Two, monkeypatch: pytest.MonkeyPatch) -> Two:
    monkeypatch.setenv("PACKSHOT_DASK", two.address)
    return two


def photo(name: str, content: Encoded | Drawing) -> Photo:
    return Photo(name=name, category="hat", content=content)


def facts(one: Intake | BadPhoto) -> object:
    """All that an outcome says; a drawing equals none but itself, so a photo is known by its name."""
    if isinstance(one, BadPhoto):
        return one
    return {name: getattr(one, name) for name in Intake.__slots__ if name != "photo"} | {"name": one.photo.name}


def test_a_cluster_s_result_is_this_machine_s(on_dask: Two, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(product(3, 90, 120)), "b.png": png(), "cut.jpg": jpeg()[:300], "empty.jpg": b"", "c.jpg": png()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    items: list[Photo | BadPhoto] = [photo(name, File(tmp_path / name)) for name in [*files, "gone.jpg"]]
    items += [
        BadPhoto(path="x", category="hat", reason="SYMLINK", detail="a link"),
        photo("die", partial(die, signal.SIGSEGV)),
        photo("gorge", gorge),
    ]
    items += Synthetic(path="src", count=60, seed=7, size=64).photos(tmp_path)
    there = list(take_all(items, RECIPE))
    monkeypatch.delenv("PACKSHOT_DASK")
    here = list(take_all(items, RECIPE))
    assert [facts(one) for one in there] == [facts(one) for one in here]
    reasons = [one.reason for one in there if isinstance(one, BadPhoto)]
    assert reasons == ["TRUNCATED", "EMPTY", "EXTENSION", "UNREADABLE", "SYMLINK", "CRASHED", "BUDGET"]


def test_only_so_much_is_under_way(on_dask: Two) -> None:
    asked = 0

    def endless() -> Iterator[Photo]:
        nonlocal asked
        while True:
            asked += 1
            yield photo(str(asked), partial(draw, asked))

    found = take_all(endless(), ONE_A_CHUNK)
    for _ in range(10):
        next(found)
    assert 10 < asked <= 10 + 2 * cluster.CHUNKS_AHEAD
    found.close()


def test_a_file_that_only_this_machine_sees_is_no_bad_photo(on_dask: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HERE, "yes")
    with pytest.raises(Unavailable, match=r"a worker cannot read hat/a.jpg.*same path on every worker"):
        list(take_all([photo("hat/a.jpg", OnlyHere())], RECIPE))


def test_workers_of_other_versions_are_refused(on_dask: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_versions", lambda: (("python", "3.11"), ("numpy", "0.9"), ("pillow", "1.0")))
    with pytest.raises(Unavailable, match=r"other versions.*numpy 0\.9 there, .* here.*constraints\.txt") as caught:
        list(take_all([photo("a", partial(draw, 1))], RECIPE))
    assert caught.value.exit_code == 20


def test_a_worker_that_is_killed_costs_nothing_and_leaves_nothing(on_dask: Two) -> None:
    found = take_all([photo(str(index), partial(draw_late, index)) for index in range(30)], ONE_A_CHUNK)
    there = [next(found)]
    wait_until(lambda: bool(_decoders(on_dask.nanny)))
    orphans = _decoders(on_dask.nanny)
    for process in on_dask.nanny.children():
        if process.children():
            process.kill()
    there += found
    _, alive = psutil.wait_procs(orphans, timeout=30)
    assert not alive
    assert [one.photo.name for one in there if isinstance(one, Intake)] == [str(index) for index in range(30)]


def _decoders(nanny: psutil.Process) -> list[psutil.Process]:
    """The processes that the nanny's worker takes photos in with, all forked by one server."""
    servers = [server for process in nanny.children() for server in process.children()]
    return [one for server in servers for one in server.children()]


# --- no cluster -------------------------------------------------------------------------------------------------------------


def test_a_scheduler_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("PACKSHOT_DASK", address)
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
        with pytest.raises(Unavailable, match=r"no scheduler answers within 1 s.*PACKSHOT_DASK") as caught:
            next(take_all([photo("a", partial(draw, 1))], RECIPE))
    assert caught.value.exit_code == 20


@pytest.mark.parametrize(
    ("address", "kind", "told"),
    [
        ("nonsense", UsageError, "not the address of a Dask scheduler: PACKSHOT_DASK=nonsense: say tcp://HOST:PORT"),
        ("nonsense://x:1", UsageError, "not the address"),
        ("tcp://127.0.0.1", UsageError, "not the address"),
        ("tcp://nowhere.invalid:1", Unavailable, "no scheduler answers"),
    ],
)
def test_an_address_that_is_none_is_said(
    monkeypatch: pytest.MonkeyPatch, address: str, kind: type[PackshotError], told: str
) -> None:
    monkeypatch.setenv("PACKSHOT_DASK", address)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(kind, match=told):
        next(take_all([photo("a", partial(draw, 1))], RECIPE))


def test_a_cluster_without_workers_is_said_and_one_that_goes_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    photos = [photo(str(index), partial(draw_late, index)) for index in range(100)]
    with scheduler(tmp_path) as address:
        monkeypatch.setenv("PACKSHOT_DASK", address)
        with monkeypatch.context() as hasty:
            hasty.setattr(cluster, "WORKERS_SECONDS", 0)
            with pytest.raises(Unavailable, match="has no workers after 0 s"):
                next(take_all(photos, RECIPE))
        with worker(address, tmp_path, "--no-nanny"):
            found = take_all(photos, ONE_A_CHUNK)
            next(found)
            for process in psutil.Process().children():
                if str(tmp_path / "scheduler.json") in process.cmdline():
                    process.kill()
            with pytest.raises(Unavailable, match="the Dask cluster"):
                list(found)


def test_all_that_decodes_must_be_of_one_version_everywhere() -> None:
    names = {"cv2": "opencv-python-headless", "PIL": "pillow", "numpy": "numpy", "simplejpeg": "simplejpeg"}
    package = Path(cluster.__file__).parents[1] / "images"
    text = "".join((package / f"{name}.py").read_text() for name in ("decode", "colour", "resize", "sheet", "skeleton"))
    used = set(re.findall(r"^ *(?:import|from) (cv2|PIL|numpy|simplejpeg)\b", text, re.MULTILINE))
    assert used == names.keys()
    assert {names[one] for one in used} <= dict(cluster._versions()).keys()


def test_dask_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_DASK", "tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Unavailable, match=r"Dask is not installed.*packshot\[dask\]"):
        next(take_all([photo("a", partial(draw, 1))], RECIPE))
