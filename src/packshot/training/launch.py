"""How the processes of one training come together, and how they end: all of them, soon, with one line of what was wrong.

The process that a person starts is the first one and starts the others itself: the same command, told its place in the
environment as torchrun tells it. Under torchrun, which starts them all, nothing else changes.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from packshot.errors import OutOfResources, PackshotError, Unavailable, UsageError, kind_of
from packshot.training.hardware import Machine, choose_device
from packshot.training.params import TrainParams
from packshot.training.ranks import PATIENCE

HOST = "127.0.0.1"
LEASH = "TRAIN_LEASH"
"""Set where the standard input is the one that the first process holds: it ends when that process does, however it ends."""
SECONDS_TO_START, SECONDS_TO_TELL, SECONDS_TO_END = 300.0, 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which of a training's processes this is, and which of those on this host."""

    rank: int = 0
    count: int = 1
    local: int = 0


@contextmanager
def join(params: TrainParams, project: Path) -> Iterator[Place]:
    """Be one of the `train.processes` that train together; the first one, where nobody says otherwise, starts the rest.

    Raises UsageError where the machine has no room for them or torchrun started another number; what ended another process, in
    the first one; Unavailable in one that lost the others.
    """
    place = _told()
    if place.count == 1 == params.processes:
        yield place
        return
    started = "WORLD_SIZE" in os.environ
    if started and place.count != params.processes:
        raise UsageError(
            f"{place.count} processes were started, and train.processes is {params.processes}",
            where="WORLD_SIZE",
            advice="start as many: their number is part of a training's identity",
        )
    Machine.choose(params, place.local)  # Refuse what is not there before anything is started.
    if started:
        with _following(place, params) as group:
            yield group
    else:
        with _leading(params, project) as group:
            yield group


def _told() -> Place:
    rank, count, local = (os.environ.get(name, default) for name, default in _ENVIRONMENT)
    if not (rank.isdecimal() and count.isdecimal() and local.isdecimal() and int(rank) < int(count)):
        raise UsageError(f"RANK={rank} WORLD_SIZE={count} LOCAL_RANK={local} is no place", advice="leave them to torchrun")
    return Place(int(rank), int(count), int(local))


_ENVIRONMENT = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@contextmanager
def _following(place: Place, params: TrainParams) -> Iterator[Place]:
    """Go along with the first process; say nothing but an error, and end when it ends."""
    store: TCPStore | None = None
    if os.environ.get(LEASH):
        threading.Thread(target=_end_with_the_first, daemon=True).start()
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), place.count, is_master=False)
        store.set(f"here/{place.rank}", "")
    if place.rank:
        logging.disable(logging.WARNING)
    try:
        with _group(place, params, store):
            yield place
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        told = "another process of this training has ended"
        raise Unavailable(told, where=f"process {place.rank}", advice="its own line says why") from error
    finally:
        logging.disable(logging.NOTSET)


def _end_with_the_first() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _is_of_the_others(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


@contextmanager
def _leading(params: TrainParams, project: Path) -> Iterator[Place]:
    """Start the others, come together, and see all of them to their end."""
    place = Place(0, params.processes, 0)
    with socket.socket() as door, _this_host_alone():
        door.bind((HOST, 0))
        door.listen()
        port = door.getsockname()[1]
        store = TCPStore(
            HOST, port, place.count, is_master=True, wait_for_workers=False, timeout=PATIENCE, master_listen_fd=door.detach()
        )
        others = _Others.start(place.count, port, project)
        try:
            others.wait_for(store)
            with _group(place, params, store, others):
                yield place
            others.wait_for_the_end()
        except RuntimeError as error:
            # One that ended took the connection with it: what it has to say comes first.
            others.raise_their_error(SECONDS_TO_TELL, error)
            raise
        finally:
            others.end()


@contextmanager
def _group(place: Place, params: TrainParams, store: TCPStore | None, others: _Others | None = None) -> Iterator[None]:
    """A process group: gloo between CPUs, NCCL between GPUs."""
    cuda = choose_device(params.device).type == "cuda"
    device = torch.device("cuda", place.local) if cuda else None
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=store,
        rank=place.rank if store else -1,
        world_size=place.count if store else -1,
        timeout=PATIENCE,
        device_id=device,
    )
    try:
        if others and cuda:
            # A kernel that waits for a process that has ended waits on; gloo sees the closed connection by itself.
            threading.Thread(target=others.abort_when_one_fails, daemon=True).start()
        yield
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


