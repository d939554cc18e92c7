"""The one door to DVC and Git: both are other people's commands, run as processes of their own."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from packshot.adapters.processes import fault_of, stream
from packshot.errors import Locked, PackshotError, Unavailable, UsageError
from packshot.layout import Layout

EXTRAS = ("s3", "gs")
"""Schemes of URLs for which packshot has an extra."""

_MISSING = re.compile(r"(\w+) is supported, but requires '([\w-]+)' to be installed")
_BUSY = ("Unable to acquire lock", "is busy, it is being blocked by", "Lock is already")
_EXIT = re.compile(r"exited with (-?\d+)")

log = logging.getLogger(__name__)


def require_dvc(layout: Layout) -> None:
    """Raise UsageError where the project is not under DVC."""
    if not (layout.root / ".dvc").is_dir():
        raise UsageError("the project is not under DVC", where=str(layout.root), advice="run 'git init' and 'dvc init' there")


def run_dvc(layout: Layout, words: Sequence[str], *, advice: str) -> None:
    """Run one short DVC command. Raises Locked, or Unavailable with the reason that DVC gives."""
    done = subprocess.run(_dvc(*words), cwd=layout.root, env=_environment(), capture_output=True, text=True, check=False)
    if not done.returncode:
        return
    said = _last(f"{done.stdout}\n{done.stderr}".strip())
    if missing := _MISSING.search(said):
        advice = f"pip install 'packshot[{missing[1]}]'" if missing[1] in EXTRAS else f"pip install '{missing[2]}'"
    kind = Locked if any(word in said for word in _BUSY) else Unavailable
    raise kind(f"'dvc {words[0]}' failed: {said}", where=words[-1] if words[0] != "import-url" else words[-2], advice=advice)


def imported_from(record: Path) -> str:
    """Where `dvc import-url` got what the .dvc file `record` describes, as DVC says it; '' where it did not."""
    deps = _read_yaml(record).get("deps", [])
    return str(deps[0].get("path", "")) if deps else ""


def data_version(layout: Layout) -> str:
    """DVC's md5 of the photos: of the source where DVC versions it, else of what ingest made; '' outside DVC."""
    source = _read_yaml(layout.params).get("ingest", {}).get("source", {})
    path = source.get("path") if isinstance(source, dict) else None
    place = layout.root / str(path or "")
    for one in (place, *place.parents):
        if layout.root in one.parents and (outs := _read_yaml(one.with_name(f"{one.name}.dvc")).get("outs", [])):
            return str(outs[0].get("md5", ""))
    outs = _read_yaml(layout.root / "dvc.lock").get("stages", {}).get("ingest", {}).get("outs", [])
    return str(outs[0].get("md5", "")) if outs else ""


def git_commit(layout: Layout) -> str:
    """The commit that the project stands on, with '-dirty' where its sources differ from it; '' outside Git.

    What the stages themselves write (data/, dvc.lock) makes nothing dirty: the data's own version is `data_version`.
    """
    commit = ask_git(layout, "rev-parse", "--verify", "-q", "HEAD")
    if not commit:
        return ""
    changes = ask_git(layout, "status", "--porcelain", "-uno", "--", ".", ":(exclude)data", ":(exclude)dvc.lock")
    return f"{commit}-dirty" if changes else commit


def ask_git(layout: Layout, *words: str) -> str | None:
    """What git says of the project; None where it fails or there is none."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=layout.root,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def repro(
    layout: Layout,
    targets: Sequence[str] = (),
    *,
    on_line: Callable[[str], None] | None = None,
    single_item: bool = False,
    force: bool = False,
    wait_seconds: float = 600.0,
) -> None:
    """Run `dvc repro` of `targets` (all stages where empty) in a process group of its own; each line goes to `on_line`.

    Waits up to `wait_seconds` while another DVC holds the project. Whatever interrupts the caller ends the whole group, so no
    stage runs on unseen. Raises what the failed stage raised, Locked, or Unavailable where DVC itself fails.
    """
    words = _dvc("repro", *(["-s"] if single_item else []), *(["-f"] if force else []), *targets)
    deadline = time.monotonic() + wait_seconds
    while True:
        code, lines = stream(words, layout.root, on_line, _environment())
        if code == 0:
            return
        busy = any(word in line for line in lines for word in _BUSY) and not any("Running stage" in line for line in lines)
        if not busy:
            raise _failure(lines, targets)
        if time.monotonic() >= deadline:
            raise Locked("another DVC is at work in this project", where=str(layout.root), advice="wait for it, or end it")
        log.info("another DVC is at work; trying again")
        time.sleep(1.0)


def _failure(lines: Sequence[str], targets: Sequence[str]) -> PackshotError:
    """The fault of the stage that failed, of its own kind and in its own words; or of DVC."""
    code = next((int(found[1]) for line in reversed(lines) if (found := _EXIT.search(line))), None)
    where = f"dvc repro {' '.join(targets)}".strip()
    if code is None:
        return Unavailable(f"DVC failed: {_last(chr(10).join(lines))}", where=where, advice="run it by hand to see more")
    return fault_of(code, lines, where=where, advice="its lines above say why")


def _dvc(*words: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *words]


def _environment() -> dict[str, str]:
    """The process's own, with this Python's commands found first, so that stages run in the same installation."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _last(text: str) -> str:
    """The last line that says something, without DVC's colours and its 'ERROR:'."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip() and "https://" not in line]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("ERROR:").strip()
