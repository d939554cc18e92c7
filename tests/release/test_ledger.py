"""The ledger: one winner an epoch, nothing changed afterwards, damage noticed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from packshot.errors import IntegrityError, Locked, PromotionLost
from packshot.release import ledger as room
from packshot.release.ledger import Champion, Entry, Ledger

RACER = """
import json, sys, pathlib
from packshot.errors import PromotionLost
from packshot.release.ledger import Champion, Ledger
path, me, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
answers = []
for number in range(rounds):
    assert sys.stdin.readline()
    ledger = Ledger(path)
    seen = ledger.head()
    print("ready", flush=True)
    assert sys.stdin.readline()
    champion = Champion(model="m", version=me + 1, sha256=f"{me:064x}", verdict="0" * 64)
    try:
        entry = ledger.append("promotion", champion, after=seen, by=f"racer {me}", reason="race")
        print(json.dumps(["won", entry.epoch]), flush=True)
    except PromotionLost as lost:
        print(json.dumps(["lost", str(lost)]), flush=True)
"""


def champion(number: int) -> Champion:
    return Champion(model="packshot", version=number, sha256=f"{number:064x}", verdict=f"{number + 100:064x}")


def promoted(ledger: Ledger, *numbers: int) -> Entry:
    for number in numbers:
        entry = ledger.append("promotion", champion(number), after=ledger.head(), by="ada", reason="better")
    return entry


def rolled_back(ledger: Ledger) -> Champion:
    previous = ledger.previous()
    assert previous is not None
    ledger.append("rollback", previous, after=ledger.head(), by="bob", reason="worse")
    return previous


def test_of_eight_racing_processes_exactly_one_wins_each_round(tmp_path: Path) -> None:
    path, rounds, racers = tmp_path / "var" / "ledger.db", 5, []
    for me in range(8):
        command = [sys.executable, "-c", RACER, str(path), str(me), str(rounds)]
        racers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1))

    def say(word: str) -> list[str]:
        for racer in racers:
            assert racer.stdin
            racer.stdin.write(word + "\n")
        return [racer.stdout.readline() for racer in racers if racer.stdout]

    for epoch in range(1, rounds + 1):
        assert say("look") == ["ready\n"] * 8
        answers = [json.loads(line) for line in say("go")]
        winners = [me for me, answer in enumerate(answers) if answer[0] == "won"]
        assert len(winners) == 1
        assert answers[winners[0]] == ["won", epoch]
        head = Ledger(path).head()
        assert head is not None
        assert head.by == f"racer {winners[0]}"
        if epoch > 1:
            assert all(f"racer {winners[0]} was first" in answer[1] for answer in answers if answer[0] == "lost")
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 0
    assert [entry.epoch for entry in Ledger(path).history()] == list(range(1, rounds + 1))


def test_whoever_follows_an_old_champion_has_lost_and_learns_to_whom(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    first = promoted(ledger, 1)
    promoted(ledger, 2)
    with pytest.raises(PromotionLost, match=r"ada was first: version 2 is champion since .* \(epoch 2\)"):
        ledger.append("promotion", champion(3), after=first, by="eve", reason="mine")
    assert len(ledger.history()) == 2


def test_rolling_back_twice_goes_further_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    promoted(ledger, 1, 2, 3)
    assert rolled_back(ledger) == champion(2)
    assert rolled_back(ledger) == champion(1)
    assert ledger.previous() is None
    promoted(ledger, 4)
    assert rolled_back(ledger) == champion(1)
    assert [entry.champion.version for entry in ledger.history() if entry.champion] == [1, 2, 3, 2, 1, 4, 1]


def test_a_rollback_never_ends_on_the_same_weights(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    promoted(ledger, 1, 2)
    again = champion(2).model_copy(update={"version": 3, "verdict": "f" * 64})
    ledger.append("promotion", again, after=ledger.head(), by="ada", reason="judged by another policy")
    assert rolled_back(ledger) == champion(1)


def test_what_was_rolled_back_is_known_until_it_is_promoted_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    promoted(ledger, 1, 2)
    rolled_back(ledger)
    assert ledger.withdrawn() == {champion(2).sha256}
    promoted(ledger, 2)
    assert ledger.withdrawn() == frozenset()


def test_an_undone_first_promotion_leaves_nobody(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    entry = ledger.append("undoing", None, after=promoted(ledger, 1), by="ada", reason="the smoke test failed")
    assert ledger.head() == entry
    assert entry.champion is None
    assert ledger.previous() is None
    assert promoted(ledger, 2).before_version is None


@pytest.mark.parametrize("sql", ["UPDATE entries SET made_by = 'eve'", "DELETE FROM entries"])
def test_an_entry_is_never_changed_or_removed(tmp_path: Path, sql: str) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    entry = promoted(ledger, 1)
    with sqlite3.connect(ledger.path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)
    connection.close()
    assert ledger.history() == (entry,)


def test_a_row_is_on_the_disk_before_its_promotion_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db")._connected() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_changed_value_is_damage_too(tmp_path: Path) -> None:
    """A bit in a text leaves SQLite's own structure whole."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    promoted(ledger, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER entries_are_never_changed")
        connection.execute("UPDATE entries SET sha256 = 'x' || substr(sha256, 2)")
    connection.close()
    with pytest.raises(IntegrityError, match=r"damaged: a row's champion\.sha256"):
        Ledger(path).head()


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    promoted(Ledger(path), 1)
    damaged = bytearray(path.read_bytes())
    for at in range(4096, len(damaged), 7):
        damaged[at] ^= 0xFF
    path.write_bytes(damaged)
    for leftover in tmp_path.glob("ledger.db-*"):
        leftover.unlink()
    with pytest.raises(IntegrityError, match="damaged"):
        Ledger(path).history()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like a file of some kind" * 20])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        Ledger(path)


def test_a_held_ledger_is_locked_and_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BUSY_SECONDS", 0.2)
    ledger = Ledger(tmp_path / "ledger.db")
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Locked):
        promoted(ledger, 1)
    holder.execute("ROLLBACK")
    holder.close()
    assert promoted(ledger, 1).epoch == 1