@contextmanager
def _this_host_alone() -> Iterator[None]:
    """Let gloo and NCCL use the loopback interface."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, loopback))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@dataclass(slots=True)
class _Others:
    """The processes that the first one started."""

    running: Sequence[subprocess.Popen[bytes]]
    told: Sequence[IO[bytes]]
    """What each wrote to its standard error."""
    over: bool = False

    @classmethod
    def start(cls, count: int, port: int, project: Path) -> _Others:
        told = [tempfile.TemporaryFile() for _ in range(1, count)]  # noqa: SIM115 - closed by `end`
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": HOST, "MASTER_PORT": str(port), LEASH: "1"}
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "packshot.cli", "train"],
                cwd=project,
                env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=told[rank - 1],
                start_new_session=True,  # Ctrl-C is for the first one, which the others follow
            )
            for rank in range(1, count)
        ]
        return cls(running, told)

    def wait_for(self, store: TCPStore) -> None:
        """Wait until every process is there. Raises what ended one of them before it was."""
        until = time.monotonic() + SECONDS_TO_START
        keys = [f"here/{rank}" for rank in range(1, len(self.running) + 1)]
        while not store.check(keys):
            self._raise_if_one_failed(None)
            if time.monotonic() > until:
                raise Unavailable("the other processes did not start", where="train.processes", advice="is the machine busy?")
            time.sleep(0.02)

    def wait_for_the_end(self) -> None:
        """Wait until every process has ended well. Raises what was wrong where one has not."""
        for process in self.running:
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                raise Unavailable("a process of this training does not end", where=f"pid {process.pid}") from None
        self._raise_if_one_failed(None)

    def raise_their_error(self, patience: float, because: Exception) -> None:
        """Raise what ended one of them, where one ends within `patience` seconds."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            self._raise_if_one_failed(because)
            time.sleep(0.02)

    def abort_when_one_fails(self) -> None:
        while not self.over:
            if any(process.poll() for process in self.running) and distributed.is_initialized():
                world = distributed.group.WORLD
                if world is not None:
                    world.abort()
                return
            time.sleep(0.5)

    def end(self) -> None:
        """End what is still running."""
        self.over = True
        for process, told in zip(self.running, self.told, strict=True):
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
            told.close()

    def _raise_if_one_failed(self, because: Exception | None) -> None:
        # The first cause: those that only lost another process end as unavailable.
        ended = [(place, process.poll()) for place, process in enumerate(self.running)]
        errors = [self._error_of(place, code) for place, code in ended if code]
        for error in sorted(errors, key=lambda error: isinstance(error, Unavailable)):
            raise error from because

    def _error_of(self, place: int, code: int) -> PackshotError:
        where = f"process {place + 1}"
        self.told[place].seek(0)
        told = self.told[place].read().decode(errors="replace")
        if lines := re.findall(r"^packshot: E\d+ (.*)$", told, flags=re.MULTILINE):
            return kind_of(code)(lines[-1])
        if code == -signal.SIGKILL:
            advice = "often the memory ran out: fewer processes, or a smaller batch"
            return OutOfResources("it was killed", where=where, advice=advice)
        end = told.strip().splitlines()[-1:] or [""]
        return PackshotError(f"it ended with code {code}: {end[0]}", where=where, advice="run it again with --debug")
