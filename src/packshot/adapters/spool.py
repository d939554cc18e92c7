"""What a training has to say while its tracking server is away: a file of JSON lines, replayed when it is back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from packshot.errors import IntegrityError
from packshot.records import Record


class Opening(Record):
    """The first line: which run it is."""

    kind: Literal["opening"] = "opening"
    server: str
    """For which server: a digest of its address."""
    identity: str
    """Of the experiment, the run's name, its parameters and its tags."""
    mlflow_run: str = ""
    """Empty where the server was away before the run could be created."""
    run: str
    started: int
    """Milliseconds since 1970, like every time here."""
    parameters: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...]


class Measured(Record):
    """One finite value of one metric."""

    kind: Literal["measured"] = "measured"
    name: str
    step: int
    value: float
    at: int


class Pictured(Record):
    """One picture."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    kind: Literal["pictured"] = "pictured"
    name: str
    step: int
    png: bytes
    at: int


class Noted(Record):
    """A tag."""

    kind: Literal["noted"] = "noted"
    name: str
    value: str


class Ended(Record):
    """The run's end."""

    kind: Literal["ended"] = "ended"
    status: Literal["FINISHED", "FAILED", "KILLED"]
    reason: str
    at: int


Event = Measured | Pictured | Noted | Ended
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


class Spool:
    """The events of one run, in order. Whoever holds a Spool holds its lock; a process that dies lets go of it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    @classmethod
    def create(cls, root: Path, opening: Opening) -> Spool:
        """A spool for this run: a new one, since one of an earlier attempt may still be waiting for its replay."""
        root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1_000_000):
            path = root / f"{opening.identity[:32]}-{attempt:04}.jsonl"
            try:
                file = path.open("x+b")
            except FileExistsError:
                continue
            fcntl.flock(file, fcntl.LOCK_EX)
            spool = cls(path, file)
            spool._write([opening])
            return spool
        raise IntegrityError("too many spools of one run", where=str(root), advice="remove those that are no longer wanted")

    @classmethod
    def waiting(cls, root: Path) -> Iterator[Spool]:
        """Every spool that no living process holds, the oldest attempt of a run first."""
        for path in sorted(root.glob("*.jsonl")):
            try:
                file = path.open("r+b")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                current = path.stat().st_ino == os.fstat(file.fileno()).st_ino
            except (BlockingIOError, FileNotFoundError):
                current = False
            if current:
                yield cls(path, file)
            else:
                file.close()

    def append(self, events: Sequence[Event]) -> None:
        """Add events at the end."""
        self._write(events)

    def read(self) -> tuple[Opening | None, list[Event]]:
        """What was written. A line that a kill tore ends the reading; without an opening there is nothing to replay."""
        self._file.seek(0)
        lines = self._file.read().splitlines()
        opening, events = None, list[Event]()
        with suppress(ValidationError):
            for line in lines:
                if opening is None:
                    opening = Opening.model_validate_json(line)
                else:
                    events.append(_EVENT.validate_json(line))
        return opening, events

    def remove(self) -> None:
        """Forget it: the server has everything."""
        self._path.unlink(missing_ok=True)
        self._file.close()

    def refuse(self) -> None:
        """Keep it under another name: the server answers, and does not want it."""
        self._path.rename(self._path.with_suffix(".refused"))
        self._file.close()

    def release(self) -> None:
        """Let go of it; it waits for its replay."""
        self._file.close()

    def _write(self, records: Sequence[Record]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(record.model_dump_json().encode() + b"\n" for record in records))
        self._file.flush()
