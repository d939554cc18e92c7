"""The six stages, in their order: what DVC, Prefect, people and tests call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from packshot.layout import Layout
from packshot.records import Record

if TYPE_CHECKING:
    from packshot.params import Params

STAGES = ("ingest", "validate", "prepare", "train", "evaluate", "gate")
"""One word a step: a module here, a section of params.yaml, a DVC stage, a folder of data/, a command, a task."""


def run_stage(name: str, params: Params, layout: Layout) -> Record:
    """Run one stage and give back its record. Only the stage's own imports are loaded: ingest needs no torch."""
    stage: Callable[[Params, Layout], Record] = getattr(import_module(f"packshot.stages.{name}"), name)
    return stage(params, layout)


def clear(folder: Path) -> None:
    """Take away what an earlier run of a stage left in its folder, but .gitignore, by which DVC keeps outputs out of Git."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".gitignore":
            path.unlink()
