"""Who was champion, when, by whose hand and why: an append-only ledger in SQLite, and the only judge of who is champion now.

A row is added by compare-and-set: whoever wants to follow another champion than the present one has lost, and learns to whom.
MLflow's alias and live.json are written afterwards, from what stands here.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from packshot.errors import IntegrityError, Locked, OutOfResources, PackshotError, PromotionLost, UsageError
from packshot.records import Digest, Name, Record

BUSY_SECONDS = 5.0

SCHEMA = """
CREATE TABLE entries (
    epoch INTEGER PRIMARY KEY CHECK (epoch > 0),
    act TEXT NOT NULL CHECK (act IN ('promotion', 'rollback', 'undoing')),
    model TEXT NOT NULL, version INTEGER, sha256 TEXT, verdict TEXT,
    before_version INTEGER, before_sha256 TEXT,
    made_by TEXT NOT NULL, made_at TEXT NOT NULL, reason TEXT NOT NULL,
    CHECK ((version IS NULL) = (sha256 IS NULL) AND (version IS NULL) = (verdict IS NULL))
) STRICT;
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_are_never_removed BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class Champion(Record):
    """What one entry makes champion."""

    model: Name
    version: int = Field(gt=0)
    sha256: Digest
    """Of the weights."""
    verdict: Digest
    """Of the gate's verdict on them."""


class Entry(Record):
    """One act, never changed afterwards."""

    epoch: int = Field(gt=0)
    act: Literal["promotion", "rollback", "undoing"]
    champion: Champion | None
    """None where a first promotion was undone: nobody is champion then."""
    before_version: int | None
    before_sha256: Digest | None
    by: str
    at: str
    """UTC, ISO 8601."""
    reason: str

    @property
    def sha256(self) -> str | None:
        return self.champion.sha256 if self.champion else None


class Ledger:
    """The ledger in one file. Opening it makes it where there is none, and checks it where there is one."""

    def __init__(self, path: Path) -> None:
        """Raises IntegrityError where the file is damaged, Locked where somebody else holds it for more than five seconds."""
        self.path = path
        if not path.is_file():
            self._create()
        with self._connected() as connection:
            if (found := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise self._damaged(str(found))
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "entries" not in tables:
                raise self._damaged("it has no entries table")

    def head(self) -> Entry | None:
        """The last entry; None before the first promotion."""
        with self._connected() as connection:
            return self._head(connection)

    def history(self) -> tuple[Entry, ...]:
        """Every entry, the oldest first."""
        with self._connected() as connection:
            return tuple(_entry(row) for row in connection.execute("SELECT * FROM entries ORDER BY epoch"))

    def append(
        self,
        act: Literal["promotion", "rollback", "undoing"],
        champion: Champion | None,
        *,
        after: Entry | None,
        by: str,
        reason: str,
    ) -> Entry:
        """Make `champion` the champion in place of `after`'s; durable once this returns.

        Raises PromotionLost, naming the winner, where `after` is not the last entry any more.
        """
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            head = self._head(connection)
            if head != after:
                connection.execute("ROLLBACK")
                raise _lost(head)
            entry = Entry(
                epoch=head.epoch + 1 if head else 1,
                act=act,
                champion=champion,
                before_version=head.champion.version if head and head.champion else None,
                before_sha256=head.sha256 if head else None,
                by=by,
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                reason=reason,
            )
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(entry))
            connection.execute("COMMIT")
            return entry

    def previous(self) -> Champion | None:
        """Whom a rollback puts back: the last champion with other weights that was not rolled back itself, or None."""
        stack = standing(self.history())
        return next((one for one in reversed(stack) if one.sha256 != stack[-1].sha256), None)

    def withdrawn(self) -> frozenset[str]:
        """The digests that were rolled back or undone and have not been promoted since."""
        gone: set[str] = set()
        for entry in self.history():
            if entry.act == "promotion" and entry.sha256:
                gone.discard(entry.sha256)
            elif entry.before_sha256 and entry.before_sha256 != entry.sha256:
                gone.add(entry.before_sha256)
        return frozenset(gone)

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.path.is_file():
                return
            draft = self.path.with_name(f".{self.path.name}.draft")
            draft.unlink(missing_ok=True)
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
            finally:
                connection.close()
            draft.replace(self.path)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own a call, whose faults are packshot's errors."""
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except ValidationError as error:
            fault = error.errors()[0]
            raise self._damaged(f"a row's {'.'.join(map(str, fault['loc']))} is off: {fault['msg']}") from error
        finally:
            if connection is not None:
                connection.close()

    def _explain(self, error: sqlite3.Error) -> PackshotError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return Locked("somebody else holds the ledger", where=str(self.path), advice="try again when they are done")
        if code in {
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_NOMEM,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        }:
            return OutOfResources(
                f"the ledger cannot be used: {error}", where=str(self.path), advice="mend the disk, then try again"
            )
        return self._damaged(str(error))

    def _damaged(self, how: str) -> IntegrityError:
        advice = "what is served stays as it is; put a copy of the ledger back before promoting"
        return IntegrityError(f"the ledger is damaged: {how}", where=str(self.path), advice=advice)

    @staticmethod
    def _head(connection: sqlite3.Connection) -> Entry | None:
        row = connection.execute("SELECT * FROM entries ORDER BY epoch DESC LIMIT 1").fetchone()
        return _entry(row) if row else None


def standing(history: tuple[Entry, ...]) -> list[Champion]:
    """Who would be champion after how many rollbacks, the present one last: a promotion adds one, a rollback takes away.

    So a rollback after a rollback goes further back, and never returns to what was found bad.
    """
    stack: list[Champion] = []
    for entry in history:
        if entry.act == "promotion" and entry.champion:
            stack.append(entry.champion)
            continue
        while stack and stack[-1] != entry.champion:
            stack.pop()
    return stack


def _lost(head: Entry | None) -> PackshotError:
    if head is None:
        return UsageError("the ledger has no such entry", advice="promote first")
    who = f"version {head.champion.version}" if head.champion else "nobody"
    return PromotionLost(
        f"{head.by} was first: {who} is champion since {head.at} (epoch {head.epoch})",
        advice="look at what was promoted, then review and promote again if yours is still wanted",
    )


def _row(entry: Entry) -> tuple[object, ...]:
    champion = entry.champion
    what = (champion.model, champion.version, champion.sha256, champion.verdict) if champion else ("", None, None, None)
    return (entry.epoch, entry.act, *what, entry.before_version, entry.before_sha256, entry.by, entry.at, entry.reason)


def _entry(row: tuple[object, ...]) -> Entry:
    epoch, act, model, version, sha256, verdict, before_version, before_sha256, by, at, reason = row
    champion = None if version is None else {"model": model, "version": version, "sha256": sha256, "verdict": verdict}
    return Entry.model_validate(
        {
            "epoch": epoch,
            "act": act,
            "champion": champion,
            "before_version": before_version,
            "before_sha256": before_sha256,
            "by": by,
            "at": at,
            "reason": reason,
        }
    )
