"""A folder's new version takes the place of the old one as a whole: tables under fixed names, shards under names of their own.

The new version's tables are written into .next, the record that makes it whole last. The switch then takes the old record away,
moves the tables and, last, the new record into place: whoever reads meanwhile finds no record, never one beside another's tables.
A process that is killed within the switch leaves .next with its record, and `complete_switch` goes on from there.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from packshot.errors import Locked
from packshot.failpoints import failpoint
from packshot.images.store import remove_strays
from packshot.records import Catalog, Shard, sync_folder

TABLES = ("copies.parquet", "manifest.parquet")
RECORD = "catalog.json"
NEXT = ".next"
SPOOL = ".spool"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone. Raises Locked where another has it; a killed process holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Locked("another ingest is at work", where=str(folder), advice="wait for it to end") from error
        yield
    finally:
        os.close(handle)


def switch(folder: Path) -> bool:
    """Put the version in .next into place; False, and nothing is touched, where it is the same as the old one."""
    new = folder / NEXT
    names = (*TABLES, RECORD)
    if all((folder / name).is_file() and filecmp.cmp(new / name, folder / name, shallow=False) for name in names):
        shutil.rmtree(new)
        return False
    sync_folder(new)
    complete_switch(folder)
    return True


def complete_switch(folder: Path) -> None:
    """Complete a switch that was begun; take away what was never whole."""
    new = folder / NEXT
    if (new / RECORD).is_file():
        (folder / RECORD).unlink(missing_ok=True)
        sync_folder(folder)
        failpoint("ingest.switched")
        for name in (*TABLES, RECORD):
            if (new / name).is_file():
                (new / name).replace(folder / name)
                sync_folder(folder)
                failpoint("ingest.switched")
    shutil.rmtree(new, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what the version in `folder` does not name: old shards, drafts, the spool; not .gitignore, which is DVC's."""
    named: Sequence[Shard] = Catalog.read(folder / RECORD).shards if (folder / RECORD).is_file() else ()
    remove_strays(folder, named)
    kept = {".gitignore", RECORD, *TABLES, *(shard.name for shard in named)}
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
