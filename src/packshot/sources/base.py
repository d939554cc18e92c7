"""What a source of product photos owes ingest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packshot.records import BadPhoto, Record

Pixels = NDArray[np.uint8]
"""A picture, uint8 (H, W, 3), RGB."""

Drawing = Callable[[], Pixels]
"""Draws one picture, whenever and in whichever process it is called: a module's function, or a functools.partial of one."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo that a source offers. It is read by whoever ingests it, in a process of its own, so listing costs nothing."""

    name: str
    """Unique in the catalogue and stable from day to day: the path below the catalogue's folder, with '/' between its parts."""
    category: str
    content: Path | Drawing
    """A file of encoded bytes, or what draws the pixels."""
    sku: str = ""
    """The product that the photo shows, where the source knows; photos of one product never stand in two splits."""
    colour: str | None = None
    pattern: str | None = None
    caption: str | None = None


class Source(Record, ABC):
    """Where photos come from; a member of the union in params.yaml, dispatched by `kind:`."""

    @abstractmethod
    def describe(self) -> str:
        """The source in a few words, the same on every machine: 'folder data/catalog'."""

    @abstractmethod
    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        """Every photo in a stable order, or the reason why it is none. Relative paths are taken from `root`, the project.

        Raises UsageError where the source does not exist, DataRejected where it holds nothing.
        """
