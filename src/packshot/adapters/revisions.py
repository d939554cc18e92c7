"""Versions of the data as Git and DVC keep them: the files of any revision, and how the workspace differs from what is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from packshot.adapters.versioning import ask_git
from packshot.errors import IntegrityError, Unavailable, UsageError
from packshot.layout import Layout


@dataclass(frozen=True, slots=True)
class Revision:
    """What one stage wrote, as a commit of the project knows it. Its files are fetched one by one, as they are needed."""

    layout: Layout
    name: str
    """As it was asked for: 'HEAD', 'v1.2'."""
    commit: str
    md5: str
    """DVC's hash of the stage's folder."""
    files: Mapping[str, str]
    """DVC's md5 of each file, by its path below the folder."""

    def link(self, names: Sequence[str], folder: Path) -> None:
        """Let `folder` show these files: links to objects of DVC's cache, fetched from the remote where they are not there.

        Every object is read against its hash first. Raises UsageError where the revision has no such file, Unavailable where
        neither cache nor remote has an object, IntegrityError where its bytes have changed.
        """
        missing = [name for name in names if name not in self.files]
        if missing:
            raise UsageError(f"the revision has no file {missing[0]}", where=self.name, advice="it was made by another packshot")
        objects = _objects(self.layout, [self.files[name] for name in names], self.name)
        for name in names:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(objects[self.files[name]])


def open_revision(layout: Layout, name: str, stage: str = "ingest") -> Revision:
    """What `stage` wrote at the Git revision `name`, a commit, branch, tag or 'HEAD~2'.

    Only the listing is read; it comes from the remote where the cache has lost it. Raises UsageError where there is no Git, no
    such revision, or nothing of the stage at it; Unavailable or IntegrityError as `Revision.link` does.
    """
    _require(layout)
    commit = ask_git(layout, "rev-parse", "--verify", "-q", f"{name}^{{commit}}") if not name.startswith("-") else None
    if not commit:
        raise UsageError(
            f"no such revision as '{name}'", where=str(layout.root), advice="'git log --oneline' and 'git tag' list them"
        )
    lock = yaml.safe_load(ask_git(layout, "show", f"{commit}:./dvc.lock") or "") or {}
    path = layout.stage(stage).relative_to(layout.root).as_posix()
    outs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    md5 = next((str(out.get("md5", "")) for out in outs if out.get("path") == path), "")
    if not md5.endswith(".dir"):
        advice = f"'dvc repro {stage}', then commit dvc.lock; 'git log --oneline -- dvc.lock' lists the revisions that have data"
        raise UsageError(f"nothing was ingested at '{name}'", where=commit[:10], advice=advice)
    listing = _objects(layout, [md5], name)[md5]
    files = {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(listing.read_text(encoding="utf-8"))}
    return Revision(layout, name, commit, md5, files)


def uncommitted(layout: Layout, paths: Sequence[str]) -> tuple[str, ...]:
    """Which of these files of the project differ from Git's last commit, or are not known to it; none where there is no Git."""
    return tuple(path for path in paths if ask_git(layout, "status", "--porcelain", "--ignored", "--", path))


def outdated(layout: Layout, targets: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """What `dvc status` says against stages and .dvc files: {'ingest': ('data/catalog is modified', ...)}; empty: all is current.

    Raises UsageError where the project is not under DVC, Unavailable where DVC cannot tell.
    """
    _require(layout)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json", *targets],
        cwd=layout.root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        told = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1].removeprefix("ERROR: ")
        raise Unavailable(f"'dvc status' failed: {said}", where=str(layout.root), advice="run it by hand to see more") from None
    return {target: tuple(_reasons(found)) for target, found in told.items()}


def _reasons(found: Sequence[Any]) -> Iterator[str]:
    for one in found:
        if isinstance(one, str):  # 'changed command', 'always changed'
            yield one
            continue
        for kind, things in one.items():
            for thing, state in things.items():
                for name, what in state.items() if isinstance(state, dict) else ((thing, state),):
                    yield f"{name} is {what}" if kind != "changed outs" or what != "deleted" else f"{name} is missing"


def _require(layout: Layout) -> None:
    if not (layout.root / ".dvc").is_dir() or ask_git(layout, "rev-parse", "--git-dir") is None:
        raise UsageError(
            "the project's data has no versions",
            where=str(layout.root),
            advice="run 'git init' and 'dvc init' there, then commit",
        )


def _objects(layout: Layout, hashes: Sequence[str], revision: str) -> dict[str, Path]:
    """Where DVC's cache holds these objects, intact: {md5: path}."""
    with _repository(layout) as repo:
        places = {md5: Path(repo.cache.local.oid_to_path(md5)) for md5 in hashes}
        lost = [md5 for md5, place in places.items() if not place.is_file()]
        fault = _fetch(repo, lost) if lost else ""
    for md5, place in places.items():
        if not place.is_file():
            raise Unavailable(
                f"data of '{revision}' is neither in DVC's cache nor in a remote ({fault or 'the remote does not have it'})",
                where=md5,
                advice=f"where it was made: 'dvc push'; here: 'git checkout {revision} && dvc fetch' once that is done",
            )
        with place.open("rb") as file:
            if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != md5.removesuffix(".dir"):
                raise IntegrityError(
                    "an object of DVC's cache is not what its name says",
                    where=str(place),
                    advice="remove that file and run it again",
                )
    return places


def _fetch(repo: Any, hashes: Sequence[str]) -> str:
    """Bring objects from the default remote into the cache; says why where that cannot be tried."""
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        repo.cloud.pull([HashInfo("md5", md5) for md5 in hashes])
    except ConfigError:
        return "no default remote is set"
    except (DvcException, OSError) as error:
        return str(error).splitlines()[0]
    return ""


@contextmanager
def _repository(layout: Layout) -> Iterator[Any]:
    """DVC's own view of the project; it says what is wrong in its exceptions, so its log stays quiet."""
    from dvc.repo import Repo

    loud = logging.getLogger("dvc")
    level = loud.level
    loud.setLevel(logging.CRITICAL)
    try:
        with Repo(str(layout.root)) as repo:
            yield repo
    finally:
        loud.setLevel(level)
