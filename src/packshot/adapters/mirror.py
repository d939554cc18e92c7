"""Copies of a folder tree that hold nothing but its own regular files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from packshot.errors import OutOfResources, UsageError
from packshot.sources.folder import escape, is_litter

_NAMED = 20


def mirror(folder: Path, target: Path) -> None:
    """Make `target` a copy of `folder`: same names, same bytes, nothing else; it changes as a whole, or not at all.

    What file managers leave behind and hidden files stay out. Raises UsageError, and names them, for links, pipes, devices and
    names that are not UTF-8, for an empty or missing folder, and for one that holds `target` or lies in it.
    """
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), advice="name a folder of category/photo.jpg")
    source, goal = folder.resolve(), target.resolve()
    files = list(_files(source))
    _require_plain(source, files)
    if source == goal:
        return
    if source in goal.parents or goal in source.parents:
        raise UsageError("one folder holds the other", where=f"{source} and {goal}", advice="keep the photos outside the project")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft, old = target.with_name(f".{target.name}.draft"), target.with_name(f".{target.name}.old.draft")
    if old.exists() and not target.exists():
        old.rename(target)  # an earlier run was killed between its two renames
    needed = sum((source / name).lstat().st_size for name in files)
    try:
        for path in (draft, old):
            shutil.rmtree(path, ignore_errors=True)
        draft.mkdir()
        for name in files:
            goal_file = draft / name
            goal_file.parent.mkdir(parents=True, exist_ok=True)
            _copy(source / name, goal_file)
        if target.exists():
            target.rename(old)
        draft.rename(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = OutOfResources if full or error.errno == errno.EIO else UsageError
        room = f": {needed:,} bytes are needed, {shutil.disk_usage(target.parent).free:,} are free" if full else ""
        where = escape(str(error.filename or target))
        raise kind(f"cannot copy: {error.strerror}{room}", where=where, advice="mend that and try again") from error
    shutil.rmtree(old, ignore_errors=True)


def _files(root: Path, below: Path = Path()) -> Iterator[Path]:
    """Every entry that is not a folder, relative to `root`, in the order of the names' bytes."""
    with os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            if is_litter(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(root, below / entry.name)
            else:
                yield below / entry.name


def _require_plain(root: Path, files: list[Path]) -> None:
    if not files:
        raise UsageError("the folder holds no file", where=str(root), advice="name a folder of category/photo.jpg")
    faults = [f"{escape(str(name))} ({why})" for name in files if (why := _why_not(root / name))]
    if faults:
        more = f" and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise UsageError(
            f"not plain files: {', '.join(faults[:_NAMED])}{more}",
            where=escape(str(root)),
            advice="put the photos themselves there, under names in UTF-8",
        )


def _why_not(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "a link"
    if not stat.S_ISREG(mode):
        return "a pipe, a socket or a device"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def _copy(source: Path, target: Path) -> None:
    """Copy one file, and no link that has taken its place since."""
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as reading, target.open("xb") as writing:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(source))
        shutil.copyfileobj(reading, writing, 1 << 20)
