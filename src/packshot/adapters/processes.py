"""Commands as processes of their own: their lines as they come, an end with their starter's, the fault that they ended with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packshot.errors import OutOfResources, PackshotError, Stopped, kind_of

GRACE_SECONDS = 10.0
"""How long a process that is asked to end may tidy up before it is killed."""

LEASH = 'exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & exec "$@" 3<&-'
"""The shell that becomes the command leaves a reader of its standard input behind. When this process dies, even by SIGKILL, that
pipe closes and the reader ends the whole group: a stage that nobody watches would write into the next run."""

KEPT_LINES = 200

_OURS = re.compile(r"packshot: (?:E\d+ )?(.*)")


def stream(
    words: Sequence[str], root: Path, on_line: Callable[[str], None] | None, environment: Mapping[str, str]
) -> tuple[int, list[str]]:
    """Run a command in a group of its own, hand on its lines as they come, and return its exit status and its last lines.

    Whatever `on_line` raises, or interrupts the caller, ends the whole group and is raised on.
    """
    last: list[str] = []
    process = subprocess.Popen(
        ["sh", "-c", LEASH, "sh", *words],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        for line in process.stdout or ():
            text = line.rstrip()
            last = [*last[1 - KEPT_LINES :], text]
            if on_line is not None and text:
                on_line(text)
        return process.wait(), last
    except BaseException:
        _end(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def fault_of(code: int, lines: Sequence[str], *, where: str, advice: str) -> PackshotError:
    """The fault of a packshot command that ended with `code`: of its own kind and in its own words, where it said some."""
    said = next((found[1] for line in reversed(lines) if (found := _OURS.search(line))), "")
    if code in {128 + signal.SIGTERM, 128 + signal.SIGINT}:
        return Stopped(said or "stopped", code - 128)
    if code in {128 + signal.SIGKILL, -signal.SIGKILL}:
        advice = "free memory, or ask for less of it; run it again, a training goes on where it stood"
        return OutOfResources("it was killed, most likely by the system for want of memory", where=where, advice=advice)
    kind = kind_of(code)
    return kind(said) if said else kind(f"it ended with {code}", where=where, advice=advice)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started: ask, wait, kill."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, name)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + GRACE_SECONDS
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.wait()


def _group_lives(process: subprocess.Popen[str]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
