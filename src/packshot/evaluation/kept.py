"""What was computed of the real photos before, by the digest of all that it rests on: only a model is measured anew."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from packshot.records import Record, file_digest, write_parts

R = TypeVar("R", bound=Record)

log = logging.getLogger(__name__)

MOST = 4
"""Evidences of which something is kept; those that were used last."""

Floats = NDArray[np.float64]
Keep = Callable[[str, Callable[[], Floats]], Floats]
"""Give an array by its name: what was kept of it, or what the function computes."""


def compute_now(_: str, compute: Callable[[], Floats]) -> Floats:
    """Keep nothing."""
    return compute()


@dataclass(frozen=True, slots=True)
class Kept:
    """The arrays of one evidence in a folder, each in a file whose name carries its digest: a damaged one is computed again."""

    folder: Path

    @classmethod
    def open(cls, cache: Path, digest: str) -> Kept:
        """Those of the evidence `digest`; what was kept of evidences that were not used for longest goes."""
        folder = cache / "real" / digest[:32]
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in others[MOST:]:
            shutil.rmtree(old, ignore_errors=True)
        return cls(folder)

    def __call__(self, name: str, compute: Callable[[], Floats]) -> Floats:
        """The array `name`, from its file or computed and written."""
        if path := self._find(name, ".npy"):
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        found, sink = compute(), io.BytesIO()
        np.save(sink, found, allow_pickle=False)
        self._write(f"{name}.npy", sink.getvalue())
        return found

    def record(self, name: str, kind: type[R], compute: Callable[[], R]) -> R:
        """The record `name`, from its file or computed and written."""
        if path := self._find(name, ".json"):
            return kind.read(path)
        found = compute()
        self._write(f"{name}.json", found.model_dump_json().encode())
        return found

    def _find(self, name: str, suffix: str) -> Path | None:
        for path in self.folder.glob(f"{name}-*{suffix}"):
            digest = path.stem.removeprefix(f"{name}-")
            if digest == file_digest(path):
                return path
            if len(digest) == 64:
                log.warning("%s is damaged: computing it again", path.name)
                path.unlink(missing_ok=True)
        return None

    def _write(self, name: str, content: bytes) -> None:
        write_parts(self.folder / name, [content], len(content), seal=True)
